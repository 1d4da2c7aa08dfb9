"""The words of FLM as frozen types and pure rules. Imports nothing of ours but errors."""
