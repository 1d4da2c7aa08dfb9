"""Large pictures on their way: what an engine gets of them is what it gets of small ones.

FLM judges and translates such a request without its pictures. So each is sent twice, with a small
picture and with a large one, and the engine must see the same bytes but for the picture.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flm.domain.policy import Policy
from flm.wire.channel import Forget, Keep, Keeping, Told
from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, Response, ask, chunked, request
from support.replay import Seen
from support.scripted_engine import (
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    sized,
    stream_of,
)

LARGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(2_500_000)).decode()
OTHER = base64.b64encode(b"\xff\xd8\xff" + random.Random(2).randbytes(1_500_000)).decode()
SMALL = LARGE[:400]
SMALL_OTHER = OTHER[:400]
NATIVE = ("chat", "messages", "count_tokens")

MESSAGE = {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn"}
LINE = {"model": "m", "created_at": "2026-11-22T00:00:00Z", "done": True, "done_reason": "stop"}


def said(*events: tuple[str, dict[str, Any]]) -> bytes:
    """A streamed answer in Anthropic's words."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    chunks = (f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)
    return head + b"\r\n" + b"".join(map(as_chunk, chunks)) + b"0\r\n\r\n"


def answered(seen: Seen) -> bytes:
    """What an engine of any dialect says to that."""
    stream = json.loads(seen.body).get("stream")
    if seen.path.endswith("/count_tokens"):
        return sized(b'{"input_tokens":7}')
    if seen.path == "/v1/messages":
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {**MESSAGE, "id": "msg_1", "model": "m", "usage": usage}
        if not stream:
            return sized(json.dumps(message).encode())
        delta = {"type": "text_delta", "text": "hello"}
        return said(
            ("message_start", {"type": "message_start", "message": message}),
            ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}),
            ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            ("message_stop", {"type": "message_stop"}),
        )
    if seen.path.startswith("/api/"):
        line = {**LINE, "message": {"role": "assistant", "content": "hello"}, "response": "hello"}
        whole = sized(json.dumps(line).encode() + b"\n")
        return whole.replace(b"application/json", b"application/x-ndjson") if stream else whole
    return stream_of("hello") if stream else sized(answer_body())


def any_dialect(side: EngineSide) -> None:
    """Speaks whatever it is asked in."""
    while (seen := side.request()) is not None:
        side.send(answered(seen))


@pytest.fixture(scope="module")
def plain() -> Iterator[ScriptedEngine]:
    """The engine of this file."""
    with ScriptedEngine(any_dialect) as running:
        yield running


@pytest.fixture(scope="module")
def houses(
    plain: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """`m` where OpenAI's dialect is spoken, `n` where Anthropic's is too, `o` on an Ollama."""
    with gateway(
        tmp_path_factory.mktemp("journal"),
        target_at(plain.port),
        target_at(plain.port, "n", engine="n", native=NATIVE),
        target_at(plain.port, "o", engine="o", dialect="ollama"),
        target_at(plain.port, "p", engine="p", model="another/name"),
    ) as running:
        running.on_keeping = lambda message: running.send(Told(seq=message.seq, expires_at=4e9))
        yield running


def post(served: RunningGateway, path: str, body: bytes) -> Response:
    """A request with that body."""
    return ask(served.port, request("POST", path, body=body))


def in_chat(one: str, two: str) -> dict[str, Any]:
    """Two pictures and a sound in OpenAI's chat."""
    parts = [
        {"type": "text", "text": "これは?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{one}"}},
        {
            "type": "image_url",
            "image_url": {"detail": "low", "url": f"data:image/jpeg;base64,{two}"},
        },
    ]
    return {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]}


def in_messages(one: str, two: str) -> dict[str, Any]:
    """In Anthropic's Messages, one of them in a tool's result."""
    source = {"type": "base64", "media_type": "image/png", "data": one}
    result = {"type": "base64", "media_type": "image/jpeg", "data": two}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    seen = [{"type": "image", "source": result}]
    told = {"type": "tool_result", "tool_use_id": "t", "content": seen}
    turns = [
        {"role": "user", "content": [{"type": "image", "source": source}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [told]},
    ]
    return {"max_tokens": 5, "messages": turns}


def in_responses(one: str, two: str) -> dict[str, Any]:
    """In OpenAI's Responses."""
    parts = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{one}"},
        {"type": "input_image", "detail": "high", "image_url": f"data:image/jpeg;base64,{two}"},
    ]
    return {"input": [{"role": "user", "content": parts}]}


