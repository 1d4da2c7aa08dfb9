"""Ollama's API as its clients speak it: requests into chat completions, and their answers back."""
