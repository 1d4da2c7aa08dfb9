"""Responses over a real gateway: answers, chains, what is kept, with the test as controller."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from flm.wire.channel import Forget, Keep, Keeping, Recall, Told
from flm.wire.snapshot import Rules, Snapshot
from support.gateway import (
    KEY,
    KEY_ID,
    OTHER_ID,
    OTHER_KEY,
    RunningGateway,
    keys_section,
    routes_section,
    target_at,
)
from support.raw_client import RawClient, ask, eventually, request
from support.scripted_engine import (
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)

RESPONSES = "/v1/responses"
LATER = 4e9


class Keeper:
    """The controller's part, in memory. `mute`: it does not answer."""

    def __init__(self, served: RunningGateway) -> None:
        self.served = served
        self.rows: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.asked: list[Keeping] = []
        self.mute = False
        self.trouble = ""

    def __call__(self, message: Keeping) -> None:
        self.asked.append(message)
        if not self.mute:
            self.served.send(self.answer(message))

    def answer(self, message: Keeping) -> Told:
        """As the controller would."""
        place = (message.key_id, message.id)
        if self.trouble:
            return Told(seq=message.seq, trouble=self.trouble)
        if isinstance(message, Keep):
            self.rows[place] = (message.body, message.previous)
            return Told(seq=message.seq, expires_at=LATER)
        if place not in self.rows:
            return Told(seq=message.seq, trouble="missing")
        if isinstance(message, Forget):
            del self.rows[place]
            return Told(seq=message.seq)
        return Told(seq=message.seq, bodies=self.chain(message), expires_at=LATER)

    def chain(self, message: Recall) -> tuple[bytes, ...]:
        """One body, or all that belong to it."""
        found, wanted = [], message.id
        while (message.key_id, wanted) in self.rows and (message.chain or not found):
            body, wanted = self.rows[message.key_id, wanted]
            found.append(body)
        return tuple(found)


