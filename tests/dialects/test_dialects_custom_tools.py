"""Chats with custom tools: as functions to any engine, and turned back for the client."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from dialects_recorded import OLLAMA_TARGET, OPENAI_TARGET
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.client_openai.conversation import OpenAIConversation, conversation_of
from flm.dialects.codec import Shape, Usage
from flm.dialects.conversation import Stamp
from flm.dialects.engine import CODECS
from flm.dialects.translated import TranslatedStream
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.wire.snapshot import Target

STAMP = Stamp("req_7", 1_790_000_000.5)
PATCH: dict[str, Any] = {
    "type": "custom",
    "custom": {
        "name": "apply_patch",
        "description": "Changes files.",
        "format": {
            "type": "grammar",
            "grammar": {"syntax": "lark", "definition": "start: /.+/"},
        },
    },
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}, "x": 1},
}
PATCH_FUNCTION = {
    "type": "function",
    "function": {
        "name": "apply_patch",
        "parameters": {
            "type": "object",
            "properties": {
                "input": {
                    "type": "string",
                    "description": "The whole input of the tool, as plain text.",
                }
            },
            "required": ["input"],
            "additionalProperties": False,
        },
        "description": "Changes files.\n\nThe input must match this lark grammar:\nstart: /.+/",
    },
}
HI = [{"role": "user", "content": "hi"}]


def asked(**more: Any) -> OpenAIConversation | None:
    body = {"model": "tiny-llama", "messages": HI, **more}
    return conversation_of(parse_chat(json.dumps(body).encode(), Policy()))


def conversation(**more: Any) -> OpenAIConversation:
    found = asked(**more)
    assert found is not None
    return found


def sent(made: OpenAIConversation, target: Target = OPENAI_TARGET) -> dict[str, Any]:
    call = CODECS[target.dialect].chat(made.chat, target)
    found: dict[str, Any] = json.loads(call.body)
    return found


# The request.


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": [WEATHER]},
        {"tools": [{"function": {"name": "f"}}], "tool_choice": "required"},
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tools": []},
        {"tools": None, "tool_choice": None},
        {"messages": [*HI, {"role": "assistant", "content": 'say "custom"', "tool_calls": None}]},
    ],
)
def test_a_chat_with_nothing_but_functions_is_left_alone(more: dict[str, Any]) -> None:
    """It is passed on as it came, the short way."""
    assert asked(**more) is None


def test_a_custom_tool_becomes_a_function_of_one_text() -> None:
    """Its grammar is told to the model; functions go on as they came, in their places."""
    made = conversation(tools=[PATCH, WEATHER], parallel_tool_calls=False)
    found = sent(made)
    assert found["tools"] == [PATCH_FUNCTION, WEATHER]
    assert found["parallel_tool_calls"] is False
    assert (made.chat.tools, made.chat.dropped) == (True, ())


def test_ollama_is_asked_the_same() -> None:
    """Its dialect takes functions only, and these are."""
    assert sent(conversation(tools=[PATCH]), OLLAMA_TARGET)["tools"] == [PATCH_FUNCTION]


def test_a_name_that_engines_would_refuse_is_mended() -> None:
    """Never into the name of another tool; a call is turned back into the client's."""
    tools = [{"type": "custom", "custom": {"name": "a.b"}},
             {"type": "function", "function": {"name": "a_b"}}]  # fmt: skip
    made = conversation(tools=tools)
    assert [each["function"]["name"] for each in sent(made)["tools"]] == ["a_b_2", "a_b"]
    whole = json.loads(made.answer(answered(function("a_b_2", '{"input":"x"}')), None, STAMP))
    assert whole["choices"][0]["message"]["tool_calls"][0]["custom"]["name"] == "a.b"


def test_what_nobody_runs_is_dropped_and_named() -> None:
    """And where no tool is left, so is what was said about tools."""
    made = conversation(
        tools=[{"type": "web_search"}, {"type": "mcp", "server_url": "http://x"}],
        tool_choice="auto",
        parallel_tool_calls=True,
    )
    assert made.chat.dropped == ("tools.web_search", "tools.mcp")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & sent(made).keys()
    assert not made.chat.tools
    assert sent(conversation(tools=[{"type": "web_search"}, WEATHER]))["tools"] == [WEATHER]


