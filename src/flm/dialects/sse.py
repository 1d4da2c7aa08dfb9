"""Server-sent events as bytes: where one ends, what it holds, and how whole ones are cut out."""

from __future__ import annotations

import re
from typing import Protocol

from flm.errors import EngineError, StreamBroken

MAX_EVENT = 1 << 20

BLANK = (b"\n\n", b"\r\n\r\n")
"""What whole events end with."""

END_OF_EVENT = re.compile(rb"\r?\n\r?\n")


class Events(Protocol):
    """Who reads the events of a stream, one by one."""

    finished: bool
    """Whether the last event that counts has come."""

    def event(self, event: bytes) -> bytes:
        """What of one whole event, its blank line included, goes to the client.

        Raises `EngineError` for an event that is an error.
        """
        ...


def cut(reader: Events, carry: bytearray, data: bytes, largest: int = MAX_EVENT) -> bytes:
    """Give `reader` the whole events in `carry` and `data`; what of them goes to the client.

    What is no whole event yet stays in `carry`; once the reader has finished, nothing does.
    Raises what the reader does, and `StreamBroken` for an event that grows beyond `largest`
    bytes, both with what came before.
    """
    if (
        not carry
        and data.endswith(b"\n\n")
        and data.find(b"\n\n") == len(data) - 2
        and data.find(b"\r") < 0
    ):
        return reader.event(data)  # nearly always: one event, with line feeds alone
    # The end of an event that `data` completes begins at most 3 bytes before `data`.
    fresh = max(0, len(carry) - 3)
    carry += data
    out: list[bytes] = []
    try:
        if END_OF_EVENT.search(carry, fresh):
            buffer, read = bytes(carry), reader.event
            start = 0
            for found in END_OF_EVENT.finditer(buffer):
                out.append(read(buffer[start : found.end()]))
                start = found.end()
                if reader.finished:
                    start = len(buffer)
                    break
            del carry[:start]
        if len(carry) > largest:
            raise StreamBroken(
                f"The engine sent an event of more than {largest >> 20} MB.",
                code="event_too_large",
            )
    except EngineError as error:
        error.before = b"".join(out)
        raise
    return b"".join(out)


def payload(event: bytes) -> bytes:
    """The data of an event: its `data:` lines, joined as the standard says."""
    # Stripping takes the carriage return of a line, too.
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)
