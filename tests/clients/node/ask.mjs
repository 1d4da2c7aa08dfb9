// Asks through the Vercel AI SDK and prints what came of each question, as one JSON list.
// node ask.mjs PROVIDER '[["CASE","MODEL"],…]', with FLM_BASE_URL (with /v1), FLM_KEY and
// FLM_PICTURE (a PNG in base64) in the environment.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false;

const [, , provider, questions] = process.argv;
const baseURL = process.env.FLM_BASE_URL;
const apiKey = process.env.FLM_KEY;

const compatible = createOpenAICompatible({
  name: 'flm',
  baseURL,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const providers = {
  compatible,
  chat: (model) => createOpenAI({ baseURL, apiKey }).chat(model),
  responses: createOpenAI({ baseURL, apiKey }),
  anthropic: createAnthropic({ baseURL, apiKey }),
};

const weather = { 東京: '晴れ', Köln: 'rain' };
const tools = {
  get_weather: tool({
    description: 'Tell the weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => weather[city],
  }),
};
const thing = z.object({ name: z.string(), height: z.number().int() });
const where = 'Weather in 東京 and Köln?';
const thoughtful = {
  anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } },
  flm: { reasoningEffort: 'medium' },
  openai: { reasoningEffort: 'medium', reasoningSummary: 'auto', forceReasoning: true },
};
// Of models it does not know, Anthropic's provider makes them call a tool instead.
const formal = { anthropic: { structuredOutputMode: 'outputFormat' } };
function told(result) {
  const { inputTokens, outputTokens } = result.usage;
  return { text: result.text, finish: result.finishReason, usage: [inputTokens, outputTokens] };
}

async function streamed(result) {
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  const [text, finishReason, usage] = await Promise.all([result.text, result.finishReason, result.usage]);
  return { pieces, ...told({ text, finishReason, usage }) };
}

function steps(list) {
  return list.map((step) => ({
    calls: step.toolCalls.map((call) => [call.toolName, call.input]),
    text: step.text,
  }));
}

// What each case does; `common` is what every call has, `name` the model's.
const cases = {
  text: async (common) => told(await generateText({ ...common, prompt: 'hi' })),
  stream: async (common) => streamed(streamText({ ...common, prompt: 'hi' })),
  tools: async (common) =>
    steps((await generateText({ ...common, prompt: where, tools, stopWhen: stepCountIs(4) })).steps),
  'tools-stream': async (common) => {
    const result = streamText({ ...common, prompt: where, tools, stopWhen: stepCountIs(4) });
    await result.consumeStream();
    return steps(await result.steps);
  },
  object: async (common) =>
    (await generateObject({ ...common, prompt: 'hi', schema: thing, providerOptions: formal })).object,
  'object-by-tool': async (common) =>
    (await generateObject({ ...common, prompt: 'hi', schema: thing })).object,
  'object-stream': async (common) => {
    const result = streamObject({ ...common, prompt: 'hi', schema: thing, providerOptions: formal });
    for await (const _ of result.partialObjectStream);
    return result.object;
  },
  picture: async (common) => {
    const image = Buffer.from(process.env.FLM_PICTURE, 'base64');
    const content = [{ type: 'text', text: 'What is it?' }, { type: 'image', image }];
    return told(await generateText({ ...common, messages: [{ role: 'user', content }] }));
  },
  reasoning: async (common) => {
    const result = await generateText({ ...common, prompt: 'hi', providerOptions: thoughtful });
    return { text: result.text, thought: result.reasoningText };
  },
  'reasoning-stream': async (common) => {
    const result = streamText({ ...common, prompt: 'hi', providerOptions: thoughtful });
    return { ...(await streamed(result)), thought: await result.reasoningText };
  },
  embed: async (_, name) => {
    const values = ['a', 'b'];
    return (await embedMany({ model: compatible.embeddingModel(name), values })).embeddings;
  },
  broken: async (common) => {
    const pieces = [];
    const errors = [];
    for await (const part of streamText({ ...common, prompt: 'hi' }).fullStream) {
      if (part.type === 'text-delta') pieces.push(part.text);
      if (part.type === 'error') errors.push(part.error?.message ?? JSON.stringify(part.error));
    }
    return { pieces, errors };
  },
};

const answers = [];
for (const [asked, name] of JSON.parse(questions)) {
  const common = { model: providers[provider](name), maxRetries: 0, onError: () => {} };
  try {
    answers.push(await cases[asked](common, name));
  } catch (error) {
    answers.push({ failed: error.message, status: error.statusCode, again: error.isRetryable });
  }
}
console.log(JSON.stringify(answers));
