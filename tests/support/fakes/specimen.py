"""One engine as the contract suite handles it: how to have one, and what to expect of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from flm.domain.engines import Address, EngineLoad
from flm.domain.models import Model
from flm.ports.engines import EngineAdapter
from support.fakes.base import FakeEngine
from support.fakes.speech import ARGUMENTS, TEXT, TOKENS, TOOL, VECTOR, VECTOR_BASE64


class Place(Protocol):
    """A running engine, fake or real."""

    @property
    def address(self) -> Address: ...


@dataclass(frozen=True)
class Mood:
    """A state of the whole engine: how a fake gets into it, and the state and reason to expect.

    ``told``: whether it can be told by its answers even then; not where every path is the same.
    """

    put: Callable[[FakeEngine], None]
    state: str
    reason: str
    told: bool = True


@dataclass(frozen=True)
class Break:
    """How a stream ends that fails after some events: with ``last`` events, and in order; or,
    where there are none, with the connection."""

    last: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Specimen:
    """Everything the suite must know. Answers are the engine's own bytes; None: it never says so.

    ``product`` and ``version``: what the fingerprint tells; ``model``: the whole model that the
    adapter describes; ``chat`` and so on: the paths that are asked; ``setting``: the engine's
    own setting that an overflow's remedy names; ``text``: what it answers to a chat, with
    ``tokens`` in all; ``call``: the function it calls where tools are offered, and the arguments;
    ``vector``: what it embeds every text to, as numbers and in base64. Each is None where the
    engine has it not, or it cannot be known. ``long``: what makes a chat last some seconds.
    """

    id: str
    adapter: EngineAdapter
    start: Callable[[], AbstractContextManager[Place]]
    product: str
    version: str | None
    model: Model
    chat: str = "/v1/chat/completions"
    embeddings: str = "/v1/embeddings"
    listing: str = "/v1/models"
    moods: Mapping[str, Mood] = field(default_factory=dict)
    unknown_model: bytes | None = None
    overflow: bytes | None = None
    setting: str = ""
    busy: bytes | None = None
    loading: bytes | None = None
    breaks: Mapping[str, Break] = field(default_factory=dict)
    text: str | None = TEXT
    tokens: int = TOKENS
    call: tuple[str, Mapping[str, object]] | None = (TOOL, ARGUMENTS)
    vector: tuple[tuple[float, ...], str] | None = (VECTOR, VECTOR_BASE64)
    load: EngineLoad | None = None
    long: Mapping[str, object] = field(default_factory=dict)
    key: str | None = None

    def __str__(self) -> str:
        return self.id
