"""Requests of Ollama's clients in OpenAI's words, and as Ollama itself gets them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from client_ollama_said import HELLO, chat, generate, in_openai, loading, now, refused
from dialects_recorded import OLLAMA_TARGET, OPENAI_TARGET
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.client_ollama.conversation import parse_chat
from flm.dialects.engine import CODECS
from flm.domain.policy import Policy
from flm.errors import Refusal

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
JPEG = "/9j/4AAQSkZJRgABAQEASABIAAD"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"
WEBP = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAA"
MP3 = "SUQzBAAAAAAAI1RTU0UAAAAPAAAD"
WEATHER = {"name": "get_weather", "parameters": {"type": "object"}}


def native(asked: Any, **target: Any) -> dict[str, Any]:
    """The body Ollama gets."""
    there = msgspec.structs.replace(OLLAMA_TARGET, **target)
    return json.loads(asked.native(there).call(there).body)


def test_a_chat_streams_unless_it_is_told_not_to() -> None:
    """The opposite of OpenAI's; usage is asked for, as it is in every last line."""
    streamed, whole = chat(), chat(stream=False)
    assert (streamed.chat.stream, streamed.chat.include_usage) == (True, True)
    assert in_openai(streamed)["stream_options"] == {"include_usage": True}
    assert (whole.chat.stream, whole.chat.include_usage) == (False, False)
    assert in_openai(whole) == {"model": "mine", "messages": HELLO, "stream": False}


def test_options_become_openais_parameters() -> None:
    """Each under its name there; both names of the penalty that has two."""
    asked = chat(
        stream=False,
        options={
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 7,
            "stop": ["END"], "num_predict": 64, "repeat_penalty": 1.1, "repeat_last_n": 64,
            "presence_penalty": 0.25, "frequency_penalty": 0.75, "typical_p": 1.0,
        },
    )  # fmt: skip
    fields = in_openai(asked)
    del fields["messages"], fields["model"], fields["stream"]
    assert fields == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 7,
        "stop": ["END"], "max_tokens": 64, "repeat_penalty": 1.1, "repetition_penalty": 1.1,
        "repeat_last_n": 64, "presence_penalty": 0.25, "frequency_penalty": 0.75,
        "typical_p": 1.0,
    }  # fmt: skip
    assert asked.chat.dropped == ()
    assert (asked.chat.params.max_tokens, asked.chat.params.seed) == (64, 7)


@pytest.mark.parametrize("unlimited", [-1, -2, 0, -1.0])
def test_no_limit_is_no_parameter(unlimited: float) -> None:
    """`num_predict` below one means that the model ends by itself."""
    assert "max_tokens" not in in_openai(chat(options={"num_predict": unlimited}))


def test_whole_numbers_may_be_written_with_a_point() -> None:
    """As Go reads them; engines get them without."""
    fields = in_openai(chat(options={"num_predict": 8.0, "seed": 3.0, "top_k": 2.0}))
    assert json.dumps([fields["max_tokens"], fields["seed"], fields["top_k"]]) == "[8, 3, 2]"


def test_what_loads_a_model_again_is_the_owners() -> None:
    """`num_ctx` per request (aider), `keep_alive` (Zed), and unknown options: dropped and named."""
    asked = chat(keep_alive=-1, options={"num_ctx": 12345, "num_gpu": 1, "weird option": 2})
    assert asked.chat.dropped == (
        "keep_alive", "options.num_ctx", "options.num_gpu", "options.weird?option",
    )  # fmt: skip
    assert "num_ctx" not in json.dumps(in_openai(asked))


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("messages", "hi", "messages"),
        ("messages", [{"content": "x"}], "messages[0].role"),
        ("messages", [{"role": "user", "content": ["x"]}], "messages[0].content"),
        ("stream", "yes", "stream"),
        ("think", 3, "think"),
        ("format", "xml", "format"),
        ("format", 7, "format"),
        ("top_logprobs", 21, "top_logprobs"),
        ("options", [], "options"),
        ("options", {"num_predict": "many"}, "options.num_predict"),
        ("options", {"num_predict": 1.5}, "options.num_predict"),
        ("options", {"temperature": -1}, "options.temperature"),
        ("options", {"top_p": 2}, "options.top_p"),
        ("options", {"stop": 4}, "options.stop"),
        ("tools", {}, "tools"),
        ("keep_alive", [], "keep_alive"),
        ("model", 4, "model"),
    ],
)
def test_wrong_values_are_refused_with_their_name(field: str, value: Any, param: str) -> None:
    """400, before any engine is asked."""
    status, _, named = refused(chat, **{field: value})
    assert (status, named) == (400, param)


