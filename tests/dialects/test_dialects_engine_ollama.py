"""Ollama's own API, from OpenAI's requests and to OpenAI's answers."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from dialects_recorded import (
    OLLAMA,
    OLLAMA_TARGET,
    chat,
    drive,
    embeddings,
    events,
    reader,
    recorded,
    said,
)
from msgspec import structs
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS, EngineCall, Usage
from flm.domain.policy import Policy
from flm.errors import EngineError, Refusal, StreamBroken

CODEC = CODECS["ollama"]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
DONE = b"data: [DONE]\n\n"


def sent(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CODEC.chat(chat(**fields), OLLAMA_TARGET).body)
    return body


def refused(**fields: Any) -> Refusal:
    with pytest.raises(Refusal) as found:
        CODEC.chat(chat(**fields), OLLAMA_TARGET)
    assert found.value.status == 400
    return found.value


def test_a_prompt_is_never_cut_in_silence() -> None:
    """`truncate` and `shift` are off in every request, whatever the client says."""
    expected = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
    }
    assert sent() == expected
    call = CODEC.chat(chat(truncate=True, shift=True), OLLAMA_TARGET)
    assert (json.loads(call.body), call.path) == (expected, "/api/chat")
    assert call.dropped == ("shift", "truncate")


def test_sampling_becomes_options() -> None:
    """OpenAI's names, and Ollama's own that clients write beside them."""
    body = sent(
        temperature=0,
        top_p=0.5,
        seed=7,
        stop="終",
        max_tokens=9,
        max_completion_tokens=5,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        top_k=3,
        min_p=0.05,
        repetition_penalty=1.1,
        mirostat=2,
    )
    assert body["options"] == {
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["終"],
        "num_predict": 5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_k": 3,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "mirostat": 2,
    }
    assert sent(max_tokens=9, stop=["a", "b"])["options"] == {
        "num_predict": 9,
        "stop": ["a", "b"],
    }


def test_num_ctx_is_the_targets_with_every_request() -> None:
    """A client cannot make Ollama load the model again."""
    target = structs.replace(OLLAMA_TARGET, num_ctx=8192)
    request = chat(num_ctx=4, options={"num_ctx": 5, "num_gpu": 1, "top_k": 2, "seed": 3}, seed=4)
    call = CODEC.chat(request, target)
    assert json.loads(call.body)["options"] == {"num_ctx": 8192, "seed": 4, "top_k": 2}
    assert call.dropped == ("num_ctx", "options.num_ctx", "options.num_gpu")
    embed = CODEC.embeddings(embeddings(input="a"), target)
    assert json.loads(embed.body)["options"] == {"num_ctx": 8192}


def test_messages_are_translated() -> None:
    """Roles, parts, pictures, thoughts, tool calls and their results."""
    body = sent(
        messages=[
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what"},
                    {"type": "text", "text": "is it"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO="}},
                    {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning": "hm",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"city": "東京"}'},
                    },
                    {"id": "call_2", "function": {"name": "g", "arguments": ""}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "11 度"},
            {"role": "tool", "tool_call_id": "call_9", "name": "h", "content": []},
        ]
    )
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what\nis it", "images": ["iVBO=", "UklG"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "f", "arguments": {"city": "東京"}}},
                {"id": "call_2", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "11 度", "tool_name": "f", "tool_call_id": "call_1"},
        {"role": "tool", "content": "", "tool_name": "h", "tool_call_id": "call_9"},
    ]


@pytest.mark.parametrize("arguments", ["[1]", "not json", '"text"', "{", "[" * 100])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """Ollama takes an object only."""
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    error = refused(messages=[{"role": "assistant", "tool_calls": [call]}])
    assert error.code in ("invalid_value", "invalid_json")


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "file", "file": {"file_id": "x"}}, "unsupported_modalities"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}},
            "unsupported_image_url",
        ),
    ],
)
def test_parts_ollama_cannot_take_are_refused(part: dict[str, Any], code: str) -> None:
    """Never left out in silence."""
    error = refused(messages=[{"role": "user", "content": [part]}])
    assert error.code == code
    assert (error.param or "").startswith("messages[0].content[0]")


def test_tools_go_along_unless_the_client_chose_none() -> None:
    """Ollama has no `tool_choice`."""
    assert sent(tools=[TOOL])["tools"] == [TOOL]
    assert sent(tools=[TOOL], tool_choice="auto")["tools"] == [TOOL]
    assert "tools" not in sent(tools=[TOOL], tool_choice="none")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"5": -100}}, "logit_bias"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"guided_json": {}}, "guided_json"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, Any], param: str) -> None:
    """Ollama would ignore it."""
    error = refused(**fields)
    assert (error.code, error.param) == ("unsupported_parameter", param)


def test_what_changes_nothing_passes() -> None:
    """Values that say what Ollama does anyway."""
    body = sent(n=1, logit_bias={}, modalities=["text"], grammar=None, response_format=None)
    assert set(body) == {"model", "messages", "stream", "truncate", "shift"}


def test_hints_are_dropped_and_named() -> None:
    """So is what nobody knows; what it was is in `x-flm-dropped`."""
    body = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "parallel_tool_calls": True,
        "service_tier": "auto",
        "never_heard_of": 1,
        "n\r\nx: 1": 1,
        "messages": [{"role": "user", "content": "x", "name": "bob"}],
    }
    call = CODEC.chat(chat(**body), OLLAMA_TARGET)
    assert call.dropped == (
        "messages.name",
        "metadata",
        "n??x??1",
        "never_heard_of",
        "parallel_tool_calls",
        "service_tier",
        "store",
        "user",
    )


def test_what_the_policy_dropped_is_named_too() -> None:
    """Both lists are one."""
    body = json.dumps({"model": "m", "messages": [{"role": "user"}], "top_k": 1, "user": "u"})
    request = parse_chat(body.encode(), Policy(unknown_parameters="drop"))
    call = CODEC.chat(request, OLLAMA_TARGET)
    assert (call.dropped, "options" in json.loads(call.body)) == (("top_k", "user"), False)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_object", "schema": {"type": "object"}}, {"type": "object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}},
            {"type": "array"},
        ),
    ],
)
def test_a_response_format_becomes_a_format(wanted: object, given: object) -> None:
    """JSON, or a schema."""
    assert sent(response_format=wanted).get("format") == given


@pytest.mark.parametrize("schema", [{}, {"schema": None}, {"name": "x"}, 7])
def test_a_schema_that_is_missing_is_refused(schema: object) -> None:
    """As OpenAI does."""
    error = refused(response_format={"type": "json_schema", "json_schema": schema})
    assert error.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"think": True}, True),
        ({"reasoning": None}, None),
    ],
)
def test_an_effort_becomes_think(fields: dict[str, Any], think: object) -> None:
    """Ollama's own word is taken as it is."""
    assert sent(**fields).get("think") == think


