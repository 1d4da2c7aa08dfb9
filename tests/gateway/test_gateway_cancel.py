"""A client that leaves ends the engine's work at once, wherever its request is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from support.gateway import RunningGateway
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import (
    DONE,
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    as_chunk,
    event,
    sized,
)

LEAVE: dict[str, Callable[[RawClient], object]] = {
    "FIN": RawClient.close,
    "RST": RawClient.reset,
    "half close": RawClient.half_close,
}


class Working:
    """An engine that says so much and then works on until it is left alone."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.asked = threading.Event()
        self.left = threading.Event()

    def __call__(self, side: EngineSide) -> None:
        side.request()
        side.send(self._said)
        self.asked.set()
        if side.is_left():
            self.left.set()


MOMENTS = {
    "during a whole answer": (False, b""),
    "in the middle of a whole answer": (False, sized(answer_body())[:-5]),
    "before the first token": (True, b""),
    "before the first event": (True, STREAM_HEAD),
    "in mid-stream": (True, STREAM_HEAD + as_chunk(event("one"))),
    "between the mark and the end": (True, STREAM_HEAD + as_chunk(event("one") + b"data: [DONE]")),
}


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
@pytest.mark.parametrize(("stream", "said"), MOMENTS.values(), ids=MOMENTS)
def test_a_client_that_leaves_ends_the_engine_s_work(
    served: RunningGateway,
    engine: ScriptedEngine,
    leave: Callable[[RawClient], object],
    stream: bool,
    said: bytes,
) -> None:
    """The engine's connection is closed, and the record says 499 `client_closed`."""
    working = Working(said)
    engine.script = working
    before = len(served.records())
    client = RawClient(served.port)
    client.send(chat(stream=stream))
    assert working.asked.wait(10)
    if said.endswith(event("one")[-10:] + b"\r\n"):
        client.read_until(b"one")
    leave(client)
    assert working.left.wait(10)
    eventually(lambda: len(served.records()) > before)
    record = served.records()[before]
    assert (record.status, record.error) == (499, "client_closed")
    assert record.model == "m"
    client.close()
    assert len(served.records()) == before + 1


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_client_that_leaves_with_its_last_byte_is_recorded(
    served: RunningGateway, engine: ScriptedEngine, leave: Callable[[RawClient], object]
) -> None:
    """Request and end arrive together: the exchange ends before it has begun."""
    for count in range(20):
        before = len(served.records())
        client = RawClient(served.port)
        client.send(chat(text=str(count)))
        leave(client)
        eventually(lambda before=before: len(served.records()) > before)
        assert served.records()[before].status in (499, 200)
        client.close()
    served.stats(lambda stats: stats.in_flight == 0)
    assert ask(served.port, chat()).status == 200


def test_a_client_that_leaves_after_the_end_mark_got_everything(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Whatever it does then, its record says that all is well."""
    with RawClient(served.port) as client:
        assert client.ask(chat()).status == 200
        client.reset()
    assert served.records()[-1].error == ""


def test_one_that_leaves_disturbs_no_other(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Two streams side by side on one engine: one is cut, one goes on."""
    go_on = threading.Event()

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("one")))
        assert go_on.wait(10)
        side.send(as_chunk(event("two") + DONE) + b"0\r\n\r\n")

    engine.script = script
    with RawClient(served.port) as stays, RawClient(served.port) as leaves:
        for client in (stays, leaves):
            client.send(chat(stream=True))
            client.read_until(b"one")
        leaves.reset()
        assert ask(served.port, request("GET", "/health")).status == 200
        go_on.set()
        assert b"two" in stays.read_until(b"[DONE]")
