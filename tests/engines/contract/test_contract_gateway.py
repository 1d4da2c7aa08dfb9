"""What clients get of every engine through the real gateway: words, tools, errors, an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from contract_specimens import FAKES, named, with_break
from contract_talk import House, chunks, name_of, said, text_of

from support.fakes.base import (
    EVERYWHERE,
    Fault,
    broken_json,
    crlf,
    dropped,
    empty,
    ended,
    half_closed,
    in_chunks,
    instead,
    opened,
    paused,
    slow,
    wrong_content_type,
)
from support.fakes.specimen import Specimen
from support.raw_client import RawClient, ask, chat, eventually, request

every_fake = pytest.mark.parametrize("specimen", FAKES, ids=str)
every_break = pytest.mark.parametrize(("specimen", "way"), with_break(), ids=named(with_break()))


def only(what: str) -> pytest.MarkDecorator:
    """The engines that have what is asked about."""
    chosen = [each for each in FAKES if getattr(each, what)]
    return pytest.mark.parametrize("specimen", chosen, ids=str)


TOOLS = [
    {"type": "function",
     "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
         "city": {"type": "string"}}}}}
]  # fmt: skip

CUTS: dict[str, tuple[Fault, ...]] = {
    "as it is": (),
    "one byte at a time": (in_chunks(1),),
    "two bytes": (in_chunks(2),),
    "three bytes": (in_chunks(3),),
    "seven bytes": (in_chunks(7),),
    "a hundred bytes": (in_chunks(100),),
    "all at once": (in_chunks(1 << 20),),
    "CR LF": (crlf,),
    "CR LF, one byte at a time": (crlf, in_chunks(1)),
    "CR LF, three bytes": (crlf, in_chunks(3)),
}


@every_fake
def test_a_whole_chat(served: House, specimen: Specimen) -> None:
    """Words, finish reason, usage, and the name the client used."""
    answer = said(served, specimen)
    assert answer.status == 200
    found = answer.json()
    (choice,) = found["choices"]
    assert choice["message"]["content"] == specimen.text
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    assert found["model"] == name_of(specimen)
    assert found["usage"]["total_tokens"] == specimen.tokens
    record = served.gateway.records()[-1]
    assert (record.engine, record.status, record.error) == (specimen.id, 200, "")


@every_fake
def test_the_engine_is_asked_for_its_own_model(served: House, specimen: Specimen) -> None:
    """By its own name, with nothing of the client's but the request."""
    said(served, specimen)
    (seen,) = served.places[specimen.id].asked(specimen.chat)
    assert json.loads(seen.body)["model"] == (specimen.model.engine_name or specimen.model.name)
    assert "authorization" not in seen.headers
    assert seen.headers["host"] == f"127.0.0.1:{served.places[specimen.id].port}"


@every_fake
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_stream_however_it_is_cut(
    served: House, specimen: Specimen, cut: tuple[Fault, ...]
) -> None:
    """The same words, one end mark, usage because it was asked for."""
    served.places[specimen.id].fault(specimen.chat, *cut)
    options = {"include_usage": True}
    answer = said(served, specimen, stream=True, stream_options=options)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert text_of(answer.body) == specimen.text
    assert answer.body.count(b"data: [DONE]") == 1
    *_, last = chunks(answer.body)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], specimen.tokens)
    assert {chunk["model"] for chunk in chunks(answer.body)} == {name_of(specimen)}


@only("call")
def test_a_tool_call_in_a_whole_answer(served: House, specimen: Specimen) -> None:
    """The function's name, and its arguments as text."""
    found = said(served, specimen, tools=TOOLS).json()
    (choice,) = found["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"]
    assert specimen.call == (
        call["function"]["name"], json.loads(call["function"]["arguments"])
    )  # fmt: skip
    assert choice["finish_reason"] == "tool_calls"


@only("call")
def test_a_tool_call_in_a_stream(served: House, specimen: Specimen) -> None:
    """The same, put together from its events."""
    answer = said(served, specimen, tools=TOOLS, stream=True)
    choices = [choice for chunk in chunks(answer.body) for choice in chunk["choices"]]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or ()]
    assert {call["index"] for call in calls} == {0}
    functions = [call["function"] for call in calls]
    name = "".join(function.get("name") or "" for function in functions)
    arguments = "".join(function.get("arguments") or "" for function in functions)
    assert specimen.call == (name, json.loads(arguments))
    assert [c["finish_reason"] for c in choices if c.get("finish_reason")] == ["tool_calls"]


@only("vector")
def test_embeddings(served: House, specimen: Specimen) -> None:
    """As numbers and in base64, one for each text, in order."""
    body = {"model": name_of(specimen), "input": ["a", "b"]}
    numbers = _embed(served, {**body, "encoding_format": "float"})
    base64 = _embed(served, {**body, "encoding_format": "base64"})
    assert specimen.vector is not None
    expected, text = specimen.vector
    assert numbers == [(0, list(expected)), (1, list(expected))]
    assert base64 == [(0, text), (1, text)]


def _embed(served: House, body: dict[str, object]) -> list[tuple[int, object]]:
    data = request("POST", "/v1/embeddings", body=json.dumps(body).encode())
    found = ask(served.gateway.port, data)
    assert found.status == 200, found.body
    return [(each["index"], each["embedding"]) for each in found.json()["data"]]


@only("unknown_model")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_model_the_engine_no_longer_has(served: House, specimen: Specimen, stream: bool) -> None:
    """404 `model_not_found`, however the engine words it."""
    _answer_with(served, specimen, specimen.unknown_model)
    answer = said(served, specimen, stream=stream)
    assert (answer.status, answer.code) == (404, "model_not_found")


