"""A stream that passes two translations: the engine's into OpenAI's, OpenAI's into the client's."""

from __future__ import annotations

from flm.dialects.codec import Shape, StreamReader, Usage
from flm.dialects.conversation import BreakingWriter, StreamWriter
from flm.errors import EngineError, Refusal


class TranslatedStream:
    """A `StreamReader` made of an engine's reader and a client's writer."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tail: bytes | None = None
        self._guess: Usage | None = None
        self._ours: Shape | None = None

    @property
    def tail(self) -> bytes:
        """See `StreamReader.tail`: what the writer closes the answer with, made once."""
        if not self._reader.finished:
            return b""
        if self._tail is None:
            self._tail = self._writer.end(self._reader.usage or self._guess)
        return self._tail

    @property
    def finished(self) -> bool:
        """See `StreamReader.finished`."""
        return self._reader.finished

    @property
    def usage(self) -> Usage | None:
        """See `StreamReader.usage`."""
        return self._reader.usage

    @property
    def started(self) -> bool:
        """See `StreamReader.started`."""
        return self._reader.started

    def guess(self, usage: Usage) -> None:
        """See `StreamReader.guess`: the writer is told, whatever the client asked for."""
        self._guess = usage

    def feed(self, data: bytes) -> bytes:
        """See `StreamReader.feed`."""
        try:
            events = self._reader.feed(data)
        except EngineError as error:
            if error.before:
                error.before = self._writer.feed(error.before)
            raise
        return self._writer.feed(events) if events else b""

    def shape(self, data: bytes) -> Shape | None:
        """See `StreamReader.shape`. Equal shapes are one object: nothing is learned anew."""
        theirs = self._reader.shape(data)
        # The writer is asked each time: what `data` opened may have changed what it writes.
        ours = None if theirs is None else self._writer.shape(theirs)
        if ours != self._ours:
            self._ours = ours
        return self._ours

    def broken(self, refusal: Refusal) -> bytes:
        """How the client's stream ends with an error, if only its writer can say it; else b""."""
        writer = self._writer
        return writer.broken(refusal) if isinstance(writer, BreakingWriter) else b""

    def end(self) -> None:
        """See `StreamReader.end`."""
        self._reader.end()
