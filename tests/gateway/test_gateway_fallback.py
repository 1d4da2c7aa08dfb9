"""Whom a request is asked of: homes of a model, fallbacks, breakers, and what the record says."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import msgspec
import pytest

from flm.domain.records import RecordDetails, Try
from flm.wire.snapshot import Published, Routes, Rules, Snapshot, Target
from support.gateway import (
    KEY,
    KEY_ID,
    RunningGateway,
    gateway,
    keys_section,
    routes_section,
    target_at,
)
from support.raw_client import RawClient, ask, chat, eventually
from support.scripted_engine import (
    DONE,
    STREAM_HEAD,
    EngineSide,
    Script,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)

GOOD = sized(answer_body())
BUSY = sized(b'{"error":{"message":"busy"}}', status="503 Service Unavailable")
FAULT = sized(b'{"error":{"message":"boom"}}', status="500 Internal Server Error")
FULL = sized(b'{"error":{"message":"slow down"}}', status="429 Too Many Requests")
WRONG = sized(b'{"error":{"message":"no"}}', status="400 Bad Request")


def published(routes: Routes, *each: Published) -> Routes:
    """The routes with these publications."""
    return msgspec.structs.replace(routes, published={one.name: one for one in each})


def running_with(journal: Path, routes: Routes, rules: Rules | None = None) -> RunningGateway:
    """A gateway with these routes."""
    rules = rules or Rules(revision=1)
    return RunningGateway(journal, Snapshot(keys_section((KEY_ID, KEY)), routes, rules))


def details(running: RunningGateway) -> RecordDetails:
    """What the last record tells beside its fields."""
    record = running.records()[-1]
    return msgspec.json.decode(record.details or "{}", type=RecordDetails)


def two(one: ScriptedEngine, other: ScriptedEngine) -> Routes:
    """An API `best` with the models `a` of one engine and `b` of the other."""
    a = target_at(one.port, "a", engine="one")
    b = target_at(other.port, "b", engine="two")
    return published(routes_section(a, b), Published(name="best", models=("a", "b")))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "code"),
    [
        (answering(BUSY), "engine_busy"),
        (answering(FAULT), "engine_error"),
        (answering(FULL), "engine_busy"),
        (lambda side: side.request(), "engine_gone"),
        (lambda side: (side.request(), side.rst()), "engine_gone"),
    ],
)
def test_another_engine_answers_for_one_that_cannot(
    tmp_path: Path, first: Script, code: str, stream: bool
) -> None:
    """The client sees nothing of it but the answer; the record names the try."""
    good = stream_of("fine", model="b") if stream else GOOD
    with (
        ScriptedEngine(first) as one,
        ScriptedEngine(answering(good)) as other,
        running_with(tmp_path, two(one, other)) as running,
    ):
        response = ask(running.port, chat(model="best", stream=stream))
        assert response.status == 200
        assert b'"best"' in response.body
        record = running.records()[-1]
        assert (record.status, record.engine, record.api) == (200, "two", "best")
        assert details(running).tries == (Try("one/a", code),)


def test_an_engine_that_takes_no_connection_is_passed_over(tmp_path: Path) -> None:
    """Nothing listens there."""
    with ScriptedEngine(answering(GOOD)) as other:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        a, b = target_at(port, "a", engine="one"), target_at(other.port, "b", engine="two")
        routes = published(routes_section(a, b), Published(name="best", models=("a", "b")))
        with running_with(tmp_path, routes) as running:
            assert ask(running.port, chat(model="best")).status == 200
            assert details(running).tries == (Try("one/a", "engine_unreachable"),)


def test_what_the_client_did_wrong_is_not_asked_again(tmp_path: Path) -> None:
    """400 is 400 everywhere."""
    with (
        ScriptedEngine(answering(WRONG)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        running_with(tmp_path, two(one, other)) as running,
    ):
        assert ask(running.port, chat(model="best")).status == 400
        assert other.seen == []


def test_the_last_engine_s_error_is_the_answer(tmp_path: Path) -> None:
    """When none can."""
    with (
        ScriptedEngine(answering(FAULT)) as one,
        ScriptedEngine(answering(BUSY)) as other,
        running_with(tmp_path, two(one, other)) as running,
    ):
        response = ask(running.port, chat(model="best"))
        assert (response.status, response.code) == (503, "engine_busy")
        assert details(running).tries == (Try("one/a", "engine_error"),)


def test_a_fallback_nobody_offers_does_not_hide_the_engine_s_error(tmp_path: Path) -> None:
    """What an engine said itself says more than that a name is unknown."""
    with ScriptedEngine(answering(FAULT)) as one:
        a = target_at(one.port, "a", engine="one")
        routes = published(routes_section(a), Published(name="best", models=("a", "gone")))
        with running_with(tmp_path, routes) as running:
            response = ask(running.port, chat(model="best"))
            assert response.code == "engine_error"


def test_a_stream_that_dies_before_its_first_word_goes_on_elsewhere(tmp_path: Path) -> None:
    """The engine had begun: a role, no word."""
    role = as_chunk(b'data: {"model":"a","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n')

    def dies(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + role)

    with (
        ScriptedEngine(dies) as one,
        ScriptedEngine(answering(stream_of("fine", model="b"))) as other,
        running_with(tmp_path, two(one, other)) as running,
    ):
        response = ask(running.port, chat(model="best", stream=True))
        assert response.body == event("fine", "best") + DONE
        assert details(running).tries == (Try("one/a", "stream_interrupted"),)


def test_a_stream_that_dies_after_a_word_is_broken(tmp_path: Path) -> None:
    """Two engines never say one answer."""

    def dies(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("half", "a")))

    with (
        ScriptedEngine(dies) as one,
        ScriptedEngine(answering(stream_of("fine", model="b"))) as other,
        running_with(tmp_path, two(one, other)) as running,
    ):
        body = ask(running.port, chat(model="best", stream=True)).body
        assert body.startswith(event("half", "best"))
        assert b"stream_interrupted" in body
        assert DONE not in body
        assert other.seen == []


def test_homes_of_one_model_stand_in_for_each_other(tmp_path: Path) -> None:
    """Without any publication."""
    with (
        ScriptedEngine(answering(FAULT)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        gateway(
            tmp_path, target_at(one.port, engine="one"), target_at(other.port, engine="two")
        ) as running,
    ):
        assert ask(running.port, chat()).status == 200
        assert details(running).tries == (Try("one/m", "engine_error"),)


def test_a_breaker_opens_after_failures_in_a_row(tmp_path: Path) -> None:
    """From then on the engine is not even asked, while another one is there."""
    rules = Rules(revision=1, breaker_failures=3)
    with (
        ScriptedEngine(answering(FAULT)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        running_with(tmp_path, two(one, other), rules) as running,
    ):
        for _ in range(5):
            assert ask(running.port, chat(model="best")).status == 200
        assert len(one.seen) == 3
        assert len(other.seen) == 5


def test_a_breaker_closes_when_a_probe_goes_well(tmp_path: Path) -> None:
    """After its time one request is let through."""
    rules = Rules(revision=1, breaker_failures=1, breaker_seconds=0.5)
    with (
        ScriptedEngine(answering(FAULT)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        running_with(tmp_path, two(one, other), rules) as running,
    ):
        assert ask(running.port, chat(model="best")).status == 200
        one.script = answering(GOOD)
        eventually(
            lambda: ask(running.port, chat(model="best")).status == 200 and len(one.seen) > 1
        )
        before = len(other.seen)
        assert ask(running.port, chat(model="best")).status == 200
        assert len(other.seen) == before


def test_where_nobody_else_is_an_open_breaker_keeps_nobody_out(tmp_path: Path) -> None:
    """The engine's own error says more, and it may work again."""
    rules = Rules(revision=1, breaker_failures=1)
    with (
        ScriptedEngine(answering(FAULT)) as one,
        gateway(tmp_path, target_at(one.port), rules=rules) as running,
    ):
        assert [ask(running.port, chat()).code for _ in range(3)] == ["engine_error"] * 3
        one.script = answering(GOOD)
        assert ask(running.port, chat()).status == 200


