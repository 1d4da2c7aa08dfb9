"""llama.cpp's llama-server, single model or router."""
