"""Models: what an engine can run, and how a client's name for one is resolved."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from flm.domain.engines import EngineId

Capability = Literal[
    "chat", "embeddings", "vision", "audio", "tools", "reasoning", "rerank", "images"
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
ModelState = Literal["ready", "sleeping", "unavailable"]
"""ready: answers at once; sleeping: loaded on the first request; unavailable: its engine is."""

_PATH = re.compile(r"/|~|\.\.?[/\\]|[A-Za-z]:[/\\]|[^/]*\\")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model on one engine. ``context_length`` is the effective one in tokens, None: unknown.

    ``engine_name`` is the engine's own id for it where that is another (a file's path): what
    requests to the engine must say. None: it is `name`. ``parameters``: how large it is, as its
    maker writes it (`8B`). ``remote``: its prompts leave this machine. ``by_hand``: a request
    does not load it (its engine would answer with another model, or not at all).
    """

    name: str
    engine: EngineId
    capabilities: tuple[Capability, ...] = ()
    context_length: int | None = None
    trained_context: int | None = None
    size_bytes: int | None = None
    quantization: str | None = None
    family: str | None = None
    loaded: bool | None = None
    created: int = 0
    demo: bool = False
    engine_name: str | None = None
    parameters: str | None = None
    remote: bool = False
    by_hand: bool = False

    @property
    def target(self) -> str:
        """`engine/name`: where requests for it go. An engine's id holds no slash."""
        return f"{self.engine}/{self.name}"


class GgufFile(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF file the user gave to the embedded engine."""

    name: str
    path: str
    added_at: float
    demo: bool = False


def is_path(text: str) -> bool:
    """Whether it is a file's path rather than a name: it starts at a root, a drive or a dot, or
    ends with `.gguf`.
    """
    return bool(_PATH.match(text)) or text.lower().endswith(".gguf")


def name_of_file(path: str) -> str:
    """A file's path becomes the file's name without its ending; other names stay.

    `Qwen/Qwen3-8B` is a name: a path starts at a root, a drive or a dot, or ends with `.gguf`.
    """
    if not is_path(path):
        return path
    base = path.replace("\\", "/").rsplit("/", 1)[-1]
    return base[:-5] if base.lower().endswith(".gguf") else base


def resolve(
    name: str, homes: Mapping[str, tuple[str, ...]], targets: Iterable[str]
) -> tuple[str, ...]:
    """The targets that answer to `name`, best first by the caller's own rule; () when none.

    In this order: the exact name (``homes``: name → targets), ``<engine>/<name>``,
    ``flm://<engine>/<name>``; then the same with Ollama's tag `:latest`, which its own clients
    may leave out. ``targets`` are all target ids (``engine/name``).
    """
    for asked in (name, f"{name}:latest"):
        found = homes.get(asked)
        if found:
            return found
        wanted = asked.removeprefix("flm://")
        if "/" in wanted and wanted in targets:
            return (wanted,)
    return ()


def nearest(name: str, names: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Up to `count` known names that look like `name`, best first."""
    known = list(names)
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower()[:200], lowered, n=count, cutoff=0.4)
    return tuple(lowered[match] for match in close)