@pytest.mark.parametrize(
    ("choice", "told", "names"),
    [
        ("required", "required", ["apply_patch", "weather"]),
        (
            {"type": "custom", "custom": {"name": "apply_patch"}},
            {"type": "function", "function": {"name": "apply_patch"}},
            ["apply_patch", "weather"],
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "custom", "custom": {"name": "apply_patch"}}],
                },
            },
            "auto",
            ["apply_patch"],
        ),
    ],
)
def test_a_choice_is_told_in_functions(choice: object, told: object, names: list[str]) -> None:
    """One tool, or some of them."""
    found = sent(conversation(tools=[PATCH, WEATHER], tool_choice=choice))
    assert found["tool_choice"] == told
    assert [each["function"]["name"] for each in found["tools"]] == names


def test_allowed_functions_are_cut_down_for_engines_that_know_no_such_choice() -> None:
    """Though all tools are functions. Ollama takes it too: a mode it knows is left."""
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]}
    tools = [WEATHER, {"type": "function", "function": {"name": "f"}}]
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    made = conversation(tools=tools, tool_choice=choice)
    assert sent(made, OLLAMA_TARGET)["tools"] == [WEATHER]


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        (
            {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
            "unsupported_parameter",
            "tool_choice",
        ),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": "required"},
            "unsupported_parameter",
            "tool_choice",
        ),
        (
            {"tools": [PATCH], "tool_choice": {"type": "custom", "custom": {"name": "other"}}},
            "invalid_value",
            "tool_choice",
        ),
        ({"tools": [PATCH], "tool_choice": "often"}, "invalid_value", "tool_choice"),
        ({"tools": [{"type": "custom"}]}, "missing_required_parameter", "tools[0].custom"),
        (
            {"tools": [WEATHER, {"type": "custom", "custom": {}}]},
            "missing_required_parameter",
            "tools[1].custom.name",
        ),
        (
            {"tools": [PATCH, {"type": "function"}]},
            "missing_required_parameter",
            "tools[1].function.name",
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": 5}}]},
            "invalid_value",
            "tools[0].custom.name",
        ),
        (
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]},
                ]
            },
            "missing_required_parameter",
            "messages[1].tool_calls[0].custom",
        ),
        (
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]},
                ]
            },
            "missing_required_parameter",
            "messages[1].tool_calls[0].custom.name",
        ),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, Any], code: str, param: str) -> None:
    """400, with the place."""
    with pytest.raises(Refusal) as caught:
        asked(**more)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


def test_calls_of_before_become_calls_of_functions() -> None:
    """In a turn that has no tools any more too; others stay as they were."""
    mixed: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "custom", "custom": {"name": "apply_patch", "input": '*** "日本"'}},
            {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        ],
    }
    told = {"role": "tool", "tool_call_id": "a", "content": "Done!"}
    found = sent(conversation(messages=[*HI, mixed, told]))
    assert found["messages"] == [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "apply_patch", "arguments": '{"input":"*** \\"日本\\""}'},
                },
                mixed["tool_calls"][1],
            ],
        },
        told,
    ]


# The whole answer.


def function(name: str, arguments: object, **more: object) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": "c1", **call, **more}


def answered(*calls: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return json.dumps({"id": "chatcmpl-1", "model": "tiny-llama", "choices": [choice]}).encode()


def test_a_call_is_turned_back_beside_others() -> None:
    """With its text; an engine that gives no id, or an object for arguments, is understood."""
    made = conversation(tools=[PATCH, WEATHER])
    said = answered(
        function("apply_patch", '{"input":"*** 日本 😀"}'),
        function("weather", "{}", id="c2"),
        function("apply_patch", {"input": "x"}, id=None),
    )
    found = json.loads(made.answer(said, None, STAMP))["choices"][0]
    assert found["finish_reason"] == "tool_calls"
    assert found["message"]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "apply_patch", "input": "*** 日本 😀"}},
        function("weather", "{}", id="c2"),
        {"id": "call_7_1", "type": "custom", "custom": {"name": "apply_patch", "input": "x"}},
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"hi"}}]}',
        b'{"choices":[{"message":{"content":"hi","tool_calls":null}}]}',
        answered(function("weather", "{}")),
        b'{"choices":[{"message":{"tool_calls":[5]}}]}',
        b'{"tool_calls":5}',
    ],
)
def test_an_answer_without_such_calls_stays_as_it_is(body: bytes) -> None:
    """Byte for byte."""
    choices = body if b'"choices"' in body else b'{"choices":[],"tool_calls":5}'
    assert conversation(tools=[PATCH, WEATHER]).answer(choices, None, STAMP) == choices


