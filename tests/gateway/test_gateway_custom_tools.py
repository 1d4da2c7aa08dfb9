"""Chats with custom tools through a real gateway, on engines of OpenAI's dialect and Ollama's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gateway import KEY, RunningGateway, gateway, target_at
from support.raw_client import Response, ask, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
)

PATCH: dict[str, Any] = {"type": "custom", "custom": {"name": "apply_patch", "description": "d"}}
LINES_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/x-ndjson")
TEXT = "*** 日本 😀\n"
ARGUMENTS = json.dumps({"input": TEXT}, ensure_ascii=False)
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 4}


@pytest.fixture(scope="module")
def there() -> Iterator[ScriptedEngine]:
    """An Ollama."""
    with ScriptedEngine(answering(b"")) as engine:
        yield engine


@pytest.fixture(scope="module")
def both(
    module_engine: ScriptedEngine, there: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """`m` on an engine of OpenAI's dialect, `o` on an Ollama."""
    with gateway(
        tmp_path_factory.mktemp("journal"),
        target_at(module_engine.port),
        target_at(there.port, "o", engine="ollama", model="tiny", dialect="ollama"),
    ) as running:
        yield running


def post(served: RunningGateway, model: str, **more: object) -> Response:
    """A chat with the tool, answered."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "tools": [PATCH]}
    data = json.dumps(body | more).encode()
    return ask(served.port, request("POST", "/v1/chat/completions", key=KEY, body=data))


def sent(engine: ScriptedEngine) -> Any:
    """What the engine was asked last."""
    return json.loads(engine.seen[-1].body)


def chunk(call: dict[str, Any]) -> bytes:
    """An event with a piece of a call."""
    said = {"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}, "finish_reason": None}
    return b"data: " + json.dumps({"model": "m", "choices": [said]}).encode() + b"\n\n"


def told(body: bytes) -> list[Any]:
    """The deltas of a stream's calls."""
    assert body.endswith(b"data: [DONE]\n\n")
    lines = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    found = (call for each in choices for call in each["delta"].get("tool_calls", ()))
    return list(found)


def test_an_engine_of_openai_s_dialect_is_asked_for_a_function(
    both: RunningGateway, engine: ScriptedEngine
) -> None:
    """And its call comes back as the client's own tool's, with the tokens in the record."""
    function = {"name": "apply_patch", "arguments": ARGUMENTS}
    message = {"role": "assistant", "tool_calls": [{"id": "c", "function": function}]}
    said = {
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
    }
    engine.script = answering(sized(json.dumps(said).encode()))
    answer = post(both, "m", tool_choice={"type": "custom", "custom": {"name": "apply_patch"}})
    found = answer.json()["choices"][0]["message"]["tool_calls"]
    assert found == [
        {"id": "c", "type": "custom", "custom": {"name": "apply_patch", "input": TEXT}}
    ]
    asked = sent(engine)
    assert [each["type"] for each in asked["tools"]] == ["function"]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "apply_patch"}}
    record = both.records()[-1]
    assert (record.route, record.tokens_in, record.tokens_out) == ("/v1/chat/completions", 9, 4)


