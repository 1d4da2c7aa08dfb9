"""LM Studio: OpenAI's API, and its own for models and loading."""
