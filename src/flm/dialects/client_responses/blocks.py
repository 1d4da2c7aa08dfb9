"""Items of text that are being written: thoughts, and what the model says."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from flm.dialects.client_responses.events import Events, escaped, quoted, sides
from flm.dialects.client_responses.output import (
    Envelope,
    Logprob,
    Status,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)

_encode = msgspec.json.Encoder().encode


class Block(Protocol):
    """An open item."""

    def close(self, status: Status) -> None:
        """Say that it is whole."""
        ...


class Thoughts:
    """A reasoning item, as a summary where the client asked for one."""

    def __init__(self, events: Events, envelope: Envelope, summarised: bool) -> None:
        self._events = events
        self._summarised = summarised
        self._place = events.open_item()
        self._id = envelope.item_id("rs", self._place)
        self._said: list[bytes] = []
        self._where = b'"item_id":"%b","output_index":%d,"%b":0' % (
            self._id.encode(),
            self._place,
            b"summary_index" if summarised else b"content_index",
        )
        self._kind = "reasoning_summary_text" if summarised else "reasoning_text"
        events.added(self._place, reasoning_item(self._id, None, summarised))
        self._part("added", "")
        self._sides = sides(f"response.{self._kind}.delta", self._where)

    def _part(self, what: str, text: msgspec.Raw | str) -> None:
        kind = "summary_text" if self._summarised else "reasoning_text"
        name = "reasoning_summary_part" if self._summarised else "content_part"
        part = _encode({"type": kind, "text": text})
        self._events.event(f"response.{name}.{what}", b'%b,"part":%b' % (self._where, part))

    def say(self, text: str) -> None:
        """One more piece of thought."""
        piece = escaped(text)
        self._said.append(piece)
        self._events.piece(self._sides, piece)

    def close(self, status: Status) -> None:
        """See `Block`; a thought has no status."""
        del status
        text = quoted(self._said)
        self._events.event(f"response.{self._kind}.done", b'%b,"text":%b' % (self._where, text))
        self._part("done", text)
        self._events.close_item(self._place, reasoning_item(self._id, text, self._summarised))


class Message:
    """A message: parts of text and of refusal, in turn."""

    def __init__(self, events: Events, envelope: Envelope) -> None:
        self._events = events
        self._place = events.open_item()
        self._id = envelope.item_id("msg", self._place)
        self._parts: list[dict[str, Any]] = []
        self._said: list[bytes] = []
        self._logprobs: list[Logprob] = []
        self._refusing: bool | None = None
        self._where = b""
        self._sides = (b"", b"")
        events.added(self._place, message_item(self._id, "in_progress", []))

    def say(self, text: str, logprobs: list[Logprob] | None = None) -> None:
        """One more piece of text; "" begins a part that has none."""
        if self._refusing is not False:
            self._begin_part(refusing=False)
        if not text:
            return
        piece = escaped(text)
        if not logprobs:
            self.go_on(piece)
            return
        self._said.append(piece)
        told = [one.mended() for one in logprobs]
        self._logprobs += told
        self._events.event(
            "response.output_text.delta",
            b'%b,"logprobs":%b,"delta":"%b"' % (self._where, _encode(told), piece),
        )

    @property
    def saying(self) -> bool:
        """Whether the part that is open is one of text."""
        return self._refusing is False

    def go_on(self, piece: bytes) -> None:
        """One more piece of the open part, the inside of a JSON string."""
        self._said.append(piece)
        self._events.piece(self._sides, piece)

    def refuse(self, text: str) -> None:
        """One more piece of a refusal."""
        if self._refusing is not True:
            self._begin_part(refusing=True)
        self.go_on(escaped(text))

    def _begin_part(self, *, refusing: bool) -> None:
        self._end_part()
        self._refusing = refusing
        self._where = b'"item_id":"%b","output_index":%d,"content_index":%d' % (
            self._id.encode(),
            self._place,
            len(self._parts),
        )
        part = refusal_part("") if refusing else text_part("", [])
        self._events.event(
            "response.content_part.added", b'%b,"part":%b' % (self._where, _encode(part))
        )
        if refusing:
            self._sides = sides("response.refusal.delta", self._where)
        else:
            self._sides = sides("response.output_text.delta", self._where + b',"logprobs":[]')

    def _end_part(self) -> None:
        if self._refusing is None:
            return
        text = quoted(self._said)
        if self._refusing:
            part = refusal_part(text)
            said = b'%b,"refusal":%b' % (self._where, text)
            self._events.event("response.refusal.done", said)
        else:
            part = text_part(text, self._logprobs)
            told = _encode(self._logprobs)
            said = b'%b,"text":%b,"logprobs":%b' % (self._where, text, told)
            self._events.event("response.output_text.done", said)
        self._events.event(
            "response.content_part.done", b'%b,"part":%b' % (self._where, _encode(part))
        )
        self._parts.append(part)
        self._said, self._logprobs = [], []

    def close(self, status: Status) -> None:
        """See `Block`."""
        self._end_part()
        self._events.close_item(self._place, message_item(self._id, status, self._parts))
