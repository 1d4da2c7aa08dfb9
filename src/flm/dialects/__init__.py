"""The APIs' formats and the translation between them. Pure: bytes in, bytes out, no I/O.

Two halves that know each other only through `ChatRequest` and `EmbeddingsRequest`:

* the client side reads what a client sent (`openai_chat`, `openai_embeddings`) and writes
  errors in its shape (`openai_errors`);
* the engine side (`engine_openai`, `engine_ollama`) turns such a request into a call of its
  engine, and the engine's answer, stream or error into the client's. `engine.CODECS` names them.
"""