# The stream.


def chunk(delta: object, finish: str | None = None, index: int = 0, **more: object) -> bytes:
    said = {"index": index, "delta": delta, "finish_reason": finish}
    about = {"id": "chatcmpl-1", "model": "tiny-llama", "choices": [said], **more}
    return b"data: " + json.dumps(about, ensure_ascii=False).encode() + b"\n\n"


def call(index: int, arguments: str | None, name: str | None = None, **more: object) -> Any:
    said = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": index, **more, "function": said}


COUNTED = (
    b'data: {"id":"chatcmpl-1","model":"tiny-llama","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}\n\n'
)
START = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "tool_calls")
DONE = b"data: [DONE]\n\n"


def streamed(made: OpenAIConversation, *pieces: bytes) -> bytes:
    """What the client gets of an OpenAI engine's bytes; shaped events pass as the relay does."""
    reader = CODECS["openai"].chat_stream(made.chat, OPENAI_TARGET, 1, "chatcmpl-f")
    stream = TranslatedStream(reader, made.writer(STAMP))
    out: list[bytes] = []
    shape: Shape | None = None
    for piece in pieces:
        passed = _passed(shape, piece)
        if passed is None:
            out.append(stream.feed(piece))
            shape = None if stream.finished else stream.shape(piece)
        else:
            out.append(passed)
    stream.end()
    if stream.usage is None:
        stream.guess(Usage(3, 2, estimated=True))
    return b"".join(out) + stream.tail


def _passed(shape: Shape | None, piece: bytes) -> bytes | None:
    if shape is None or not piece.startswith(shape.before) or not piece.endswith(shape.after):
        return None
    said = piece[len(shape.before) : len(piece) - len(shape.after)]
    if not said or b'"' in said or b"\\" in said or b"\n" in said:
        return None
    return shape.lead + said + (shape.again + said if shape.again else b"") + shape.trail


def events(data: bytes) -> list[Any]:
    assert data.endswith(DONE)
    lines = data.removesuffix(DONE).split(b"\n\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line]


def deltas(data: bytes) -> list[Any]:
    return [
        (choice["delta"], choice["finish_reason"])
        for each in events(data)
        for choice in each["choices"]
    ]


def test_the_pieces_of_a_call_are_gathered() -> None:
    """It is told when it begins, its text when it is whole; what is around passes unchanged."""
    text = [chunk({"content": piece}) for piece in ("Ich", " ändere", " 日本", "!")]
    out = streamed(
        conversation(tools=[PATCH, WEATHER], stream=True),
        START,
        *text,
        chunk({"tool_calls": [call(0, "", "apply_patch", id="c1", type="function")]}),
        chunk({"tool_calls": [call(0, '{"inp')]}),
        chunk({"tool_calls": [call(0, 'ut":"*** 日')]}),
        chunk({"tool_calls": [call(0, '本\\n"}')]}),
        STOP,
        COUNTED,
        DONE,
    )
    assert out.startswith(START + b"".join(text))
    assert out.endswith(STOP + DONE)
    opening = {"name": "apply_patch", "input": ""}
    assert deltas(out)[5:-1] == [
        ({"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": opening}]}, None),
        ({"tool_calls": [{"index": 0, "custom": {"input": "*** 日本\n"}}]}, None),
    ]
    assert {each["id"] for each in events(out)} == {"chatcmpl-1"}


def test_a_call_in_one_piece_is_told_in_one() -> None:
    """With the end of the answer in the same event too."""
    made = conversation(tools=[PATCH], stream=True)
    whole = {"tool_calls": [call(0, '{"input":"x"}', "apply_patch", id="c1")]}
    told = {"index": 0, "id": "c1", "type": "custom",
            "custom": {"name": "apply_patch", "input": "x"}}  # fmt: skip
    assert deltas(streamed(made, chunk(whole, "tool_calls"), DONE)) == [
        ({"tool_calls": [told]}, "tool_calls")
    ]
    raw = {"tool_calls": [call(0, "*** Begin", "apply_patch"), call(0, "\n日")]}
    told = {"index": 0, "id": "call_7_0_0", "type": "custom",
            "custom": {"name": "apply_patch", "input": "*** Begin\n日"}}  # fmt: skip
    assert deltas(streamed(made, chunk(raw, "tool_calls"), DONE)) == [
        ({"tool_calls": [told]}, "tool_calls")
    ]


