"""OpenAI's chat completions where they ask for more than engines know: tools beside functions."""