class Desk:
    """A gateway with two keys and an engine, and who keeps its responses."""

    def __init__(self, served: RunningGateway, engine: ScriptedEngine) -> None:
        self.served = served
        self.engine = engine
        self.keeper = Keeper(served)
        served.on_keeping = self.keeper

    def client(self, key: str = KEY) -> OpenAI:
        """The official SDK, without retries."""
        return OpenAI(
            api_key=key, base_url=f"http://127.0.0.1:{self.served.port}/v1", max_retries=0
        )

    def asked(self) -> list[Any]:
        """The messages of the last request an engine got."""
        return list(json.loads(self.engine.seen[-1].body)["messages"])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh one: what it remembers is part of the tests."""
    with ScriptedEngine(answering(sized(answer_body("hello")))) as engine:
        snapshot = Snapshot(
            keys_section((KEY_ID, KEY), (OTHER_ID, OTHER_KEY)),
            routes_section(target_at(engine.port)),
            Rules(revision=1),
        )
        with RunningGateway(tmp_path / "journal", snapshot) as served:
            yield Desk(served, engine)


def post(body: dict[str, Any], key: str = KEY) -> bytes:
    """A request for a response."""
    return request("POST", RESPONSES, body=json.dumps({"model": "m", **body}).encode(), key=key)


def test_an_answer_is_kept_before_it_is_sent_and_can_be_asked_for(desk: Desk) -> None:
    """The whole, its input, until it is deleted; nobody else sees it."""
    with desk.client() as client, desk.client(OTHER_KEY) as other:
        response = client.responses.create(model="m", input="hi 🎉", metadata={"a": "b"})
        assert response.output_text == "hello"
        assert response.status == "completed"
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)
        assert list(desk.keeper.rows) == [(KEY_ID, response.id)]
        assert client.responses.retrieve(response.id) == response
        items = client.responses.input_items.list(response.id).data
        assert [(item.type, item.content[0].text) for item in items] == [("message", "hi 🎉")]
        for call in (
            lambda: other.responses.retrieve(response.id),
            lambda: other.responses.input_items.list(response.id),
            lambda: other.responses.delete(response.id),
            lambda: client.responses.retrieve("resp_unknown"),
        ):
            with pytest.raises(openai.NotFoundError):
                call()
        client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response.id)


def test_a_chain_brings_its_history(desk: Desk) -> None:
    """Out of what is at hand: the controller is asked for nothing."""
    with desk.client() as client:
        first = client.responses.create(model="m", input="one", instructions="old")
        second = client.responses.create(model="m", input="two", previous_response_id=first.id)
        client.responses.create(
            model="m", input="three", previous_response_id=second.id, instructions="new"
        )
    assert [message["content"] for message in desk.asked()] == [
        "new", "one", "hello", "two", "hello", "three",
    ]  # fmt: skip
    assert {type(message) for message in desk.keeper.asked} == {Keep}


def test_what_is_not_at_hand_is_recalled_once(desk: Desk) -> None:
    """As after a new gateway has come; the whole chain in one question."""
    with desk.client() as client:
        first = client.responses.create(model="m", input="one")
        second = client.responses.create(model="m", input="two", previous_response_id=first.id)
        desk.served.delta(revoked=(KEY_ID,))  # what is at hand of it is forgotten, the key stays
        for word in ("three", "four"):
            client.responses.create(model="m", input=word, previous_response_id=second.id)
    recalls = [message for message in desk.keeper.asked if isinstance(message, Recall)]
    assert [(message.id, message.chain) for message in recalls] == [(second.id, True)]
    assert [message["content"] for message in desk.asked()] == [
        "one", "hello", "two", "hello", "four",
    ]  # fmt: skip


def test_a_previous_response_that_is_not_there_is_said(desk: Desk) -> None:
    """Unknown, another key's, or with a gap in its chain: 400, and no engine is asked."""
    with desk.client() as client, desk.client(OTHER_KEY) as other:
        first = client.responses.create(model="m", input="one")
        second = client.responses.create(model="m", input="two", previous_response_id=first.id)
        client.responses.delete(first.id)
        asked = len(desk.engine.seen)
        for who, previous in ((client, "resp_x"), (other, second.id), (client, second.id)):
            with pytest.raises(openai.BadRequestError) as caught:
                who.responses.create(model="m", input="x", previous_response_id=previous)
            assert caught.value.code == "previous_response_not_found"
    assert len(desk.engine.seen) == asked


def test_store_false_keeps_nothing(desk: Desk) -> None:
    """The controller is not even asked."""
    with desk.client() as client:
        client.responses.create(model="m", input="hi", store=False)
    assert desk.keeper.asked == []


def test_a_stream_is_kept_before_its_last_event(desk: Desk) -> None:
    """In the documented order, and found again afterwards."""
    desk.engine.script = answering(stream_of("日本", "語"))
    with desk.client() as client:
        events = list(client.responses.create(model="m", input="hi", stream=True))
        kinds = [one.type for one in events]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        assert [one.sequence_number for one in events] == list(range(len(events)))
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == "日本語"
        assert client.responses.retrieve(last.response.id) == last.response
    record = desk.served.records()[0]
    assert (record.route, record.status, record.streamed) == (RESPONSES, 200, True)