def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    """Ollama would refuse the request: the effort is dropped and named."""
    target = structs.replace(OLLAMA_TARGET, capabilities=("chat",))
    call = CODEC.chat(chat(reasoning_effort="high"), target)
    assert ("think" in json.loads(call.body), call.dropped) == (False, ("reasoning_effort",))
    off = CODEC.chat(chat(reasoning_effort="none"), target)
    assert json.loads(off.body)["think"] is False
    assert refused(reasoning_effort="very").param == "reasoning_effort"


def test_ollamas_own_fields_go_along() -> None:
    """`keep_alive` and the logprobs."""
    body = sent(keep_alive="5m", logprobs=True, top_logprobs=2, format="json", stream=True)
    assert (body["keep_alive"], body["logprobs"], body["top_logprobs"]) == ("5m", True, 2)
    assert (body["format"], body["stream"]) == ("json", True)


def answer(name: str, **fields: Any) -> dict[str, Any]:
    body = recorded(OLLAMA, name).body
    whole = CODEC.chat_answer(chat(**fields), OLLAMA_TARGET, body, 1700000000, "chatcmpl-x")
    ChatCompletion.model_validate_json(whole.body)
    answered: dict[str, Any] = json.loads(whole.body)
    return answered


def test_an_answer_is_a_chat_completion() -> None:
    """As OpenAI's clients read it."""
    assert answer("chat-think") == {
        "id": "chatcmpl-x",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "mine",
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello there friend!",
                    "reasoning_content": "The user greets me.",
                    "reasoning": "The user greets me.",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 52, "completion_tokens": 10, "total_tokens": 62},
    }
    assert answer("chat")["choices"][0]["finish_reason"] == "length"


