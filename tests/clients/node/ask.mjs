// Asks one question through the Vercel AI SDK and prints what came of it, as one JSON document.
// node ask.mjs PROVIDER CASE MODEL, with FLM_BASE_URL (with /v1) and FLM_KEY in the environment.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false;

const [, , provider, asked, name] = process.argv;
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
const model = providers[provider](name);

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
const errors = [];
const common = { model, maxRetries: 0, onError: ({ error }) => errors.push(String(error?.message ?? error)) };

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

const cases = {
  text: async () => told(await generateText({ ...common, prompt: 'hi' })),
  stream: async () => streamed(streamText({ ...common, prompt: 'hi' })),
  tools: async () =>
    steps((await generateText({ ...common, prompt: where, tools, stopWhen: stepCountIs(4) })).steps),
  'tools-stream': async () => {
    const result = streamText({ ...common, prompt: where, tools, stopWhen: stepCountIs(4) });
    await result.consumeStream();
    return steps(await result.steps);
  },
  object: async () =>
    (await generateObject({ ...common, prompt: 'hi', schema: thing, providerOptions: formal })).object,
  'object-by-tool': async () =>
    (await generateObject({ ...common, prompt: 'hi', schema: thing })).object,
  'object-stream': async () => {
    const result = streamObject({ ...common, prompt: 'hi', schema: thing, providerOptions: formal });
    for await (const _ of result.partialObjectStream);
    return result.object;
  },
  picture: async () => {
    const image = Buffer.from(process.env.FLM_PICTURE, 'base64');
    const content = [{ type: 'text', text: 'What is it?' }, { type: 'image', image }];
    return told(await generateText({ ...common, messages: [{ role: 'user', content }] }));
  },
  reasoning: async () => {
    const result = await generateText({ ...common, prompt: 'hi', providerOptions: thoughtful });
    return { text: result.text, thought: result.reasoningText };
  },
  'reasoning-stream': async () => {
    const result = streamText({ ...common, prompt: 'hi', providerOptions: thoughtful });
    return { ...(await streamed(result)), thought: await result.reasoningText };
  },
  embed: async () => {
    const values = ['a', 'b'];
    return (await embedMany({ model: compatible.embeddingModel(name), values })).embeddings;
  },
  broken: async () => {
    const pieces = [];
    for await (const part of streamText({ ...common, prompt: 'hi' }).fullStream) {
      if (part.type === 'text-delta') pieces.push(part.text);
      if (part.type === 'error') errors.push(part.error?.message ?? JSON.stringify(part.error));
    }
    return { pieces, errors };
  },
};

let answer;
try {
  answer = await cases[asked]();
} catch (error) {
  answer = { failed: error.message, status: error.statusCode, again: error.isRetryable };
}
console.log(JSON.stringify(answer));