def test_functions_pass_between() -> None:
    """Calls keep their order; one that is whole is told as soon as the next begins."""
    passing = [
        chunk({"tool_calls": [call(1, "", "weather", id="c2")]}),
        chunk({"tool_calls": [call(1, '{"city":')]}),
        chunk({"tool_calls": [call(1, '"Köln"}')]}),
    ]
    out = streamed(
        conversation(tools=[PATCH, WEATHER], stream=True),
        START,
        chunk({"tool_calls": [call(0, '{"input":', "apply_patch", id="c1")]}),
        chunk({"tool_calls": [call(0, '"x"}')]}),
        *passing,
        STOP,
        DONE,
    )
    told = [delta["tool_calls"] for delta, _ in deltas(out)[1:-1]]
    assert [[each["index"] for each in calls] for calls in told] == [[0], [0, 1], [1], [1]]
    assert told[1][0] == {"index": 0, "custom": {"input": "x"}}
    assert out.endswith(passing[1] + passing[2] + STOP + DONE)


def test_pieces_in_turns_are_each_their_own() -> None:
    """Two calls at once, in two choices."""
    out = streamed(
        conversation(tools=[PATCH], stream=True, n=2),
        chunk({"tool_calls": [call(0, '{"input":"a', "apply_patch", id="a")]}),
        chunk({"tool_calls": [call(0, '{"input":"b', "apply_patch", id="b")]}, index=1),
        chunk({"tool_calls": [call(0, '1"}')]}),
        chunk({"tool_calls": [call(0, '2"}')]}, index=1),
        chunk({}, "tool_calls", index=1),
        STOP,
        DONE,
    )
    closing = [
        (choice["index"], choice["delta"]["tool_calls"][0]["custom"]["input"])
        for each in events(out)
        for choice in each["choices"]
        if choice["delta"] and "id" not in choice["delta"]["tool_calls"][0]
    ]
    assert closing == [(1, "b2"), (0, "a1")]


def test_a_call_without_a_name_yet_waits_for_it() -> None:
    """Whatever it then is; without any, it is passed on at last."""
    made = conversation(tools=[PATCH, WEATHER], stream=True)
    late = [call(0, '{"input":', id="c1"), call(0, None, "apply_patch"), call(0, '"x"}')]
    out = streamed(made, *(chunk({"tool_calls": [each]}) for each in late), STOP, DONE)
    assert [each["tool_calls"][0].get("custom") for each, _ in deltas(out)[:-1]] == [
        {"name": "apply_patch", "input": ""},
        {"input": "x"},
    ]
    other = [call(0, "{", id="c1"), call(0, "}", "weather")]
    out = streamed(made, *(chunk({"tool_calls": [each]}) for each in other), STOP, DONE)
    assert deltas(out)[0][0] == {"tool_calls": other}
    never = call(0, "{}", id="c1")
    out = streamed(made, chunk({"tool_calls": [never]}), STOP, DONE)
    assert deltas(out)[0][0] == {"tool_calls": [never]}


def test_text_in_the_event_of_a_call_is_kept() -> None:
    """And an event in which nothing is left is not sent."""
    out = streamed(
        conversation(tools=[PATCH], stream=True),
        chunk({"content": "a", "tool_calls": [call(0, '{"input":', "apply_patch", id="c1")]}),
        chunk({"content": "b", "tool_calls": [call(0, '"x')]}),
        chunk({"content": None, "tool_calls": [call(0, '"}')]}),
        STOP,
        DONE,
    )
    assert [each.get("content") for each, _ in deltas(out)] == ["a", "b", None, None]