def test_the_end_mark_waits_until_the_answer_is_kept(desk: Desk) -> None:
    """What was said before it is with the client already."""
    desk.keeper.mute = True
    desk.engine.script = answering(stream_of("hello"))
    with RawClient(desk.served.port) as client:
        client.send(post({"input": "hi", "stream": True}))
        client.wait_for(b'"delta":"hello"')
        eventually(lambda: desk.keeper.asked)
        keep = desk.keeper.asked[0]
        assert isinstance(keep, Keep)
        desk.served.send(Told(seq=keep.seq, expires_at=LATER))
        client.wait_for(b'"type":"response.completed"')
    assert b'"store":true' in keep.body


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_kept_is_sent_and_says_so(desk: Desk, stream: bool) -> None:
    """Nothing of it is lost; a next turn cannot build on it, and its client can know."""
    desk.keeper.trouble = "unavailable"
    if stream:
        desk.engine.script = answering(stream_of("hello"))
    body = ask(desk.served.port, post({"input": "hi", "stream": stream})).body
    if stream:
        data = body.rstrip().rpartition(b"\ndata: ")[2]
        answer = json.loads(data)["response"]
    else:
        answer = json.loads(body)
    assert answer["store"] is False
    assert answer["output"][0]["content"][0]["text"] == "hello"


def test_a_controller_that_does_not_answer_holds_nobody_for_ever(desk: Desk) -> None:
    """The answer goes out unkept; what must be recalled is refused with 503."""
    desk.keeper.mute = True
    answer = ask(desk.served.port, post({"input": "hi"})).json()
    assert answer["store"] is False
    refused = ask(desk.served.port, request("GET", f"{RESPONSES}/resp_1", key=KEY))
    assert (refused.status, refused.code) == (503, "responses_unavailable")
    assert refused.headers["retry-after"] == "2"


def test_an_unreadable_response_is_no_bare_error(desk: Desk) -> None:
    """It says what it is, and that asking again is of no use."""
    desk.keeper.trouble = "unreadable"
    refused = ask(desk.served.port, request("GET", f"{RESPONSES}/resp_1", key=KEY))
    assert (refused.status, refused.code) == (500, "response_unreadable")
    assert refused.headers["x-should-retry"] == "false"


def test_a_named_item_is_sent_to_the_engine_in_full(desk: Desk) -> None:
    """Out of the response it belongs to."""
    with desk.client() as client:
        first = client.responses.create(model="m", input="one")
        client.responses.create(
            model="m",
            input=[
                {"type": "item_reference", "id": first.output[0].id or ""},
                {"role": "user", "content": "two"},
            ],
        )
    assert desk.asked() == [
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "two"},
    ]


def test_a_broken_stream_is_raised_by_the_sdk_and_kept_by_nobody(desk: Desk) -> None:
    """In the numbers of the stream, with `response.failed` for Codex."""

    def half(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("half")))
        side.fin()

    desk.engine.script = half
    with desk.client() as client, pytest.raises(openai.APIError, match="closed the connection"):
        list(client.responses.create(model="m", input="hi", stream=True))
    body = ask(desk.served.port, post({"input": "hi", "stream": True})).body
    last = json.loads(body.rstrip().rpartition(b"\ndata: ")[2])
    assert (last["type"], last["sequence_number"]) == ("response.failed", 6)
    assert desk.keeper.asked == []


