"""The engine FLM carries itself: llama.cpp's server in a child process for each model."""