def test_a_tool_call_has_its_arguments_as_a_string() -> None:
    """And ends with `tool_calls`, where Ollama says `stop`."""
    choice = answer("chat-tools")["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_a1xlesil",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Tokyo"}'},
        }
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_engine_answer"),
        (b"[]", "bad_engine_answer"),
        (b"{}", "bad_engine_answer"),
        (b'{"message":{"content":"x"},"done":false}', "bad_engine_answer"),
        (b'{"message":{"content":7},"done":true}', "bad_engine_answer"),
        (b'{"done":true,"message":{},"prompt_eval_count":-1}', "bad_engine_answer"),
        (recorded(OLLAMA, "chat-no-messages").body, "bad_engine_answer"),
        (b'{"error":"boom"}', "engine_error"),
    ],
)
def test_an_answer_that_is_none_is_an_error(body: bytes, code: str) -> None:
    """Loading the model is no answer either."""
    with pytest.raises(EngineError) as found:
        CODEC.chat_answer(chat(), OLLAMA_TARGET, body, 0, "")
    assert (found.value.status, found.value.code) == (502, code)


def test_a_stream_thinks_and_speaks() -> None:
    """Role first, thoughts under both names, the reason to end, usage when asked for."""
    result = drive(
        reader("ollama", stream_options={"include_usage": True}),
        recorded(OLLAMA, "chat-think-stream").pieces,
    )
    chunks = events(result.sent)
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "The", "reasoning": "The"},
        {"reasoning_content": " user", "reasoning": " user"},
        {"reasoning_content": " greets", "reasoning": " greets"},
        {"reasoning_content": " me.", "reasoning": " me."},
        {"content": "Hello"},
        {"content": " there"},
        {"content": " friend!"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:-1]] == [None, "stop"]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == (
        [],
        {"prompt_tokens": 52, "completion_tokens": 10, "total_tokens": 62},
    )
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        ("chatcmpl-x", 1700000000, "mine")
    }
    assert (result.usage, result.tail, result.started) == (Usage(52, 10), DONE, True)
    assert all(ChatCompletionChunk.model_validate(chunk) for chunk in chunks)


def test_usage_is_counted_and_not_sent_unless_asked_for() -> None:
    """Streams always count."""
    result = drive(reader("ollama"), recorded(OLLAMA, "chat-stream").pieces)
    assert result.usage == Usage(63, 12)
    assert b'"usage"' not in result.sent
    assert events(result.sent)[-1]["choices"][0]["finish_reason"] == "length"


def test_tool_calls_in_a_stream_have_index_and_id() -> None:
    """Those without an id get one; the numbers go on over several lines."""
    lines = [
        b'{"message":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x":1}}}]}}\n',
        b'{"message":{"tool_calls":[{"function":{"name":"g"}}]}}\n',
        b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n',
    ]
    chunks = events(drive(reader("ollama"), lines).sent)
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:3]]
    assert calls == [
        {
            "index": 0,
            "id": "a",
            "type": "function",
            "function": {"name": "f", "arguments": '{"x":1}'},
        },
        {
            "index": 1,
            "id": "call_x_1",
            "type": "function",
            "function": {"name": "g", "arguments": "{}"},
        },
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_logprobs_have_the_shape_sdks_read() -> None:
    """`bytes` and `top_logprobs` are always there."""
    chunks = events(drive(reader("ollama"), recorded(OLLAMA, "chat-stream-logprobs").pieces).sent)
    parsed = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks]
    first = parsed[1].choices[0].logprobs
    assert first is not None
    assert first.content is not None
    assert (first.content[0].bytes, len(first.content[0].top_logprobs)) == ([239, 191, 189], 2)