def test_an_engine_that_is_busy_is_not_taken_for_a_broken_one(tmp_path: Path) -> None:
    """503 and 429 open no breaker."""
    rules = Rules(revision=1, breaker_failures=1)
    with (
        ScriptedEngine(answering(BUSY)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        running_with(tmp_path, two(one, other), rules) as running,
    ):
        for _ in range(4):
            assert ask(running.port, chat(model="best")).status == 200
        assert len(one.seen) == 4


class Held:
    """An engine that answers when it may."""

    def __init__(self, answer: bytes = GOOD) -> None:
        self.may_answer = threading.Event()
        self.answer = answer

    def __call__(self, side: EngineSide) -> None:
        while side.request() is not None:
            assert self.may_answer.wait(10)
            side.send(self.answer)


def test_a_home_that_was_passed_over_is_asked_where_it_is_by_then(tmp_path: Path) -> None:
    """It rested, and moved while another one was asked: it counts as in flight there."""
    rules = Rules(revision=1, breaker_failures=1)
    moved, held = Held(), Held(FAULT)
    with (
        ScriptedEngine(answering(FAULT)) as one,
        ScriptedEngine(moved) as there,
        ScriptedEngine(held) as other,
        running_with(tmp_path, two(one, other), rules) as running,
        RawClient(running.port) as client,
    ):
        assert ask(running.port, chat(model="a")).status == 502
        client.send(chat(model="best"))
        eventually(lambda: other.seen)
        running.delta(routes=msgspec.structs.replace(two(there, other), revision=2))
        held.may_answer.set()
        running.stats(
            lambda stats: "one/a" in stats.targets and stats.targets["one/a"].in_flight == 1
        )
        moved.may_answer.set()
        assert client.response().status == 200
        assert len(there.seen) == 1


def test_a_conversation_stays_where_it_was(tmp_path: Path) -> None:
    """Its next turns go to the engine that has its beginning in the cache."""
    with (
        ScriptedEngine(answering(GOOD)) as one,
        ScriptedEngine(answering(GOOD)) as other,
        gateway(
            tmp_path, target_at(one.port, engine="one"), target_at(other.port, engine="two")
        ) as running,
    ):
        for text in ("first", "second"):
            for _ in range(4):
                assert ask(running.port, chat(text=text)).status == 200
        engines = [record.engine for record in running.records()]
        assert len(set(engines[:4])) == 1
        assert len(set(engines[4:])) == 1


def test_a_conversation_leaves_an_engine_that_is_much_busier(tmp_path: Path) -> None:
    """Waiting would cost more than reading its beginning again."""
    held = Held()
    held.may_answer.set()
    with (
        ScriptedEngine(held) as one,
        ScriptedEngine(answering(GOOD)) as other,
        gateway(
            tmp_path, target_at(one.port, engine="one"), target_at(other.port, engine="two")
        ) as running,
    ):
        assert ask(running.port, chat(text="same")).status == 200
        assert running.records()[-1].engine == "one"
        held.may_answer.clear()
        clients = [RawClient(running.port).send(chat(text="same")) for _ in range(5)]
        eventually(lambda: len(one.seen) == 6)
        assert ask(running.port, chat(text="same")).status == 200
        assert running.records()[-1].engine == "two"
        held.may_answer.set()
        for client in clients:
            assert client.response().status == 200
            client.close()


def test_a_key_that_may_not_use_an_api_finds_none(tmp_path: Path) -> None:
    """Nothing tells its name from one that nobody ever gave."""
    with ScriptedEngine(answering(GOOD)) as one:
        routes = published(
            routes_section(target_at(one.port)),
            Published(name="secret", models=("m",), limited=True, keys=("others",)),
        )
        with running_with(tmp_path, routes) as running:
            response = ask(running.port, chat(model="secret"))
            assert (response.status, response.code) == (404, "model_not_found")
            assert one.seen == []


def test_a_pattern_and_the_default_answer_for_names_nobody_has(tmp_path: Path) -> None:
    """Clients ask for fixed names; the answer says the name they used."""
    with ScriptedEngine(answering(GOOD)) as one:
        routes = msgspec.structs.replace(
            published(
                routes_section(target_at(one.port)), Published(name="claude-*", models=("m",))
            ),
            default="m",
        )
        with running_with(tmp_path, routes) as running:
            for name in ("claude-sonnet-5", "whatever"):
                answer = ask(running.port, chat(model=name))
                assert answer.json()["model"] == name
            assert [record.api for record in running.records()] == ["claude-*", ""]


def test_a_prompt_that_leaves_the_machine_is_marked_in_the_record(tmp_path: Path) -> None:
    """Whatever the name it was asked for."""
    with ScriptedEngine(answering(GOOD)) as one:
        far: Target = target_at(one.port, remote=True)
        with gateway(tmp_path, far) as running:
            assert ask(running.port, chat()).status == 200
            assert details(running).remote


UNCOUNTED = sized(
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"four letters each"},"finish_reason":"stop"}]}'
)