def test_usage_is_told_to_who_asked() -> None:
    """And to nobody else; where the engine told none, what was guessed."""
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    events_ = (START, chunk({"content": "hi"}, "stop"))
    wanted, unwanted = (
        conversation(tools=[PATCH], **more) for more in (with_usage, {"stream": True})
    )
    assert streamed(wanted, *events_, COUNTED, DONE) == b"".join(events_) + COUNTED + DONE
    assert streamed(unwanted, *events_, COUNTED, DONE) == b"".join(events_) + DONE
    guessed = events(streamed(wanted, *events_, DONE))[-1]
    assert guessed["choices"] == []
    assert guessed["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert streamed(unwanted, *events_, DONE) == b"".join(events_) + DONE


def test_what_is_no_event_of_a_chat_passes() -> None:
    """Comments, and calls that nobody could read."""
    odd = (b": ping\n\n", chunk({"tool_calls": [{"index": "x"}]}), chunk({"tool_calls": 5}))
    out = streamed(conversation(tools=[PATCH], stream=True), START, *odd, STOP, DONE)
    assert out == START + b"".join(odd) + STOP + DONE


def test_a_call_of_ollama_s_is_turned_back() -> None:
    """Its lines become events first."""
    made = conversation(tools=[PATCH], stream=True)
    reader = CODECS["ollama"].chat_stream(made.chat, OLLAMA_TARGET, 1, "chatcmpl-f")
    stream = TranslatedStream(reader, made.writer(STAMP))
    said = {"function": {"name": "apply_patch", "arguments": {"input": "*** 日本"}}}
    line = {"message": {"role": "assistant", "content": "", "tool_calls": [said]}, "done": False}
    end = b'{"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}\n'
    out = stream.feed(json.dumps(line).encode() + b"\n" + end) + stream.tail
    assert [each for each, _ in deltas(out)][1] == {
        "tool_calls": [
            {
                "index": 0,
                "id": "call_f_0",
                "type": "custom",
                "custom": {"name": "apply_patch", "input": "*** 日本"},
            }
        ]
    }
    assert b'"usage"' not in out


texts = st.text(max_size=12) | st.sampled_from(
    ['"tool_calls"', '"}', "{}", "日本語😀", "\\", "\n\n"]
)
steps = st.lists(
    st.tuples(st.sampled_from(["text", "custom", "function"]), texts), min_size=1, max_size=5
)
cuts = st.lists(st.integers(0, 10_000), max_size=14)


def stream_of(script: list[tuple[str, str]], places: list[int]) -> bytes:
    """Text and calls as an engine says them, the arguments cut at `places`."""
    out = [START]
    index = 0
    for kind, text in script:
        if kind == "text":
            out.append(chunk({"content": text}))
            continue
        name = "apply_patch" if kind == "custom" else "weather"
        arguments = json.dumps({"input": text}, ensure_ascii=False)
        out.append(chunk({"tool_calls": [call(index, "", name, id=f"c{index}")]}))
        out += [chunk({"tool_calls": [call(index, part)]}) for part in cut(arguments, places)]
        index += 1
    return b"".join((*out, STOP, COUNTED, DONE))


def cut(whole: Any, places: list[int]) -> list[Any]:
    ends = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[start:end] for start, end in pairwise(ends)]


@given(steps, cuts, cuts)
def test_nothing_is_lost_at_any_cut(
    script: list[tuple[str, str]], inner: list[int], outer: list[int]
) -> None:
    """Text, each call's kind, name, id and words; the same however the network cuts the bytes."""
    made = conversation(tools=[PATCH, WEATHER], stream=True)
    whole = stream_of(script, inner)
    out = streamed(made, whole)
    text = ""
    calls: dict[int, dict[str, Any]] = {}
    for delta, _ in deltas(out):
        text += delta.get("content") or ""
        for each in delta.get("tool_calls", ()):
            found = calls.setdefault(each["index"], {"id": each.get("id"), "said": ""})
            kind = "custom" if "custom" in each else "function"
            found["name"] = found.get("name") or (kind, each[kind]["name"])
            found["said"] += each[kind].get("input" if kind == "custom" else "arguments")
    assert text == "".join(said for kind, said in script if kind == "text")
    assert list(calls.values()) == [
        {
            "id": f"c{index}",
            "name": ("custom", "apply_patch") if kind == "custom" else ("function", "weather"),
            "said": said if kind == "custom" else json.dumps({"input": said}, ensure_ascii=False),
        }
        for index, (kind, said) in enumerate(each for each in script if each[0] != "text")
    ]
    assert deltas(streamed(made, *cut(whole, outer))) == deltas(out)