def test_a_stream_is_turned_back_piece_by_piece(
    both: RunningGateway, engine: ScriptedEngine
) -> None:
    """Each event of the engine's in a write of its own; text passes, usage nobody asked for not."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD)
        for number in range(20):
            side.send(as_chunk(event(f"{number} 日本 ")))
        side.send(as_chunk(chunk({"id": "c", "function": {"name": "apply_patch"}})))
        for letter in ARGUMENTS:
            side.send(as_chunk(chunk({"function": {"arguments": letter}})))
        counts = b'"usage":{"prompt_tokens":9,"completion_tokens":4}'
        usage = b'data: {"model":"m","choices":[],%b}\n\n' % counts
        side.send(as_chunk(DONE.replace(b"data: [DONE]\n\n", usage)))
        side.send(as_chunk(b"data: [DONE]\n\n") + LAST_CHUNK)

    engine.script = script
    answer = post(both, "m", stream=True)
    assert told(answer.body) == [
        {
            "index": 0,
            "id": "c",
            "type": "custom",
            "custom": {"name": "apply_patch", "input": ""},
        },
        {"index": 0, "custom": {"input": TEXT}},
    ]
    for number in range(20):
        assert f'"{number} 日本 "'.encode() in answer.body
    assert b'"usage"' not in answer.body
    assert sent(engine)["stream_options"] == {"include_usage": True}
    record = both.records()[-1]
    assert (record.tokens_in, record.tokens_out, record.error) == (9, 4, "")


@pytest.mark.parametrize("usage", [True, False])
def test_ollama_is_asked_alike(both: RunningGateway, there: ScriptedEngine, usage: bool) -> None:
    """Streamed, with usage for a client that asked for it and for no other; and whole."""
    call = {"function": {"name": "apply_patch", "arguments": {"input": TEXT}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    line = json.dumps({"model": "tiny", "message": message, "done": False}).encode() + b"\n"
    end = json.dumps({"model": "tiny", **END}).encode() + b"\n"
    there.script = answering(LINES_HEAD + as_chunk(line) + as_chunk(end) + LAST_CHUNK)
    streamed = post(both, "o", stream=True, stream_options={"include_usage": usage})
    custom = {"name": "apply_patch", "input": TEXT}
    assert [(each["type"], each["custom"]) for each in told(streamed.body)] == [("custom", custom)]
    assert (b'"total_tokens":13' in streamed.body) is usage
    assert [each["type"] for each in sent(there)["tools"]] == ["function"]

    there.script = answering(sized(json.dumps({"message": message, **END}).encode()))
    whole = post(both, "o").json()["choices"][0]
    assert whole["finish_reason"] == "tool_calls"
    assert [(each["type"], each["custom"]) for each in whole["message"]["tool_calls"]] == [
        ("custom", custom)
    ]


def test_what_nobody_runs_is_named_in_the_head(
    both: RunningGateway, engine: ScriptedEngine
) -> None:
    """The rest of the request is served; unless it must be called."""
    answer = post(both, "m", tools=[{"type": "web_search"}, {"type": "file_search"}])
    assert (answer.status, answer.body) == (200, answer_body())
    assert answer.headers["x-flm-dropped"] == "tools.web_search, tools.file_search"
    assert sent(engine).keys() == {"model", "messages"}
    forced = post(both, "m", tools=[{"type": "web_search"}], tool_choice={"type": "web_search"})
    assert (forced.status, forced.code) == (400, "unsupported_parameter")
    assert forced.json()["error"]["param"] == "tool_choice"


def test_a_stream_that_breaks_in_a_call_is_an_error(
    both: RunningGateway, engine: ScriptedEngine
) -> None:
    """Half a text is told to nobody as the whole."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("half")))
        function = {"name": "apply_patch", "arguments": '{"input":"ha'}
        side.send(as_chunk(chunk({"id": "c", "function": function})))

    engine.script = script
    answer = post(both, "m", stream=True)
    assert b'"error":' in answer.body
    assert b'"input":"ha' not in answer.body


def test_the_same_name_on_two_engines_falls_back(tmp_path: Path, engine: ScriptedEngine) -> None:
    """Each is asked in its own dialect, from one conversation."""
    call = {"id": "c", "function": {"name": "apply_patch", "arguments": {"input": TEXT}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    engine.script = answering(sized(json.dumps({"message": message, **END}).encode()))
    broken = answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
    with (
        ScriptedEngine(broken) as other,
        gateway(
            tmp_path,
            target_at(other.port, engine="a"),
            target_at(engine.port, engine="b", dialect="ollama"),
        ) as running,
    ):
        answers = [post(running, "m") for _ in range(2)]
    assert [each.status for each in answers] == [200, 200]
    assert [
        each.json()["choices"][0]["message"]["tool_calls"][0]["custom"] for each in answers
    ] == [{"name": "apply_patch", "input": TEXT}] * 2
