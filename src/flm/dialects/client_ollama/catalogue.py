"""What there is, as Ollama's clients read it: `/api/tags`, `/api/ps`, `/api/show`.

Strict clients fail at the whole list when one string is missing (Zed) or a time has no offset
(Open WebUI): every field of Ollama's is there, empty where FLM does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from flm.dialects.client_ollama.times import rfc3339
from flm.domain.models import Capability
from flm.wire.snapshot import ModelEntry

VERSION = "0.33.0"
"""The version of Ollama whose API this is: clients ask for it before they use what is new."""

STAYS_SECONDS = 300
"""How much longer a model is said to stay loaded: Ollama's usual time. The owner decides."""

_ARCHITECTURE = "flm"
"""FLM does not know how a model is built, and clients look up `<architecture>.context_length`."""

_WORDS: Mapping[Capability, str] = MappingProxyType(
    {
        "chat": "completion",
        "tools": "tools",
        "vision": "vision",
        "audio": "audio",
        "reasoning": "thinking",
        "embeddings": "embedding",
        "images": "image",
    }
)
_TEMPLATE = (
    "{{ if .System }}{{ .System }}\n{{ end }}",
    "{{ if .Tools }}{{ .Tools }}\n{{ end }}",
    "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}{{ .Prompt }}",
)
_encode = msgspec.json.Encoder().encode


class _Details(msgspec.Struct):
    parent_model: str = ""
    format: str = "gguf"
    family: str = _ARCHITECTURE
    families: tuple[str, ...] = (_ARCHITECTURE,)
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int = 0


class _Listed(msgspec.Struct, kw_only=True):
    name: str
    model: str
    modified_at: str
    size: int = 0
    digest: str
    details: _Details
    capabilities: tuple[str, ...]


class _Loaded(msgspec.Struct, kw_only=True):
    name: str
    model: str
    size: int = 0
    digest: str
    details: _Details
    expires_at: str
    size_vram: int = 0
    context_length: int = 0


class _Shown(msgspec.Struct, kw_only=True):
    license: str = ""
    modelfile: str
    parameters: str
    template: str
    system: str = ""
    details: _Details
    model_info: dict[str, object]
    capabilities: tuple[str, ...]
    modified_at: str


def tags(entries: Iterable[ModelEntry]) -> bytes:
    """`{"models":[…]}` of the models a client may use, by name."""
    return _models(
        _Listed(
            name=entry.name,
            model=entry.name,
            modified_at=rfc3339(entry.created),
            digest=digest(entry.name),
            details=_details(entry),
            capabilities=capabilities(entry),
        )
        for entry in _by_name(entries)
    )


def running(entries: Iterable[ModelEntry], now: float) -> bytes:
    """`{"models":[…]}` of those that answer at once on this machine; `now` are UTC seconds."""
    return _models(
        _Loaded(
            name=entry.name,
            model=entry.name,
            digest=digest(entry.name),
            details=_details(entry),
            expires_at=rfc3339(now + STAYS_SECONDS),
            context_length=entry.context_length or 0,
        )
        for entry in _by_name(entries)
        if entry.state == "ready" and not entry.remote
    )


def shown(entry: ModelEntry, name: str) -> bytes:
    """What `/api/show` says of a model that the client calls `name`."""
    context = entry.context_length
    info: dict[str, object] = {
        "general.architecture": _ARCHITECTURE,
        "general.basename": name,
        "general.name": name,
    }
    if context is not None:
        info[f"{_ARCHITECTURE}.context_length"] = context
    # Clients cut this block at line ends and blanks; the name is padded as Ollama pads it.
    parameters = "" if context is None else f"{'num_ctx':<30} {context}"
    return _encode(
        _Shown(
            modelfile=f"# Served by FLM\nFROM {name}\n",
            parameters=parameters,
            template=_template(entry),
            details=_details(entry),
            model_info=info,
            capabilities=capabilities(entry),
            modified_at=rfc3339(entry.created),
        )
    )


def capabilities(entry: ModelEntry) -> tuple[str, ...]:
    """What a model can, in Ollama's words; `completion` where nothing is known."""
    words = tuple(_WORDS[each] for each in entry.capabilities if each in _WORDS)
    return words if words or entry.capabilities else ("completion",)


def digest(name: str) -> str:
    """64 hex digits that stay the same for a name: clients keep by them what they know."""
    return hashlib.sha256(b"flm:" + name.encode()).hexdigest()


def _models(each: Iterable[object]) -> bytes:
    return _encode({"models": list(each)})


def _by_name(entries: Iterable[ModelEntry]) -> list[ModelEntry]:
    return sorted(entries, key=lambda entry: entry.name)


def _details(entry: ModelEntry) -> _Details:
    return _Details(context_length=entry.context_length or 0)


def _template(entry: ModelEntry) -> str:
    """A template with the marks that clients look for; none is ever evaluated.

    `.Suffix`, by which they find models that fill gaps, is not among them: that FLM knows of none.
    """
    system, tool, rest = _TEMPLATE
    return system + (tool if "tools" in entry.capabilities else "") + rest