def test_a_request_without_a_model_is_refused() -> None:
    """`model` is required, and a body that is no JSON is none."""
    for body in (b'{"messages":[]}', b"", b"{", b"[]", b'{"model":null}'):
        with pytest.raises(Refusal) as caught:
            parse_chat(body, Policy(), now)
        assert caught.value.status == 400


def test_dangerous_and_unknown_fields_are_judged_as_everywhere() -> None:
    """Refused; or passed on to Ollama, and named where a translation loses them."""
    assert refused(chat, api_base="http://x")[1] == "dangerous_parameter"
    assert refused(chat, Options={})[1] == "unknown_parameter"
    assert refused(chat, policy=Policy(unknown_parameters="reject"), novel=1)[1] == (
        "unknown_parameter"
    )
    asked = chat(novel=1)
    assert asked.chat.dropped == ("novel",)
    assert native(asked)["novel"] == 1
    assert "novel" not in native(chat(policy=Policy(unknown_parameters="drop"), novel=1))


def test_images_become_data_urls_of_their_kind() -> None:
    """Told by their first bytes; sound comes the same way."""
    message = {"role": "user", "content": "see", "images": [PNG, JPEG, WEBP, WAV, MP3, "AAAA"]}
    asked = chat(messages=[message])
    (sent,) = in_openai(asked)["messages"]
    assert sent["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + JPEG}},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64," + WEBP}},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": MP3, "format": "mp3"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    assert asked.chat.images
    assert not chat(messages=[{**message, "images": []}]).chat.images


def test_escaped_base64_is_the_same_picture() -> None:
    """PHP writes `\\/`, others break lines."""
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"","images":["\\/9j\\/4AAQ","'
        + PNG[:8].encode()
        + b"\\n"
        + PNG[8:].encode()
        + b'"]}]}'
    )
    (sent,) = in_openai(parse_chat(body, Policy(), now))["messages"]  # type: ignore[arg-type]
    urls = [part["image_url"]["url"] for part in sent["content"]]
    assert urls == ["data:image/jpeg;base64,/9j/4AAQ", "data:image/png;base64," + PNG]


@pytest.mark.parametrize("image", ["%%%%", "http://x/y.png", "data:image/png;base64,AA", 7, None])
def test_what_is_no_base64_is_refused(image: Any) -> None:
    """A URL least of all: no engine is made to fetch."""
    message = {"role": "user", "content": "x", "images": [image]}
    assert refused(chat, messages=[message])[::2] == (400, "messages[0].images[0]")


HISTORY = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "content": "",
        "thinking": "two calls",
        "tool_calls": [
            {"function": {"name": "get_weather", "arguments": {"city": "東京"}}},
            {"function": {"name": "get_time", "arguments": {}}},
            {"id": "given", "function": {"name": "get_weather", "arguments": {"city": "x"}}},
        ],
    },
]


def test_calls_without_ids_get_lasting_ones() -> None:
    """Made of their place, so that the same history has them with every request."""
    sent = in_openai(chat(messages=HISTORY))["messages"][1]
    assert sent["reasoning_content"] == "two calls"
    assert [call["id"] for call in sent["tool_calls"]] == ["call_1_0", "call_1_1", "given"]
    assert [call["type"] for call in sent["tool_calls"]] == ["function"] * 3
    assert json.loads(sent["tool_calls"][0]["function"]["arguments"]) == {"city": "東京"}


@pytest.mark.parametrize(
    ("result", "answered"),
    [
        ({"tool_call_id": "given"}, "given"),
        ({"tool_name": "get_time"}, "call_1_1"),
        ({"name": "get_time"}, "call_1_1"),
        ({"tool_name": "get_weather"}, "call_1_0"),
        ({}, "call_1_0"),
        ({"tool_call_id": "unheard"}, "unheard"),
        ({"tool_name": "unheard"}, "call_2"),
    ],
)
def test_a_result_finds_its_call(result: dict[str, str], answered: str) -> None:
    """By its id, by the function's name, by its turn."""
    sent = in_openai(chat(messages=[*HISTORY, {"role": "tool", "content": "11", **result}]))
    assert sent["messages"][2]["tool_call_id"] == answered


