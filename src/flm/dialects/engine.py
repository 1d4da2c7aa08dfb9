"""The engines' dialects by name: what the gateway imports of this room.

A dialect more is a package beside the others and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flm.dialects.codec import (
    EngineAnswer,
    EngineCall,
    EngineDialectCodec,
    StreamReader,
    Usage,
)
from flm.dialects.engine_ollama.codec import OllamaCodec
from flm.dialects.engine_openai.codec import OpenAICodec
from flm.wire.snapshot import EngineDialect

CODECS: Mapping[EngineDialect, EngineDialectCodec] = MappingProxyType(
    {"openai": OpenAICodec(), "ollama": OllamaCodec()}
)

__all__ = [
    "CODECS",
    "EngineAnswer",
    "EngineCall",
    "EngineDialectCodec",
    "StreamReader",
    "Usage",
]