def in_ollama(one: str, two: str) -> dict[str, Any]:
    """In Ollama's chat."""
    return {"messages": [{"role": "user", "content": "?", "images": [one, "/9j/4AAQ", two]}]}


def in_generate(one: str, two: str) -> dict[str, Any]:
    """In Ollama's other route."""
    return {"prompt": "?", "images": [one, two]}


WAYS = {
    "/v1/chat/completions": in_chat,
    "/v1/messages": in_messages,
    "/v1/responses": in_responses,
    "/api/chat": in_ollama,
    "/api/generate": in_generate,
}


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("model", ["m", "n", "o", "p"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_gets_a_large_picture_as_it_gets_a_small_one(
    houses: RunningGateway, plain: ScriptedEngine, path: str, model: str, stream: bool
) -> None:
    """Byte for byte, passed on or translated; and the client gets the same answer."""
    made = WAYS[path]
    plain.seen.clear()
    answers = [
        post(houses, path, json.dumps({"model": model, "stream": stream, **made(*two)}).encode())
        for two in ((SMALL, SMALL_OTHER), (LARGE, OTHER))
    ]
    small, large = plain.seen
    assert [answer.status for answer in answers] == [200, 200], answers[1].body
    assert small.path == large.path
    expected = small.body.replace(b'%b"' % SMALL.encode(), b'%b"' % LARGE.encode())
    expected = expected.replace(b'%b"' % SMALL_OTHER.encode(), b'%b"' % OTHER.encode())
    assert LARGE.encode() in expected
    assert OTHER.encode() in expected
    assert large.body == expected
    assert large.headers["content-length"] == str(len(expected))
    assert answers[0].headers.get("x-flm-dropped") == answers[1].headers.get("x-flm-dropped")


def test_tokens_of_a_large_picture_are_counted_by_the_engine_that_gets_it(
    houses: RunningGateway, plain: ScriptedEngine
) -> None:
    """`count_tokens`, passed on."""
    plain.seen.clear()
    body = json.dumps({"model": "n", **in_messages(LARGE, OTHER)}).encode()
    counted = post(houses, "/v1/messages/count_tokens", body)
    assert counted.json() == {"input_tokens": 7}
    assert json.loads(plain.seen[0].body) == {"model": "n", **in_messages(LARGE, OTHER)}


def test_a_large_sound_reaches_the_engine(houses: RunningGateway, plain: ScriptedEngine) -> None:
    """And a picture that stands twice does so twice."""
    sound = {"type": "input_audio", "input_audio": {"data": OTHER, "format": "wav"}}
    picture = {"type": "image_url", "image_url": f"data:image/png;base64,{LARGE}"}
    body = {"model": "m", "messages": [{"role": "user", "content": [picture, sound, picture]}]}
    plain.seen.clear()
    assert post(houses, "/v1/chat/completions", json.dumps(body).encode()).status == 200
    assert json.loads(plain.seen[0].body) == body


def test_a_packed_body_and_one_in_chunks_hold_their_pictures(
    houses: RunningGateway, plain: ScriptedEngine
) -> None:
    """However they came, the engine is sent them with their length."""
    body = json.dumps({"model": "m", **in_chat(LARGE, OTHER)}).encode()
    packed = gzip.compress(body, 1)
    in_chunks = chunked(*(body[at : at + 900_000] for at in range(0, len(body), 900_000)))
    plain.seen.clear()
    path = "/v1/chat/completions"
    for each in (
        request("POST", path, "Content-Encoding: gzip", body=packed),
        request("POST", path, "Transfer-Encoding: chunked", body=in_chunks, sized=False),
    ):
        assert ask(houses.port, each).status == 200
    assert [seen.body for seen in plain.seen] == [plain.seen[0].body] * 2
    assert json.loads(plain.seen[0].body) == json.loads(body)


def test_of_a_field_that_comes_twice_the_last_one_counts(
    houses: RunningGateway, plain: ScriptedEngine
) -> None:
    """The picture in the other one is gone, as it is when it is small."""
    first, last = (json.dumps(in_chat(*two)["messages"]) for two in ((LARGE, OTHER), (OTHER, "aa")))
    body = f'{{"messages":{first},"model":"m","messages":{last}}}'.encode()
    plain.seen.clear()
    assert post(houses, "/v1/chat/completions", body).status == 200
    assert json.loads(plain.seen[0].body) == {"model": "m", "messages": json.loads(last)}


def test_what_a_client_writes_is_no_mark(houses: RunningGateway, plain: ScriptedEngine) -> None:
    """Base64, hexadecimal digits and JSON in its text stay its text."""
    text = "0123456789abcdef" * 2 + "00000000" + '{"url":"data:image/png;base64,' + LARGE + '"}'
    body = {"model": "m", "messages": [{"role": "user", "content": text},
                                       *in_chat(LARGE, OTHER)["messages"]]}  # fmt: skip
    plain.seen.clear()
    assert post(houses, "/v1/chat/completions", json.dumps(body).encode()).status == 200
    assert json.loads(plain.seen[0].body) == body


@pytest.mark.parametrize("wrong", ["\\n", "\\/", "\\u0041", " ", "é"])
def test_what_is_not_all_base64_is_passed_on_as_it_is(
    houses: RunningGateway, plain: ScriptedEngine, wrong: str
) -> None:
    """Escapes stay escapes, and the engine judges what it is sent."""
    body = json.dumps({"model": "m", **in_chat("@", OTHER)}).replace("@", LARGE + wrong + LARGE)
    plain.seen.clear()
    assert post(houses, "/v1/chat/completions", body.encode()).status == 200
    assert f"{LARGE}{wrong}{LARGE}".encode() in plain.seen[0].body
    assert json.loads(plain.seen[0].body) == json.loads(body)


@pytest.mark.parametrize("wrong", [b"\n", b"\x00", b'"', b"\\", b"\xff"])
def test_a_damaged_picture_is_refused_as_ever(houses: RunningGateway, wrong: bytes) -> None:
    """A body that is no JSON never becomes one."""
    body = json.dumps({"model": "m", **in_chat("@", OTHER)}).encode()
    damaged = body.replace(b"@", LARGE.encode() + wrong + LARGE.encode())
    refused = post(houses, "/v1/chat/completions", damaged)
    assert (refused.status, refused.code) == (400, "invalid_json")


def test_an_error_behind_a_picture_is_told_with_its_place(houses: RunningGateway) -> None:
    """Counted in the bytes that the client sent."""
    body = json.dumps({"model": "m", **in_chat(LARGE, OTHER)}).encode()[:-1] + b",x}"
    refused = post(houses, "/v1/chat/completions", body)
    assert refused.message == (
        "The request body is not a JSON object: JSON is malformed: object keys must be strings"
        f" (byte {len(body) - 2})."
    )


def test_a_picture_where_none_belongs_stays_what_it_is(
    houses: RunningGateway, plain: ScriptedEngine
) -> None:
    """Responses repeat their tools: what stands there is the client's own text."""
    schema = {"type": "object", "properties": {"a": {"enum": [OTHER]}}}
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": False}
    body = {"model": "m", "store": False, "tools": [tool], **in_responses(LARGE, SMALL)}
    plain.seen.clear()
    answer = post(houses, "/v1/responses", json.dumps(body).encode())
    assert answer.json()["tools"][0]["parameters"] == schema
    assert LARGE.encode() in plain.seen[0].body


def test_limits_are_those_of_the_body_as_it_came(houses: RunningGateway) -> None:
    """32 MiB, however small its outline would be."""
    body = json.dumps({"model": "m", **in_chat("A" * (32 << 20), SMALL)}).encode()
    with RawClient(houses.port) as client:
        sending = client.send_until_refused(
            [request("POST", "/v1/chat/completions", f"Content-Length: {len(body)}"), body]
        )
        refused = client.response()
        client.close()
        sending.join(10)
    assert (refused.status, refused.code) == (413, "body_too_large")


# What is kept of them.


class Keeper:
    """The controller's part, in memory; ``forgetful``: the gateway must ask for what it kept."""

    def __init__(self, served: RunningGateway) -> None:
        self.served = served
        self.rows: dict[str, tuple[bytes, str]] = {}
        self.expires_at = 4e9

    def __call__(self, message: Keeping) -> None:
        assert not isinstance(message, Forget)
        if isinstance(message, Keep):
            self.rows[message.id] = (message.body, message.previous)
            self.served.send(Told(seq=message.seq, expires_at=self.expires_at))
        else:
            bodies = (self.rows[message.id][0],)
            self.served.send(Told(seq=message.seq, bodies=bodies, expires_at=self.expires_at))


@pytest.mark.parametrize("expires_at", [4e9, 0.0])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_kept_holds_the_pictures(
    houses: RunningGateway, plain: ScriptedEngine, expires_at: float, stream: bool
) -> None:
    """In its input items, and in the turns after it; at hand or asked for again."""
    keeper = houses.on_keeping = Keeper(houses)
    keeper.expires_at = expires_at
    body = {"model": "m", "stream": stream, **in_responses(LARGE, OTHER)}
    assert post(houses, "/v1/responses", json.dumps(body).encode()).status == 200
    (id_,) = keeper.rows
    assert LARGE.encode() in keeper.rows[id_][0]

    listed = ask(houses.port, request("GET", f"/v1/responses/{id_}/input_items")).json()
    assert listed["data"][0]["content"] == body["input"][0]["content"]

    plain.seen.clear()
    following = {"model": "m", "previous_response_id": id_, "input": "and now?"}
    named = {"model": "m", "input": [{"type": "item_reference", "id": listed["first_id"]},
                                     *in_responses(SMALL, LARGE)["input"]]}  # fmt: skip
    for each in (following, named):
        assert post(houses, "/v1/responses", json.dumps(each).encode()).status == 200
    for seen in plain.seen:
        parts = json.loads(seen.body)["messages"][0]["content"]
        assert parts[0]["image_url"]["url"] == f"data:image/png;base64,{LARGE}"
        assert parts[1]["image_url"]["url"] == f"data:image/jpeg;base64,{OTHER}"
    kept = keeper.rows[list(keeper.rows)[-1]][0]
    assert kept.count(LARGE.encode()) == 2
    assert OTHER.encode() in kept


# When something goes wrong with the engine or the client.


def test_a_stale_connection_is_tried_again_with_all_of_it(tmp_path: Path) -> None:
    """The engine has left while part of it was on its way."""

    def leaves(side: EngineSide) -> None:
        side.request()
        side.send(sized(answer_body()))
        if side.number == 1:
            side.read_until(b"base64,iVBOR")
            side.rst()
            return
        any_dialect(side)

    body = json.dumps({"model": "m", **in_chat(LARGE, OTHER)}).encode()
    small = json.dumps({"model": "m", **in_chat(SMALL, SMALL)}).encode()
    with (
        ScriptedEngine(leaves) as engine,
        gateway(tmp_path, target_at(engine.port)) as served,
        RawClient(served.port) as client,
    ):
        for each in (small, body):
            assert client.ask(request("POST", "/v1/chat/completions", body=each)).status == 200
        assert engine.connections == 2
        assert json.loads(engine.seen[-1].body) == json.loads(body)


def test_another_engine_gets_all_of_it_too(tmp_path: Path) -> None:
    """In its own dialect, after the first one has said that it is busy."""
    busy = sized(b'{"error":{"message":"busy"}}', "503 Service Unavailable")
    body = json.dumps({"model": "m", **in_chat(LARGE, OTHER)}).encode()
    with ScriptedEngine(answering(busy)) as first, ScriptedEngine(any_dialect) as second:
        targets = [
            target_at(first.port, engine="a"),
            target_at(second.port, engine="b", dialect="ollama"),
        ]
        with gateway(tmp_path, *targets, rules=Rules(revision=1, policy=Policy())) as served:
            for _ in range(2):
                assert post(served, "/v1/chat/completions", body).status == 200
        assert json.loads(first.seen[0].body) == json.loads(body)
        assert json.loads(second.seen[0].body)["messages"][1]["images"] == [LARGE, OTHER]


def test_a_client_that_leaves_takes_the_rest_along(tmp_path: Path) -> None:
    """An engine that reads slowly sees the end of its connection, not the whole picture."""
    begun, left, over = threading.Event(), threading.Event(), threading.Event()
    got: list[int] = []

    def slow(side: EngineSide) -> None:
        side.read_until(b"base64,iVBOR")
        begun.set()
        left.wait(10)
        got.append(len(side.rest()))
        over.set()

    ends = json.dumps({"model": "m", **in_chat("A" * (24 << 20), OTHER)}).encode()
    body = ends.replace(b"base64,A", b"base64,iVBORw0KGgoA", 1)
    with (
        ScriptedEngine(slow) as engine,
        gateway(tmp_path, target_at(engine.port)) as served,
    ):
        client = RawClient(served.port)
        client.send(request("POST", "/v1/chat/completions", body=body))
        assert begun.wait(10)
        client.reset()
        served.stats(lambda stats: stats.in_flight == 0 and stats.served == 1)
        left.set()
        assert over.wait(10)
    assert got[0] < len(body) - (8 << 20)
