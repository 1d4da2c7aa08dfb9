"""Anthropic's Messages through a real gateway, asked by Anthropic's own SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest

from support.gateway import KEY, RunningGateway, gateway, target_at
from support.raw_client import ask, request
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

TOOL: anthropic.types.ToolParam = {"name": "f", "input_schema": {"type": "object"}}
HI: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]
NATIVE = ("chat", "messages", "count_tokens", "tokenize")


def sdk(port: int) -> anthropic.Anthropic:
    """The SDK as a user has it, with FLM's address and key."""
    return anthropic.Anthropic(
        api_key=KEY,
        base_url=f"http://127.0.0.1:{port}",
        max_retries=0,
        timeout=10,
        _strict_response_validation=True,
    )


@pytest.fixture
def client(served: RunningGateway, engine: ScriptedEngine) -> Iterator[anthropic.Anthropic]:
    """The SDK against the file's gateway, whose engine speaks OpenAI's dialect only."""
    with sdk(served.port) as found:
        yield found


def stream(*events_: bytes) -> bytes:
    """A streamed answer of those events."""
    return STREAM_HEAD + b"".join(as_chunk(each) for each in events_) + LAST_CHUNK


def chunk(delta: object, finish: str | None = None) -> bytes:
    """An event of OpenAI's."""
    said = {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"


def named(**said: object) -> bytes:
    """An event of Anthropic's."""
    return f"event: {said['type']}\ndata: {json.dumps(said)}\n\n".encode()


def call(index: int, arguments: str, **more: str) -> dict[str, object]:
    """A piece of a tool call."""
    function = {"arguments": arguments} | ({"name": "f"} if more else {})
    return {"index": index, "function": function, **more}


USAGE = (
    b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,'
    b'"prompt_tokens_details":{"cached_tokens":5}}}\n\n'
)


def sent(engine: ScriptedEngine) -> dict[str, object]:
    """What the engine was asked last."""
    found: dict[str, object] = json.loads(engine.seen[-1].body)
    return found


def test_a_message(
    client: anthropic.Anthropic, engine: ScriptedEngine, served: RunningGateway
) -> None:
    """Text, id, stop reason; the engine is asked in OpenAI's words, the record tells the route."""
    message = client.messages.create(
        model="m", max_tokens=5, messages=HI, system="Be kind.", metadata={"user_id": "u"}
    )
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "hello"}]
    assert (message.id[:8], message.stop_reason) == ("msg_" + message.id[4:8], "end_turn")
    assert engine.seen[-1].path == "/v1/chat/completions"
    assert sent(engine) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 5,
    }
    record = served.records()[-1]
    assert (record.route, record.status, record.model) == ("/v1/messages", 200, "m")


def test_a_stream_of_thoughts_words_and_calls(
    client: anthropic.Anthropic, engine: ScriptedEngine, served: RunningGateway
) -> None:
    """The SDK puts it together: signature, parallel calls told in turns, usage."""
    engine.script = answering(
        stream(
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning": "考え"}),
            chunk({"content": "はい 😀"}),
            chunk({"content": "!"}),
            chunk({"content": "?"}),
            chunk({"tool_calls": [call(0, "", id="a"), call(1, '{"y"', id="b")]}),
            chunk({"tool_calls": [call(0, '{"x":"日"}')]}),
            chunk({"tool_calls": [call(1, ":2}")]}),
            chunk({}, "tool_calls"),
            USAGE,
            DONE,
        )
    )
    with client.messages.stream(model="m", max_tokens=5, messages=HI, tools=[TOOL]) as streamed:
        words = "".join(streamed.text_stream)
        message = streamed.get_final_message()
    assert words == "はい 😀!?"
    thinking, text, first, second = message.content
    assert isinstance(thinking, anthropic.types.ThinkingBlock)
    assert (thinking.thinking, bool(thinking.signature)) == ("考え", True)
    assert text.type == "text"
    assert isinstance(first, anthropic.types.ToolUseBlock)
    assert isinstance(second, anthropic.types.ToolUseBlock)
    assert (first.id, first.input, second.id, second.input) == ("a", {"x": "日"}, "b", {"y": 2})
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 5, 4)
    record = served.records()[-1]
    assert (record.tokens_in, record.cached_tokens, record.tokens_out) == (9, 5, 4)


