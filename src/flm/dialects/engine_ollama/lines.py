"""Ollama's streams as lines: cut as bytes, so that no character is torn."""

from __future__ import annotations

from abc import ABC, abstractmethod

from flm.dialects.codec import Usage
from flm.dialects.engine_ollama.answer import Line, read_line
from flm.errors import EngineError, StreamBroken
from flm.wire.snapshot import Target

MAX_LINE = 1 << 20


class OllamaLines(ABC):
    """What is the same in every `StreamReader` of Ollama's; `_last` says what a line becomes."""

    def __init__(self, target: Target) -> None:
        self.tail = b""
        self.finished = False
        self.usage: Usage | None = None
        self.started = False
        self._target = target
        self._carry = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `StreamReader.feed`."""
        carry = self._carry
        if self.finished:
            return b""
        if data.find(b"\n") < 0:  # half the time of `in` (measured, CPython 3.11)
            carry += data
            self._check_size(b"")
            return b""
        lines = data.split(b"\n")
        if carry:
            lines[0] = bytes(carry) + lines[0]
        carry[:] = lines.pop()
        out: list[bytes] = []
        try:
            for line in lines:
                if line.strip() and self._last(read_line(line, self._target), out):
                    carry.clear()
                    break
        except EngineError as error:
            error.before = b"".join(out)
            raise
        whole = b"".join(out)
        self._check_size(whole)
        return whole

    def guess(self, usage: Usage) -> None:
        """See `StreamReader.guess`. Ollama's last line always counts."""
        del usage

    def shape(self, data: bytes) -> None:
        """See `StreamReader.shape`. Every line is translated."""
        del data

    def end(self) -> None:
        """See `StreamReader.end`."""
        if not self.finished:
            raise StreamBroken("The engine's stream ended before it was complete.")

    def _check_size(self, before: bytes) -> None:
        if len(self._carry) > MAX_LINE:
            error = StreamBroken(
                "The engine sent an event of more than 1 MB.", code="event_too_large"
            )
            error.before = before
            raise error

    @abstractmethod
    def _last(self, line: Line, out: list[bytes]) -> bool:
        """Add the events of `line` to `out`; whether it was the last one."""
