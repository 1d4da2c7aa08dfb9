"""What the gateway asks of an engine's dialect, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from flm.dialects.openai_chat import ChatRequest
from flm.dialects.openai_completions import CompletionRequest
from flm.dialects.openai_embeddings import EmbeddingsRequest
from flm.errors import EngineError
from flm.wire.snapshot import Target

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of tokens as an engine may say it: one that fits wherever it is kept."""


class InputDetails(msgspec.Struct, frozen=True, gc=False):
    """Of the prompt's tokens those that the engine had in its cache."""

    cached_tokens: Count | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    """Of the answer's tokens those that were thoughts."""

    reasoning_tokens: Count | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens an engine counted, in OpenAI's words for them; None where it said nothing.

    ``estimated``: FLM's own guess, where the engine told nothing and cannot be asked.
    """

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    estimated: bool = False

    @property
    def cached_tokens(self) -> int | None:
        """Tokens of the prompt that came from the engine's cache."""
        details = self.prompt_tokens_details
        return None if details is None else details.cached_tokens

    @property
    def reasoning_tokens(self) -> int | None:
        """Tokens of the answer that were thoughts."""
        details = self.completion_tokens_details
        return None if details is None else details.reasoning_tokens


class EngineCall(msgspec.Struct, frozen=True):
    """A POST to an engine. ``path`` comes behind the target's prefix.

    ``dropped``: fields of the client's that do not reach the engine (`x-flm-dropped`).
    """

    path: str
    body: bytes
    dropped: tuple[str, ...] = ()


class EngineAnswer(msgspec.Struct, frozen=True):
    """The body of an engine's whole answer in the client's dialect."""

    body: bytes
    usage: Usage | None


class Shape(msgspec.Struct, frozen=True):
    """Events that differ by the text of one string and by nothing else.

    An event that begins with ``before``, ends with ``after`` and holds between them no line feed
    and no double quote but behind a backslash, reaches the client with ``lead`` and ``trail`` in
    their places; with ``again`` what is between them comes twice, ``again`` between the two.
    """

    before: bytes
    after: bytes
    lead: bytes
    trail: bytes
    again: bytes = b""


class StreamReader(Protocol):
    """One stream of an engine as the client's dialect. Not to be used again after it raised."""

    @property
    def tail(self) -> bytes:
        """The event with the end mark, held back here once it was seen; b"" before."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the end mark was seen; bytes after it are ignored."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the engine counted, as soon as it said so."""
        ...

    @property
    def started(self) -> bool:
        """Whether content (text, reasoning, a tool call) has been returned by `feed`."""
        ...

    def feed(self, data: bytes) -> bytes:
        """What the client gets now: whole events, or b"".

        Raises `EngineError` when the engine reports an error in mid-stream, and `StreamBroken`
        (which is one) when an event exceeds 1 MB or cannot be read. The exception's ``before``
        holds the events that came before it in `data` and must reach the client first.
        """
        ...

    def guess(self, usage: Usage) -> None:
        """Told before ``tail`` is read, when the engine counted nothing: what FLM guessed."""
        ...

    def shape(self, data: bytes) -> Shape | None:
        """Which events need not be given to `feed`, as long as it is given none of another shape.

        `data` is what `feed` was given last. None when the next event must be seen.
        """
        ...

    def end(self) -> None:
        """The engine's message ended. Raises `StreamBroken` unless the end mark was seen."""
        ...


class EngineDialectCodec(Protocol):
    """An engine's dialect: requests into it, answers, streams and errors out of it.

    Raises `Refusal` for what the engine cannot be asked, `EngineError` for what it answered.
    """

    def chat(self, request: ChatRequest, target: Target) -> EngineCall:
        """The call for a chat completion, streamed when ``request.stream``."""
        ...

    def chat_answer(
        self, request: ChatRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """A whole answer (status 200). ``created`` (UTC seconds) and ``answer_id`` are used
        where the engine gives none of its own.
        """
        ...

    def chat_stream(
        self, request: ChatRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """A reader for the streamed answer (status 200)."""
        ...

    def completions(self, request: CompletionRequest, target: Target) -> EngineCall:
        """The call for a text completion, streamed when ``request.stream``."""
        ...

    def completions_answer(
        self, request: CompletionRequest, target: Target, body: bytes, created: int, answer_id: str
    ) -> EngineAnswer:
        """A whole answer (status 200), as `chat_answer`."""
        ...

    def completions_stream(
        self, request: CompletionRequest, target: Target, created: int, answer_id: str
    ) -> StreamReader:
        """A reader for the streamed answer (status 200)."""
        ...

    def embeddings(self, request: EmbeddingsRequest, target: Target) -> EngineCall:
        """The call for embeddings."""
        ...

    def embeddings_answer(
        self, request: EmbeddingsRequest, target: Target, body: bytes
    ) -> EngineAnswer:
        """The embeddings (status 200), in the encoding the client asked for."""
        ...

    def error(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        target: Target | None = None,
    ) -> EngineError:
        """What an answer that is no result means to the client. Header names in lower case.

        With ``target`` the remedy can name the engine's setting.
        """
        ...