def test_results_of_calls_of_one_name_come_in_their_order() -> None:
    """The second result of a name answers the second call of it."""
    results = [{"role": "tool", "tool_name": "get_weather", "content": text} for text in "ab"]
    sent = in_openai(chat(messages=[*HISTORY, *results]))["messages"]
    assert [each["tool_call_id"] for each in sent[2:]] == ["call_1_0", "given"]


def test_arguments_as_text_are_taken_and_others_refused() -> None:
    """Some clients keep OpenAI's form in their history."""
    call = {"function": {"name": "f", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    (sent,) = in_openai(chat(messages=[message]))["messages"]
    assert sent["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    call["function"]["arguments"] = 7
    param = "messages[0].tool_calls[0].function.arguments"
    assert refused(chat, messages=[message]) == (400, "invalid_value", param)


def test_tools_are_functions_and_others_are_dropped() -> None:
    """A tool that no engine runs never refuses the request."""
    tools = [{"function": WEATHER}, {"type": "web_search"}, {"type": "function", "function": {}}]
    asked = chat(tools=tools)
    assert in_openai(asked)["tools"] == [
        {"type": "function", "function": WEATHER},
        {"type": "function", "function": {}},
    ]
    assert asked.chat.tools
    assert asked.chat.dropped == ("tools[1]",)
    assert len(native(asked)["tools"]) == 2


@pytest.mark.parametrize(
    ("think", "effort"),
    [(True, "medium"), (False, "none"), ("low", "low"), ("high", "high"), ("max", "xhigh")],
)
def test_think_is_openais_effort(think: bool | str, effort: str) -> None:
    """And goes to Ollama as it came."""
    assert in_openai(chat(think=think))["reasoning_effort"] == effort
    assert native(chat(think=think))["think"] == think
    assert "reasoning_effort" not in in_openai(chat(think=None))


def test_format_is_openais_response_format() -> None:
    """`json`, or a schema; empty is none."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert in_openai(chat(format="json"))["response_format"] == {"type": "json_object"}
    assert in_openai(chat(format=schema))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema},
    }
    assert "response_format" not in in_openai(chat(format=""))
    assert native(chat(format=schema))["format"] == schema


def test_logprobs_are_asked_for_as_in_openai() -> None:
    """`top_logprobs` alone asks for nothing there."""
    fields = in_openai(chat(logprobs=True, top_logprobs=2))
    assert (fields["logprobs"], fields["top_logprobs"]) == (True, 2)
    assert "top_logprobs" not in in_openai(chat(top_logprobs=2))


def test_every_engines_dialect_takes_the_translation() -> None:
    """Everything at once, as the engines' own dialects judge it."""
    asked = chat(
        messages=[{"role": "system", "content": "s"}, *HISTORY, {"role": "tool", "content": "1"}],
        tools=[{"type": "function", "function": WEATHER}],
        think="max",
        format="json",
        logprobs=True,
        options={"num_predict": 3, "top_k": 1, "stop": "x", "repeat_penalty": 1.0},
    )
    there = CODECS["ollama"].chat(asked.chat, OLLAMA_TARGET)
    body = json.loads(there.body)
    assert body["options"] == {"num_predict": 3, "stop": ["x"], "top_k": 1, "repeat_penalty": 1.0}
    assert (body["think"], body["format"], there.dropped) == ("max", "json", ())
    assert body["messages"][3]["tool_name"] == "get_weather"
    sent = json.loads(CODECS["openai"].chat(asked.chat, OPENAI_TARGET).body)
    assert sent["model"] == "tiny-llama"
    assert sent["stream_options"] == {"include_usage": True}


def test_ollama_gets_the_clients_own_fields() -> None:
    """With its own name for the model, and the owner's `num_ctx` whatever the client says."""
    asked = chat(
        messages=[{"role": "user", "content": "見て", "images": [PNG]}],
        keep_alive="5m",
        truncate=True,
        options={"num_ctx": 99, "temperature": 0.5, "num_predict": -1, "stop": "x"},
    )
    assert native(asked, num_ctx=8192) == {
        "truncate": True,
        "shift": False,
        "model": "tiny",
        "messages": [{"role": "user", "content": "見て", "images": [PNG]}],
        "options": {"temperature": 0.5, "stop": ["x"], "num_predict": -1, "num_ctx": 8192},
    }
    call = asked.native(OLLAMA_TARGET).call(OLLAMA_TARGET)  # type: ignore[union-attr]
    assert call.path == "/api/chat"
    assert call.dropped == ("keep_alive", "options.num_ctx")
    assert asked.native(OPENAI_TARGET) is None


def test_generate_is_a_chat_with_one_question() -> None:
    """`system` before it, images with it; what a translation cannot carry is named."""
    asked = generate(system="be brief", images=[PNG], context=[1, 2], truncate=True)
    sent = in_openai(asked)["messages"]
    assert sent[0] == {"role": "system", "content": "be brief"}
    assert sent[1]["content"][0] == {"type": "text", "text": "Once"}
    assert sent[1]["content"][1]["type"] == "image_url"
    assert asked.chat.dropped == ("context", "truncate")
    assert not asked.plain
    body = native(asked)
    assert (body["prompt"], body["context"], body["system"]) == ("Once", [1, 2], "be brief")
    assert asked.native(OLLAMA_TARGET).call(OLLAMA_TARGET).path == "/api/generate"  # type: ignore[union-attr]


def test_a_template_of_the_clients_is_refused() -> None:
    """It is evaluated inside the engine. An empty one is none."""
    assert refused(generate, template="{{ .Prompt }}") == (
        400, "unsupported_parameter", "template",
    )  # fmt: skip
    assert generate(template="").chat.model == "mine"


def test_a_raw_prompt_goes_to_completions() -> None:
    """It stands in no template of a chat."""
    asked = generate(raw=True, stream=False, options={"num_predict": 4, "stop": ["\n"]}, think=True)
    assert asked.plain
    way = asked.native(OPENAI_TARGET)
    assert way is not None
    call = way.call(OPENAI_TARGET)
    assert (call.path, call.dropped) == ("/v1/completions", ("think",))
    assert json.loads(call.body) == {
        "model": "tiny-llama", "prompt": "Once", "stream": False, "max_tokens": 4, "stop": ["\n"],
    }  # fmt: skip
    assert native(asked)["raw"] is True


@pytest.mark.parametrize(
    ("field", "value"),
    [("suffix", "b"), ("images", [PNG]), ("format", "json"), ("logprobs", True)],
)
def test_what_completions_cannot_express_is_refused(field: str, value: Any) -> None:
    """Only there: Ollama itself is asked."""
    asked = generate(raw=True, **{field: value})
    way = asked.native(OPENAI_TARGET)
    assert way is not None
    with pytest.raises(Refusal) as caught:
        way.call(OPENAI_TARGET)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", field)
    assert native(asked)[field] == value


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_nothing_to_say_is_a_request_to_load(path: str) -> None:
    """Or, with `keep_alive` 0, to unload."""
    assert loading(path, keep_alive="5m").model == "mine"
    assert not loading(path).unload
    for none in (0, "0", "0s", 0.0):
        assert loading(path, keep_alive=none).unload
    assert not loading(path, keep_alive=-1).unload


texts = st.text(max_size=20)
contents = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": texts}
)


@given(st.lists(contents, min_size=1, max_size=6))
def test_no_text_is_lost_on_the_way_to_an_engine(messages: list[dict[str, str]]) -> None:
    """To OpenAI's dialect, and from there to Ollama's."""
    asked = chat(messages=messages)
    assert in_openai(asked)["messages"] == messages
    assert json.loads(CODECS["ollama"].chat(asked.chat, OLLAMA_TARGET).body)["messages"] == messages
    assert native(asked)["messages"] == messages


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(texts, json_values, max_size=3), min_size=1, max_size=4))
def test_no_argument_is_lost_on_the_way_to_an_engine(calls: list[dict[str, Any]]) -> None:
    """Objects become text, and objects again."""
    made = [{"function": {"name": "f", "arguments": each}} for each in calls]
    asked = chat(messages=[{"role": "assistant", "content": "", "tool_calls": made}])
    (sent,) = in_openai(asked)["messages"]
    assert [json.loads(call["function"]["arguments"]) for call in sent["tool_calls"]] == calls
    (back,) = json.loads(CODECS["ollama"].chat(asked.chat, OLLAMA_TARGET).body)["messages"]
    assert [call["function"]["arguments"] for call in back["tool_calls"]] == calls


@given(st.binary(max_size=80))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    """Nothing else is ever raised."""
    for whole in (body, b'{"model":"m","messages":' + body + b"}"):
        try:
            parse_chat(whole, Policy(), now)
        except Refusal as refusal:
            assert refusal.status == 400
