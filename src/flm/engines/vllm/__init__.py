"""vLLM: one model to a server, OpenAI's, Anthropic's and Cohere's APIs by itself."""
