"""Signs of life: while an engine loads or thinks, a stream says that it still lives."""

from __future__ import annotations

import threading
from pathlib import Path

from flm.wire.channel import Wake, Woken
from flm.wire.snapshot import Rules, Target
from support.gateway import gateway, routes_section, target_at
from support.raw_client import RawClient, chat
from support.scripted_engine import (
    DONE,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    event,
    sized,
    stream_of,
)

QUICK = Rules(revision=1, ping_seconds=0.1)
PING = b": ping\n\n"
FAULT = sized(b'{"error":{"message":"boom"}}', status="500 Internal Server Error")


class Thinking:
    """Answers when it may, with `answer`."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.may_answer = threading.Event()

    def __call__(self, side: EngineSide) -> None:
        side.request()
        assert self.may_answer.wait(10)
        side.send(self.answer)


def test_a_stream_that_thinks_is_kept_alive(tmp_path: Path) -> None:
    """The status line comes with the first sign of life, then the answer as ever."""
    thinking = Thinking(stream_of("fine"))
    with (
        ScriptedEngine(thinking) as engine,
        gateway(tmp_path, target_at(engine.port), rules=QUICK) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat(stream=True))
        client.wait_for(PING)
        thinking.may_answer.set()
        response = client.response()
        assert response.status == 200
        assert response.body.replace(PING, b"") == event("fine") + DONE
        assert running.records()[-1].status == 200


def test_a_model_that_loads_keeps_its_client(tmp_path: Path) -> None:
    """While nobody has even been asked."""
    asleep = Target(id="embedded/m", engine="embedded", model="m", dialect="openai")
    with (
        ScriptedEngine(answering(stream_of("fine"))) as engine,
        gateway(tmp_path, asleep, rules=QUICK) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat(stream=True))
        running.wait_for(lambda message: isinstance(message, Wake))
        client.wait_for(PING)
        awake = target_at(engine.port, engine="embedded")
        running.delta(routes=routes_section(awake, revision=2))
        running.send(Woken("embedded/m"))
        assert client.response().body.replace(PING, b"") == event("fine") + DONE


def test_a_failure_after_a_ping_is_an_event(tmp_path: Path) -> None:
    """The status has been said; the record says what was sent and why it failed."""
    thinking = Thinking(FAULT)
    with (
        ScriptedEngine(thinking) as engine,
        gateway(tmp_path, target_at(engine.port), rules=QUICK) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat(stream=True))
        client.wait_for(PING)
        thinking.may_answer.set()
        body = client.response().body
        assert b'"code":"engine_error"' in body
        assert DONE not in body
        record = running.records()[-1]
        assert (record.status, record.error) == (200, "engine_error")


def test_another_engine_may_still_take_over_after_a_ping(tmp_path: Path) -> None:
    """Nothing of an answer was sent."""
    thinking = Thinking(FAULT)
    with (
        ScriptedEngine(thinking) as one,
        ScriptedEngine(answering(stream_of("fine"))) as other,
        gateway(
            tmp_path,
            target_at(one.port, engine="one"),
            target_at(other.port, engine="two"),
            rules=QUICK,
        ) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat(stream=True))
        client.wait_for(PING)
        thinking.may_answer.set()
        assert client.response().body.replace(PING, b"") == event("fine") + DONE


def test_a_whole_answer_is_waited_for_in_silence(tmp_path: Path) -> None:
    """Its status is still to be said."""
    thinking = Thinking(sized(answer_body()))
    with (
        ScriptedEngine(thinking) as engine,
        gateway(tmp_path, target_at(engine.port), rules=QUICK) as running,
        RawClient(running.port) as client,
        RawClient(running.port) as other,
    ):
        client.send(chat())
        other.send(chat(stream=True))
        other.wait_for(PING, 2)
        thinking.may_answer.set()
        response = client.response()
        assert (response.status, response.headers["content-type"]) == (200, "application/json")


def test_no_ping_comes_when_they_are_switched_off(tmp_path: Path) -> None:
    """`streams.ping_seconds` 0."""
    thinking = Thinking(stream_of("fine"))
    with (
        ScriptedEngine(thinking) as engine,
        gateway(
            tmp_path, target_at(engine.port), rules=Rules(revision=1, ping_seconds=0)
        ) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat(stream=True))
        running.stats(lambda stats: stats.in_flight == 1)
        thinking.may_answer.set()
        assert client.response().body == event("fine") + DONE