def test_many_words_arrive_all(client: anthropic.Anthropic, engine: ScriptedEngine) -> None:
    """Those that pass by their shape too: one write of the engine's each."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD)
        for number in range(200):
            side.send(as_chunk(event(f'{number} "日本" \\')))
        side.send(as_chunk(chunk({}, "stop")) + as_chunk(DONE) + LAST_CHUNK)

    engine.script = script
    with client.messages.stream(model="m", max_tokens=5, messages=HI) as streamed:
        words = "".join(streamed.text_stream)
    assert words == "".join(f'{number} "日本" \\' for number in range(200))


def test_an_engine_that_dies_is_an_error_of_the_stream(
    client: anthropic.Anthropic, engine: ScriptedEngine
) -> None:
    """The SDK raises it: nobody takes half an answer for a whole one."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(STREAM_HEAD + as_chunk(event("half")))

    engine.script = script
    with (
        client.messages.stream(model="m", max_tokens=5, messages=HI) as streamed,
        pytest.raises(anthropic.APIStatusError),
    ):
        streamed.until_done()


def test_errors_are_the_sdk_s_own(client: anthropic.Anthropic) -> None:
    """By type and message."""
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="nobody", max_tokens=5, messages=HI)
    assert missing.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "The model 'nobody' does not exist here."},
        "request_id": missing.value.response.headers["x-request-id"],
    }
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="m", max_tokens=0, messages=HI)


def test_claude_code_s_query_and_headers_do_no_harm(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """`?beta=true`, versions, betas, a Bearer token."""
    body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],"x":1}'
    data = request(
        "POST", "/v1/messages?beta=true", "anthropic-version: 2023-06-01",
        "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14",
        "User-Agent: claude-cli/2.1.0 (external, cli)", f"Authorization: Bearer {KEY}", body=body,
    )  # fmt: skip
    response = ask(served.port, data)
    assert response.status == 200
    assert response.headers["x-flm-dropped"] == "x"
    assert json.loads(response.body)["type"] == "message"
    assert "beta" not in engine.seen[-1].path


def test_models_are_listed_for_the_sdk(client: anthropic.Anthropic) -> None:
    """In its shape; one of them, and none."""
    page = client.models.list(limit=5)
    assert [(model.id, model.max_input_tokens) for model in page.data] == [("m", 2048)]
    assert not page.has_next_page()
    assert client.models.retrieve("m").display_name == "m"
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.models.retrieve("nobody")
    assert missing.value.type == "not_found_error"


def test_the_models_list_of_others_stays_openai_s(served: RunningGateway) -> None:
    """Only `anthropic-version` changes it."""
    response = ask(served.port, request("GET", "/v1/models", f"Authorization: Bearer {KEY}"))
    assert json.loads(response.body)["object"] == "list"


def test_an_engine_of_the_same_dialect_is_asked_in_it(tmp_path: Path) -> None:
    """Fields go on as they came, the answer too, but for the model's name."""
    message = {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "model": "big.gguf",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    with (
        ScriptedEngine(answering(sized(json.dumps(message).encode()))) as engine,
        gateway(tmp_path, target_at(engine.port, model="big.gguf", native=NATIVE)) as running,
        sdk(running.port) as client,
    ):
        found = client.messages.create(
            model="m", max_tokens=5, messages=HI, stop_sequences=["END"], extra_body={"min_p": 0.1}
        )
        assert (found.id, found.model, found.stop_sequence) == ("msg_theirs", "m", "END")
        assert engine.seen[-1].path == "/v1/messages"
        assert sent(engine) == {
            "model": "big.gguf",
            "max_tokens": 5,
            "messages": HI,
            "stop_sequences": ["END"],
            "min_p": 0.1,
        }
        record = running.records()[-1]
        assert (record.tokens_in, record.tokens_out) == (3, 1)


def test_a_native_stream_is_passed_on(tmp_path: Path) -> None:
    """Its events, its end mark last, its counts in the record."""
    events_ = [
        named(type="message_start", message={
            "id": "msg_t", "type": "message", "role": "assistant", "content": [], "model": "m",
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 0},
        }),
        named(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(
            named(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})
            for text in ("日本", "one", "two", "three", '"', "four")
        ),
        named(type="content_block_stop", index=0),
        named(
            type="message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 30},
        ),
        named(type="message_stop"),
    ]  # fmt: skip
    with (
        ScriptedEngine(answering(stream(*events_))) as engine,
        gateway(tmp_path, target_at(engine.port, native=NATIVE)) as running,
    ):
        body = json.dumps({"model": "m", "max_tokens": 5, "messages": HI, "stream": True})
        data = request("POST", "/v1/messages", f"x-api-key: {KEY}", body=body.encode())
        response = ask(running.port, data)
        assert response.body == b"".join(events_)
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        record = running.records()[-1]
        assert (record.tokens_in, record.tokens_out, record.error) == (3, 30, "")


