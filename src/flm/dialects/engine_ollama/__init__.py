"""Ollama's own API, translated to and from OpenAI's dialect.

Its OpenAI layer loses fields and, in mid-stream, errors; `/api/chat` and `/api/embed` do not.
"""