def test_a_model_that_dies_is_an_error_after_what_it_said() -> None:
    """Recorded: the last line is an error."""
    result = drive(reader("ollama"), recorded(OLLAMA, "chat-stream-model-dies").pieces)
    assert result.error == (
        "engine_error",
        "The engine failed: an error was encountered while running the model: unexpected EOF",
    )
    assert len(said(result.sent)) > 10
    assert result.tail == b""


def test_lines_without_the_last_one_are_broken() -> None:
    """A clean end of the connection is no end of the answer."""
    result = drive(reader("ollama"), recorded(OLLAMA, "chat-stream").pieces[:-1])
    assert result.error is not None
    assert result.error[0] == "stream_interrupted"


def test_a_line_of_more_than_a_megabyte_breaks_the_stream() -> None:
    """What is carried has a bound."""
    stream = reader("ollama")
    stream.feed(b"x" * (1 << 20))
    with pytest.raises(StreamBroken) as found:
        stream.feed(b"x")
    assert found.value.code == "event_too_large"


def test_nothing_is_read_behind_the_last_line() -> None:
    """Bytes after the end are ignored, in the same piece and later."""
    stream = reader("ollama")
    last = b'{"message":{"content":"a"},"done":true,"done_reason":"stop"}\n'
    assert said(stream.feed(last + b'{"error":"late"}\n')) == "a"
    assert stream.feed(b"more\n") == b""
    stream.end()


def test_embeddings_are_openais() -> None:
    """Numbers as Ollama wrote them, base64 made of them."""
    body = recorded(OLLAMA, "embed").body
    theirs = json.loads(body)["embeddings"]
    request = embeddings(input=["a", "b"])
    plain = CODEC.embeddings_answer(request, OLLAMA_TARGET, body)
    assert [item["embedding"] for item in json.loads(plain.body)["data"]] == theirs
    assert plain.usage == Usage(6, 0)
    assert CreateEmbeddingResponse.model_validate_json(plain.body).model == "mine"
    request = embeddings(input=["a", "b"], encoding_format="base64")
    encoded = json.loads(CODEC.embeddings_answer(request, OLLAMA_TARGET, body).body)
    packed = base64.b64decode(encoded["data"][1]["embedding"])
    numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
    assert numbers == pytest.approx(theirs[1])


def test_a_call_for_embeddings() -> None:
    """Never cut in silence; what Ollama does not know is named."""
    call = CODEC.embeddings(
        embeddings(input=["a"], dimensions=8, user="u", keep_alive=60, x=1), OLLAMA_TARGET
    )
    body = b'{"model":"tiny","input":["a"],"truncate":false,"dimensions":8,"keep_alive":60}'
    assert call == EngineCall("/api/embed", body, ("user", "x"))


@pytest.mark.parametrize("tokens", [[1, 2], [[1], [2]]])
def test_token_ids_are_refused_with_the_way_out(tokens: object) -> None:
    """LangChain sends them by default."""
    with pytest.raises(Refusal, match="check_embedding_ctx_length") as found:
        CODEC.embeddings(embeddings(input=tokens), OLLAMA_TARGET)
    assert (found.value.status, found.value.param) == (400, "input")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"embeddings":[]}', b'{"embeddings":[[1],[2]]}', b'{"embeddings":7}']
)
def test_embeddings_that_are_too_few_or_many_are_an_error(body: bytes) -> None:
    """One for each text."""
    with pytest.raises(EngineError) as found:
        CODEC.embeddings_answer(embeddings(input="a"), OLLAMA_TARGET, body)
    assert found.value.code == "bad_engine_answer"