def test_an_engine_that_counts_nothing_is_asked_for_its_tokens(tmp_path: Path) -> None:
    """By its tokenizer: the messages, then the answer."""
    with (
        ScriptedEngine(
            answering(UNCOUNTED, sized(b'{"count":7,"tokens":[]}'), sized(b'{"tokens":[1,2,3]}'))
        ) as one,
        gateway(tmp_path, target_at(one.port, native=("chat", "tokenize"))) as running,
    ):
        assert ask(running.port, chat()).status == 200
        record = running.records()[-1]
        assert (record.tokens_in, record.tokens_out, record.estimated) == (7, 3, False)
        assert [seen.path for seen in one.seen] == [
            "/v1/chat/completions", "/tokenize", "/tokenize",
        ]  # fmt: skip


def test_what_nobody_counts_is_guessed_and_marked(tmp_path: Path) -> None:
    """The engine has no tokenizer that could be asked."""
    with (
        ScriptedEngine(answering(UNCOUNTED, stream_of("a", "b", "c"))) as one,
        gateway(tmp_path, target_at(one.port)) as running,
    ):
        assert ask(running.port, chat(text="x" * 400)).status == 200
        assert ask(running.port, chat(stream=True)).status == 200
        whole, streamed = running.records()
        assert (whole.tokens_in, whole.tokens_out, whole.estimated) == (103, 4, True)
        assert (streamed.tokens_out, streamed.estimated) == (4, True)


def test_a_client_that_asked_for_usage_gets_the_guess(tmp_path: Path) -> None:
    """In an event of its own before the end mark, as OpenAI sends it."""
    with (
        ScriptedEngine(answering(stream_of("a", "b"))) as one,
        gateway(tmp_path, target_at(one.port)) as running,
    ):
        asked = chat(stream=True, stream_options={"include_usage": True})
        *_, last, mark, end = ask(running.port, asked).body.split(b"\n\n")
        assert (mark, end) == (b"data: [DONE]", b"")
        chunk = msgspec.json.decode(last.removeprefix(b"data: "))
        assert chunk["choices"] == []
        assert chunk["usage"]["completion_tokens"] == 3
        assert chunk["id"] == "c1"