def test_a_key_that_is_revoked_while_its_answer_is_kept_gets_an_error(desk: Desk) -> None:
    """And no end mark."""
    desk.keeper.mute = True
    desk.engine.script = answering(stream_of("hello"))
    with RawClient(desk.served.port) as client:
        client.send(post({"input": "hi", "stream": True}))
        eventually(lambda: desk.keeper.asked)
        desk.served.delta(keys=keys_section((OTHER_ID, OTHER_KEY)), revoked=(KEY_ID,))
        client.wait_for(b"event: response.failed")
        said = client.read_until(b"0\r\n\r\n")
    assert b'"code":"key_revoked"' in said
    assert b"response.completed" not in said


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/resp_1?stream=true", 404, "response_not_found"),
        ("POST", "/resp_1/cancel", 404, "response_not_found"),
        ("POST", "/compact", 404, "not_found"),
        ("DELETE", "/resp_1/input_items", 404, "response_not_found"),
        ("GET", "/resp_1/other", 404, "response_not_found"),
        ("PUT", "/resp_1", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_said(
    desk: Desk, method: str, path: str, status: int, code: str
) -> None:
    """In OpenAI's shape."""
    found = ask(desk.served.port, request(method, RESPONSES + path, key=KEY))
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize(
    ("query", "status", "texts"),
    [
        ("", 200, ["2", "1", "0"]),
        ("?order=asc", 200, ["0", "1", "2"]),
        ("?limit=1", 200, ["2"]),
        ("?order=up", 400, []),
        ("?limit=0", 400, []),
        ("?limit=101", 400, []),
        ("?limit=x", 400, []),
        ("?after=nobody", 400, []),
    ],
)
def test_input_items_are_paged_by_the_query(
    desk: Desk, query: str, status: int, texts: list[str]
) -> None:
    """Newest first; wrong values are refused."""
    items = [{"role": "user", "content": str(number)} for number in range(3)]
    answer = ask(desk.served.port, post({"input": items})).json()
    path = f"{RESPONSES}/{answer['id']}/input_items{query}"
    found = ask(desk.served.port, request("GET", path, key=KEY))
    assert found.status == status
    data = found.json().get("data", [])
    assert [item["content"][0]["text"] for item in data] == texts


def test_a_kept_response_is_neither_streamed_nor_cancelled(desk: Desk) -> None:
    """400 in both cases: nothing runs in the background."""
    id_ = ask(desk.served.port, post({"input": "hi"})).json()["id"]
    streamed = ask(desk.served.port, request("GET", f"{RESPONSES}/{id_}?stream=true", key=KEY))
    assert (streamed.status, streamed.code) == (400, "unsupported_parameter")
    cancelled = ask(desk.served.port, request("POST", f"{RESPONSES}/{id_}/cancel", key=KEY))
    assert (cancelled.status, cancelled.code) == (400, "invalid_request")


def test_a_tool_loop_as_codex_runs_it(desk: Desk) -> None:
    """Custom and namespaced tools, stateless, with everything it sends."""
    call = {
        "index": 0,
        "id": "c1",
        "function": {"name": "apply_patch", "arguments": '{"input":"*** X"}'},
    }
    said = {
        "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]
    }
    piece = b"data: " + json.dumps(said).encode() + b"\n\ndata: [DONE]\n\n"
    desk.engine.script = answering(STREAM_HEAD + as_chunk(piece) + b"0\r\n\r\n")
    said_to_it = {"role": "user", "content": [{"type": "input_text", "text": "go"}]}
    body = {
        "instructions": "You are Codex.",
        "input": [{"type": "message", **said_to_it}],
        "tools": [
            {"type": "custom", "name": "apply_patch", "description": "d", "format": {
                "type": "grammar", "syntax": "lark", "definition": "start: X"}},
            {"type": "namespace", "name": "mcp__x", "description": "", "tools": [
                {"type": "function", "name": "f", "parameters": {}}]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto", "parallel_tool_calls": True, "store": False, "stream": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "t", "client_metadata": {},
    }  # fmt: skip
    answer = ask(desk.served.port, post(body))
    assert answer.headers["x-flm-dropped"] == (
        "client_metadata, prompt_cache_key, include.reasoning.encrypted_content, tools.web_search"
    )
    assert b"event: response.custom_tool_call_input.done" in answer.body
    last = json.loads(answer.body.rstrip().rpartition(b"\ndata: ")[2])
    assert last["response"]["output"][0]["type"] == "custom_tool_call"
    assert last["response"]["output"][0]["input"] == "*** X"


def test_many_at_once_are_each_told_their_own(desk: Desk) -> None:
    """Answers of the controller find those who asked."""
    found: list[tuple[str, str]] = []

    def talk(word: str) -> None:
        with desk.client() as client:
            response = client.responses.create(model="m", input=word)
            items = client.responses.input_items.list(response.id).data
            found.append((word, items[0].content[0].text))

    threads = [threading.Thread(target=talk, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == sorted((str(number), str(number)) for number in range(16))
