"""The channel between controller and gateway: length-prefixed msgpack, typed both ways.

A frame is 4 bytes of length (big endian) and that many bytes of msgpack, at most 64 MiB.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from flm.domain.engines import EngineLoad
from flm.wire.snapshot import Keys, Routes, Rules, Snapshot

MAX_FRAME = 64 << 20
MAX_SUSPECTS = 16
MAX_KEPT = 16 << 20
"""Bytes of one kept response; a larger one is not kept."""

MAX_CHAIN = 500
"""Responses of one chain that are read back."""

MAX_CHAIN_BYTES = 32 << 20
_LENGTH = struct.Struct(">I")


class Listener(msgspec.Struct, frozen=True):
    """A listening socket the gateway inherited: its descriptor and what is served on it."""

    fd: int
    name: str
    loopback: bool = True


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag="configure"):
    """Controller → gateway, once: the sockets, the journal's folder and the first snapshot."""

    seq: int
    listeners: tuple[Listener, ...]
    journal: str
    snapshot: Snapshot


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """Controller → gateway: the sections that changed. Acknowledged by `Ack` of the same seq.

    Targets that are not in the new routes, or have no host any more, are withdrawn: no new
    request goes there, and a `Stats` tells when nothing is in flight on them. If the figures have
    changed since the last one, a `Stats` comes before the `Ack`: what is known then is true.
    Responses of keys in ``revoked`` end with an error event before the delta is acknowledged.
    """

    seq: int
    keys: Keys | None = None
    routes: Routes | None = None
    rules: Rules | None = None
    revoked: tuple[str, ...] = ()


class Woken(msgspec.Struct, frozen=True, tag="woken"):
    """Controller → gateway: a `Wake` ended. Empty ``error``: the delta before made it ready."""

    target: str
    error: str = ""
    code: str = ""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Controller → gateway: take no new connection, end idle ones, leave within ``grace`` s."""

    grace: float


class Loads(msgspec.Struct, frozen=True, tag="loads"):
    """Controller → gateway: how busy the engines say they are, by id; all that are known.

    Not acknowledged: the next one comes within seconds, and nothing depends on one.
    """

    engines: dict[str, EngineLoad]


Trouble = Literal["", "missing", "too_long", "unreadable", "unavailable"]
"""Why a response was not kept or is not there: no such one of this key (or it has expired); its
chain is longer than may be read; its seal is damaged; the database cannot be used, nothing may be
kept, or there is too much to do."""


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="told"):
    """Controller → gateway: the answer to the `Keep`, `Recall` or `Forget` of that ``seq``.

    ``bodies``: what was kept, the newest first; ``expires_at``: UTC seconds.
    """

    seq: int
    trouble: Trouble = ""
    bodies: tuple[bytes, ...] = ()
    expires_at: float = 0.0


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Gateway → controller, first: who it is."""

    version: str
    pid: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Gateway → controller: the message of that seq is in force."""

    seq: int


class TargetStats(msgspec.Struct, frozen=True, array_like=True):
    """What a target does: requests in flight, and when the last one ended (UTC seconds)."""

    in_flight: int
    last_use: float


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Gateway → controller, on change but at most twice a second (at once at zero in flight).

    ``targets`` holds every target that was used since the gateway started and is still routed
    or in flight; ``unrecorded`` counts records that could not be written;
    ``suspects``: the engines (at most `MAX_SUSPECTS`) that took no connection or dropped one
    since the last report.
    """

    targets: dict[str, TargetStats]
    connections: int
    in_flight: int
    served: int
    unrecorded: int
    suspects: tuple[str, ...] = ()


class JournalGrew(msgspec.Struct, frozen=True, tag="journal"):
    """Gateway → controller: the journal holds records up to ``offset`` of segment ``segment``."""

    segment: int
    offset: int


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Gateway → controller: a request waits for this target for at most ``deadline`` seconds."""

    target: str
    deadline: float


class Keep(msgspec.Struct, frozen=True, kw_only=True, tag="keep"):
    """Gateway → controller: keep this response; it is not sent before it is `Told`.

    ``body`` is the gateway's own form of it; ``previous``: the id of the one before it in its
    chain, '' for none.
    """

    seq: int
    id: str
    key_id: str
    model: str
    created_at: float
    body: bytes
    previous: str = ""


class Recall(msgspec.Struct, frozen=True, kw_only=True, tag="recall"):
    """Gateway → controller: what was kept as ``id`` by this key; with ``chain`` those before it
    too.
    """

    seq: int
    id: str
    key_id: str
    chain: bool = False


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag="forget"):
    """Gateway → controller: remove what was kept as ``id`` by this key."""

    seq: int
    id: str
    key_id: str


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    """Gateway → controller: every response has ended and every record is written."""

    reason: Literal["drain", "deadline"] = "drain"


Keeping = Keep | Recall | Forget
ToGateway = Configure | Delta | Woken | Drain | Loads | Told
ToController = Hello | Ack | Stats | JournalGrew | Wake | Drained | Keep | Recall | Forget


class Framer:
    """Cuts a byte stream into frames. Pure: bytes in, payloads out.

    Raises `ValueError` on a frame longer than `MAX_FRAME`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes."""
        self._buffer += data
        frames: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes on the channel")
            end = position + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[position + _LENGTH.size : end]))
            position = end
        del self._buffer[:position]
        return frames


_encoder = msgspec.msgpack.Encoder()
decode_to_gateway = msgspec.msgpack.Decoder(ToGateway).decode
decode_to_controller = msgspec.msgpack.Decoder(ToController).decode


def frame(message: ToGateway | ToController) -> bytearray:
    """`message` as it goes over the channel."""
    framed = bytearray(_LENGTH.size)  # encoded in its place: some are many megabytes
    _encoder.encode_into(message, framed, _LENGTH.size)
    _LENGTH.pack_into(framed, 0, len(framed) - _LENGTH.size)
    return framed