@only("overflow")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_prompt_beyond_the_context(served: House, specimen: Specimen, stream: bool) -> None:
    """400 `context_length_exceeded`, and which of the engine's settings would help."""
    _answer_with(served, specimen, specimen.overflow)
    answer = said(served, specimen, stream=stream)
    assert (answer.status, answer.code) == (400, "context_length_exceeded")
    assert specimen.setting in answer.message
    assert answer.headers["x-should-retry"] == "false"


@only("busy")
def test_an_engine_that_is_full(served: House, specimen: Specimen) -> None:
    """503 `engine_busy`, with the time after which to try again."""
    _answer_with(served, specimen, specimen.busy)
    answer = said(served, specimen)
    assert (answer.status, answer.code) == (503, "engine_busy")
    assert answer.headers["retry-after"] == "5"


@only("loading")
def test_an_engine_that_still_loads(served: House, specimen: Specimen) -> None:
    """503 `engine_loading`, with the time after which to try again."""
    _answer_with(served, specimen, specimen.loading)
    answer = said(served, specimen)
    assert (answer.status, answer.code) == (503, "engine_loading")
    assert answer.headers["retry-after"] == "5"


@every_fake
def test_an_engine_that_wants_slower_clients(served: House, specimen: Specimen) -> None:
    """429 stays 429, with the engine's own time."""
    busy = b'{"error":{"message":"slow down","type":"rate_limit_error"}}'
    _answer_with(
        served, specimen,
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(busy), busy),
    )  # fmt: skip
    answer = said(served, specimen)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def _answer_with(served: House, specimen: Specimen, answer: bytes | None) -> None:
    assert answer is not None
    served.places[specimen.id].fault(specimen.chat, instead(answer))


@every_fake
@pytest.mark.parametrize(
    "fault", [broken_json, wrong_content_type, half_closed, empty],
    ids=["broken JSON", "a page", "half closed", "nothing"],
)  # fmt: skip
def test_a_whole_answer_that_is_none(served: House, specimen: Specimen, fault: Fault) -> None:
    """502, and never half a body with status 200."""
    served.places[specimen.id].fault(specimen.chat, fault)
    answer = said(served, specimen)
    assert answer.status == 502
    assert answer.code in ("bad_engine_answer", "engine_gone")


@every_fake
def test_a_page_in_place_of_a_stream(served: House, specimen: Specimen) -> None:
    """Nothing of it reaches the client: an error, and no end mark."""
    served.places[specimen.id].fault(specimen.chat, wrong_content_type)
    answer = said(served, specimen, stream=True)
    assert b"It works!" not in answer.body
    assert b"[DONE]" not in answer.body
    assert b'"error"' in answer.body


@every_break
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stream_that_fails_in_the_middle(
    served: House, specimen: Specimen, way: str, after: int
) -> None:
    """What was said arrives; then an error event and no end mark; the record says so."""
    last = specimen.breaks[way].last
    fault = ended(after, *last) if last else dropped(after)
    served.places[specimen.id].fault(specimen.chat, fault)
    answer = said(served, specimen, stream=True)
    assert b"[DONE]" not in answer.body
    assert "error" in chunks(answer.body)[-1]
    assert str(specimen.text).startswith(text_of(answer.body))
    assert served.gateway.records()[-1].error != ""


@every_fake
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_stream_that_is_cut_after_each_of_its_events(
    served: House, specimen: Specimen, reset: bool
) -> None:
    """Wherever the engine goes, what is not whole does not look whole."""
    fake = served.places[specimen.id]
    said(served, specimen, stream=True)
    events = _count_of_events(served, specimen)
    for after in range(1, events):
        fake.fault(specimen.chat, dropped(after, reset=reset))
        answer = said(served, specimen, stream=True)
        assert b"[DONE]" not in answer.body, after
        assert "error" in chunks(answer.body)[-1], after


def _count_of_events(served: House, specimen: Specimen) -> int:
    fake = served.places[specimen.id]
    answer = fake.answer(fake.asked(specimen.chat)[-1])
    _, body = opened(answer.data)
    return body.count(b"\n\n") or body.count(b"\n")


LEAVE: dict[str, Callable[[RawClient], object]] = {"FIN": RawClient.close, "RST": RawClient.reset}


@every_fake
@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_client_that_leaves_in_mid_stream(
    served: House, specimen: Specimen, leave: Callable[[RawClient], object]
) -> None:
    """The engine sees its connection close while it still works."""
    fake = served.places[specimen.id]
    going_on = threading.Event()
    fake.fault(specimen.chat, paused(3, going_on))
    client = RawClient(served.gateway.port)
    client.send(chat(model=name_of(specimen), stream=True))
    client.read_until(b"data: ")
    leave(client)
    assert fake.disconnected.wait(10)
    assert not going_on.is_set()
    eventually(lambda: served.gateway.records()[-1].error == "client_closed")


@every_fake
def test_a_client_that_leaves_before_a_whole_answer(served: House, specimen: Specimen) -> None:
    """The engine sees its connection close before it has said anything."""
    fake = served.places[specimen.id]
    answering = threading.Event()
    fake.fault(EVERYWHERE, slow(answering))
    client = RawClient(served.gateway.port)
    client.send(chat(model=name_of(specimen)))
    eventually(lambda: fake.asked(specimen.chat))
    client.close()
    assert fake.disconnected.wait(10)
    assert not answering.is_set()
