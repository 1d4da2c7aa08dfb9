"""Engines that speak OpenAI's dialect: llama.cpp, vLLM, LM Studio and their like.

Client and engine speak the same, so bodies go on as they came but for the model's name, and
streams go through as bytes.
"""
