"""What a client's dialect is to the gateway: a request any engine can be asked, and its answers.

The form in the middle is OpenAI's chat completion. A client's dialect turns its request into a
`ChatRequest` (and so into every engine's dialect), and what the engines' dialects give back,
which is OpenAI's form too, into its own. Where an engine speaks the client's dialect by itself,
and well, the request is passed on as it is (`Native`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

import msgspec

from flm.dialects.codec import EngineAnswer, EngineCall, Shape, StreamReader, Usage
from flm.dialects.openai_chat import ChatRequest
from flm.errors import Refusal
from flm.wire.snapshot import Target


class Stamp(msgspec.Struct, frozen=True):
    """What an answer is marked with: the request's id (`req_…`) and its UTC seconds."""

    id: str
    time: float


Keeper = Callable[[bytes], Awaitable[bytes]]
"""Given the whole answer, or the events that close a stream (the last one holds the answer); gives
what is to be sent in its place: the same, unless it must say that it could not be kept."""


class StreamWriter(Protocol):
    """One stream of OpenAI's chat events, written in the client's dialect. Pure.

    ``feed`` is given whole events of `chat.completion.chunk` (`data: {…}` and a blank line each;
    comments may be among them), never the end mark, and never an error. It is always given the
    usage chunk, if the engine told any.
    """

    def feed(self, events: bytes) -> bytes:
        """What the client gets now: whole events or lines of its dialect, or b""."""
        ...

    def end(self, usage: Usage | None) -> bytes:
        """What closes the answer, its end mark included. The stream was whole."""
        ...

    def shape(self, shape: Shape) -> Shape | None:
        """Which events need not be given to `feed`: see `codec.Shape`, whose lead and trail are
        OpenAI's here; the result's are the client's. None when the next event must be seen.
        """
        ...


@runtime_checkable
class BreakingWriter(Protocol):
    """A `StreamWriter` whose errors depend on what it wrote before: its events are numbered."""

    def broken(self, refusal: Refusal) -> bytes:
        """What ends the stream when its answer cannot become whole."""
        ...


class Native(Protocol):
    """The request as an engine gets it that speaks the client's dialect by itself."""

    def call(self, target: Target) -> EngineCall:
        """The client's own fields, with the engine's name for the model."""
        ...

    def answer(self, target: Target, body: bytes) -> EngineAnswer:
        """The engine's whole answer (status 200) with the client's name for the model.

        Raises `EngineError` for what is no answer.
        """
        ...

    def stream(self, target: Target) -> StreamReader:
        """A reader for the streamed answer, which passes its events on."""
        ...


class Conversation(Protocol):
    """A request in a client's dialect: judged, and ready for any engine.

    ``chat`` is it in OpenAI's words, with the client's name for the model and, when it streams,
    ``include_usage`` on; fields that were dropped stand in ``chat.dropped``.
    """

    @property
    def keeper(self) -> Keeper | None:
        """Who must have the answer before its last byte leaves; None: nobody."""
        ...

    @property
    def chat(self) -> ChatRequest:
        """The request as the engines' dialects take it."""
        ...

    def native(self, target: Target) -> Native | None:
        """The request for an engine that speaks this dialect by itself; None when it does not,
        or not well enough for what is asked.
        """
        ...

    def answer(self, body: bytes, usage: Usage | None, stamp: Stamp) -> bytes:
        """A whole answer, which an engine's dialect gave as OpenAI's `chat.completion`."""
        ...

    def writer(self, stamp: Stamp) -> StreamWriter:
        """What writes the stream of an answer."""
        ...