def test_tokens_are_counted_by_the_engine(tmp_path: Path) -> None:
    """Its own count; for content it does not know, its tokenizer's, in two ways."""
    answers = {
        "/v1/messages/count_tokens": b'{"input_tokens":22}',
        "/apply-template": b'{"prompt":"<s>hi"}',
    }

    def script(side: EngineSide) -> None:
        while (asked := side.request()) is not None:
            listed = (
                b'{"tokens":[1,2,3]}' if b'"content":"<s>hi"' in asked.body else b'{"tokens":[]}'
            )
            side.send(sized(answers.get(asked.path, listed)))

    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    document: list[anthropic.types.MessageParam] = [
        {"role": "user", "content": [{"type": "document", "source": source}]}
    ]
    with (
        ScriptedEngine(script) as engine,
        gateway(tmp_path, target_at(engine.port, native=NATIVE)) as running,
        sdk(running.port) as client,
    ):
        found = client.messages.with_raw_response.count_tokens(model="m", messages=HI)
        assert found.parse().input_tokens == 22
        assert "x-flm-estimated" not in found.headers
        assert client.messages.count_tokens(model="m", messages=document).input_tokens == 3
        assert [seen.path for seen in engine.seen] == [
            "/v1/messages/count_tokens", "/tokenize", "/apply-template", "/tokenize",
        ]  # fmt: skip


def test_tokens_that_cannot_be_counted_are_guessed_and_marked(
    client: anthropic.Anthropic, served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Nobody is asked."""
    found = client.messages.with_raw_response.count_tokens(model="m", messages=HI, tools=[TOOL])
    assert found.headers["x-flm-estimated"] == "true"
    assert found.parse().input_tokens == 15
    assert engine.seen == []
    assert served.records()[-1].route == "/v1/messages/count_tokens"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", messages=HI)


def test_an_engine_that_fails_at_counting_does_not_fail_the_client(tmp_path: Path) -> None:
    """A guess helps more."""
    with (
        ScriptedEngine(answering(sized(b"{}", "500 Internal Server Error"))) as engine,
        gateway(tmp_path, target_at(engine.port, native=NATIVE)) as running,
        sdk(running.port) as client,
    ):
        found = client.messages.with_raw_response.count_tokens(model="m", messages=HI)
        assert found.headers["x-flm-estimated"] == "true"


def test_an_answer_of_an_engine_that_says_stop_after_calls(
    client: anthropic.Anthropic, engine: ScriptedEngine
) -> None:
    """A whole loop's turn: the call, its result, the words."""
    calls = [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}}
    body = json.dumps({"model": "m", "choices": [{**choice, "finish_reason": "stop"}]})
    engine.script = answering(sized(body.encode()), sized(answer_body("done")))
    first = client.messages.create(model="m", max_tokens=5, messages=HI, tools=[TOOL])
    assert first.stop_reason == "tool_use"
    history: list[anthropic.types.MessageParam] = [
        *HI,
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}],
        },
    ]
    last = client.messages.create(model="m", max_tokens=5, messages=history, tools=[TOOL])
    assert [block.to_dict() for block in last.content] == [{"type": "text", "text": "done"}]
    assert sent(engine)["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
    ]
