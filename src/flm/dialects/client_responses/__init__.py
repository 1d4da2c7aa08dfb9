"""OpenAI's Responses: requests into chat completions, and their answers back."""
