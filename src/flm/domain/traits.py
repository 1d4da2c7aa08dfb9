"""What an engine speaks by itself, and how it behaves where engines differ."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Api = Literal[
    "chat", "completions", "embeddings", "responses", "messages", "count_tokens", "rerank",
    "images", "transcriptions", "translations", "speech", "tokenize",
]  # fmt: skip
"""The APIs FLM serves, by OpenAI's and Anthropic's names."""

APIS: tuple[Api, ...] = get_args(Api)

ClientDialect = Literal["openai", "responses", "anthropic", "ollama"]
"""How a client speaks: its requests, and the errors and streams it can read. `openai` is chat
completions, and every route that is nobody's own."""

Keeping = Literal["pull", "remove", "load", "unload"]
"""What can be done to an engine's models from outside."""


class EngineTraits(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of engine. Facts and their sources stand in `engines/README.md`.

    ``native``: the APIs it serves in OpenAI's or Anthropic's own format, well enough to be passed
    on; ``perhaps``: those that some of this kind have and none of them tells of, so that they are
    asked and believed when they say no; ``translated``: those FLM speaks to it in another format;
    ``renamed``: parameters it knows by another name; ``ignored``: those it takes and leaves aside
    in silence, which FLM must name or refuse; ``rejected``: those it answers with an error;
    ``overload``: what it does when it is full; ``overflow``: what it says to a prompt beyond its
    context; ``broken_stream``: how an error in mid-stream looks; ``reasoning``: the field its
    thoughts come in; ``keeping``: what it lets others do to its models; ``one_model``: a model that
    is loaded takes the place of the one before, and requests for any model are answered by the one
    that is loaded.
    """

    native: tuple[Api, ...]
    perhaps: tuple[Api, ...] = ()
    translated: tuple[Api, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    overload: str
    overflow: str
    broken_stream: str
    reasoning: str
    keeping: tuple[Keeping, ...] = ()
    one_model: bool = False

    @property
    def asked(self) -> tuple[Api, ...]:
        """The APIs that requests are passed on to."""
        return (*self.native, *self.perhaps)
