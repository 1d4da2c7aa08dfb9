"""Ollama: its own API, translated."""
