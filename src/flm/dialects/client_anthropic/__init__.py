"""Anthropic's Messages: requests into chat completions, and their answers back."""
