"""Requests of the Responses API as chats: items, tools, parameters, what is refused and dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from responses_support import conversation, messages, sent

from flm.dialects.client_responses.asked import parse_responses
from flm.domain.policy import Policy
from flm.errors import Refusal

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def refused(**fields: Any) -> tuple[int, str, str | None]:
    """How the request with these fields is refused."""
    with pytest.raises(Refusal) as caught:
        conversation(**fields)
    return caught.value.status, caught.value.code, caught.value.param


def test_a_text_is_a_message_of_the_user():
    """The shortest request there is."""
    made = conversation(input="こんにちは 🎉")
    assert sent(made) == {
        "model": "m",
        "messages": [{"role": "user", "content": "こんにちは 🎉"}],
    }
    assert made.chat.dropped == ()
    assert made.chat.stream is False


def test_instructions_system_and_developer_become_the_one_first_message():
    """Templates know no other place for them; their order stays."""
    given = [
        {"role": "developer", "content": [{"type": "input_text", "text": "short"}]},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "later"},
    ]
    assert messages(conversation(instructions="be kind", input=given)) == [
        {"role": "system", "content": "be kind\n\nshort\n\nlater"},
        {"role": "user", "content": "hi"},
    ]


def test_what_one_answer_was_cut_into_is_one_message_again():
    """Thoughts, text and parallel calls; then the results of both."""
    given = [
        {"role": "user", "content": "weather?"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "two cities"}],
            "encrypted_content": None,
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "w", "arguments": '{"c":"東京"}'},
        {"type": "function_call", "call_id": "c2", "name": "w", "arguments": '{"c":"Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "sun"}],
        },
    ]
    assert messages(conversation(input=given)) == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_content": "two cities",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "w", "arguments": '{"c":"東京"}'},
                },
                {
                    "id": "c2",
                    "type": "function",
                    "function": {"name": "w", "arguments": '{"c":"Paris"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "sun"},
    ]


def test_a_call_after_a_result_is_the_next_message():
    """Otherwise its result would stand before it."""
    given = [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "2"},
    ]
    roles = [message["role"] for message in messages(conversation(input=given))]
    assert roles == ["assistant", "tool", "assistant", "tool"]


def test_pictures_sound_and_files_go_along():
    """As parts, in their order; a picture's detail where chats know it."""
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
    ]
    made = conversation(input=[{"role": "user", "content": parts}])
    assert messages(made)[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
        },
    ]
    assert made.chat.images is True


def test_a_tool_s_picture_stays_with_its_result():
    """Codex's view_image answers with one."""
    output = [{"type": "input_image", "image_url": PIXEL}]
    given = [{"type": "function_call_output", "call_id": "c", "output": output}]
    assert messages(conversation(input=given)) == [
        {
            "role": "tool",
            "tool_call_id": "c",
            "content": [{"type": "image_url", "image_url": {"url": PIXEL}}],
        }
    ]


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (
            {"type": "input_image", "image_url": "http://169.254.169.254/x"},
            "unsupported_image_url",
            "input[0].content[0].image_url",
        ),
        (
            {"type": "input_image", "file_id": "file-1"},
            "unsupported_parameter",
            "input[0].content[0].file_id",
        ),
        (
            {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            "unsupported_parameter",
            "input[0].content[0].file_url",
        ),
        ({"type": "nonsense"}, "invalid_value", "input[0].content[0].type"),
    ],
)
def test_what_lies_elsewhere_is_refused(part: dict[str, Any], code: str, param: str):
    """Nothing is fetched, nothing is lost in silence."""
    found = refused(input=[{"role": "user", "content": [part]}])
    assert found == (400, code, param)


def test_a_custom_tool_becomes_a_function_of_one_text():
    """Its grammar is told to the model; so are calls of it and their results."""
    tool = {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edit files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
    }
    given = [
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": '*** "B"'},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "Done!"},
    ]
    made = sent(conversation(input=given, tools=[tool]))
    function = made["tools"][0]["function"]
    assert function["name"] == "apply_patch"
    assert function["description"] == (
        'Edit files.\n\nThe input must match this lark grammar:\nstart: "x"'
    )
    assert function["parameters"]["required"] == ["input"]
    assert made["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "apply_patch", "arguments": '{"input":"*** \\"B\\""}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "Done!"},
    ]


def test_a_namespace_becomes_functions_with_its_name_in_front():
    """Calls in the history have the same names, also those of tools that are gone."""
    tools = [
        {
            "type": "namespace",
            "name": "mcp__docs__",
            "description": "Docs.",
            "tools": [
                {"type": "function", "name": "search", "parameters": {"type": "object"}},
                {"type": "custom", "name": "exec"},
            ],
        },
        {"type": "namespace", "name": "agents", "description": "", "tools": [
            {"type": "function", "name": "search", "parameters": None}]},
        {"type": "function", "name": "agents__search", "parameters": {}},
    ]  # fmt: skip
    given = [
        {"type": "function_call", "namespace": "agents", "name": "search", "call_id": "1",
         "arguments": "{}"},
        {"type": "function_call", "namespace": "gone", "name": "x.y", "call_id": "2",
         "arguments": "{}"},
    ]  # fmt: skip
    made = sent(conversation(input=given, tools=tools))
    assert [tool["function"]["name"] for tool in made["tools"]] == [
        "mcp__docs__search",
        "mcp__docs__exec",
        "agents__search",
        "agents__search_2",
    ]
    calls = made["messages"][0]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["agents__search", "gone__x_y"]


def test_a_long_name_is_cut_to_what_engines_take():
    """64 characters, and still its own."""
    inner = [{"type": "function", "name": "n" * 40 + end} for end in "ab"]
    tools = [{"type": "namespace", "name": "s" * 40, "description": "", "tools": inner}]
    made = sent(conversation(tools=tools))
    names = [tool["function"]["name"] for tool in made["tools"]]
    assert [len(name) for name in names] == [64, 64]
    assert len(set(names)) == 2


def test_tools_that_come_with_the_input_count_too():
    """Codex's additional_tools, and what its tool_search found."""
    given = [
        {"type": "additional_tools", "role": "developer", "tools": [
            {"type": "custom", "name": "exec"}]},
        {"role": "user", "content": "hi"},
        {"type": "tool_search_call", "call_id": "s", "execution": "client",
         "arguments": {"query": "mail"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": [
            {"type": "function", "name": "send", "parameters": {}}]},
    ]  # fmt: skip
    tools = [{"type": "tool_search", "execution": "client", "description": "Find tools."}]
    made = sent(conversation(input=given, tools=tools))
    names = [tool["function"]["name"] for tool in made["tools"]]
    assert names == ["tool_search", "exec", "send"]
    call, result = made["messages"][1:]
    assert call["tool_calls"][0]["function"] == {
        "name": "tool_search",
        "arguments": '{"query": "mail"}',
    }
    assert "send" in result["content"]


def test_tools_that_nobody_runs_are_dropped_and_named():
    """They never refuse a request; without any tool left the choice goes too."""
    kinds = ["web_search", "file_search", "code_interpreter", "mcp", "image_generation",
             "computer_use_preview", "local_shell", "tool_search"]  # fmt: skip
    made = conversation(
        tools=[{"type": kind} for kind in kinds], tool_choice="auto", parallel_tool_calls=False
    )
    assert made.chat.dropped == tuple(f"tools.{kind}" for kind in kinds)
    assert sent(made).keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        (
            {"type": "custom", "name": "exec"},
            {"type": "function", "function": {"name": "ns__exec"}},
        ),
    ],
)
def test_a_choice_of_tools_is_said_in_the_words_of_chats(choice: object, expected: object):
    """Modes, functions, and custom tools in a namespace."""
    tools = [
        {"type": "function", "name": "f"},
        {"type": "namespace", "name": "ns", "tools": [{"type": "custom", "name": "exec"}]},
    ]
    made = sent(conversation(tools=tools, tool_choice=choice, parallel_tool_calls=True))
    assert made["tool_choice"] == expected
    assert made["parallel_tool_calls"] is True


def test_allowed_tools_leave_no_others():
    """With the mode they are given."""
    tools = [{"type": "function", "name": name} for name in "abc"]
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "b"}, {"type": "web_search"}],
    }
    made = sent(conversation(tools=tools, tool_choice=choice))
    assert [tool["function"]["name"] for tool in made["tools"]] == ["b"]
    assert made["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"type": "web_search"}, "unsupported_parameter"),
        ({"type": "function", "name": "unknown"}, "invalid_value"),
        ("sometimes", "invalid_value"),
        (7, "invalid_value"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(choice: object, code: str):
    """A tool nobody runs, one that is not there, no choice at all."""
    found = refused(tools=[{"type": "function", "name": "f"}], tool_choice=choice)
    assert found == (400, code, "tool_choice")


def test_a_call_can_only_be_required_where_there_is_a_tool():
    """After the hosted ones are gone."""
    found = refused(tools=[{"type": "web_search"}], tool_choice="required")
    assert found == (400, "unsupported_parameter", "tool_choice")


def test_parameters_are_said_in_the_words_of_chats():
    """Sampling, length, effort, format and log probabilities."""
    schema = {"type": "object", "properties": {}}
    made = sent(
        conversation(
            temperature=0.5,
            top_p=0.9,
            max_output_tokens=77,
            reasoning={"effort": "high", "summary": "auto"},
            text={
                "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
                "verbosity": "low",
            },
            top_logprobs=2,
            include=["message.output_text.logprobs"],
            stream=True,
            top_k=40,
            seed=7,
        )
    )
    del made["messages"]
    assert made == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 77,
        "reasoning_effort": "high",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": schema, "strict": True},
        },
        "logprobs": True,
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 40,
        "seed": 7,
    }


def test_hints_are_dropped_and_named():
    """What Codex and the SDKs send beside what counts."""
    made = conversation(
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="auto",
        truncation="auto",
        max_tool_calls=3,
        client_metadata={"x": "y"},
        prompt_cache_retention="24h",
        include=["reasoning.encrypted_content"],
        metadata={"kept": "here"},
        store=False,
    )
    assert set(made.chat.dropped) == {
        "user", "safety_identifier", "prompt_cache_key", "service_tier", "truncation",
        "max_tool_calls", "client_metadata", "prompt_cache_retention",
        "include.reasoning.encrypted_content",
    }  # fmt: skip
    assert sent(made).keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"background": True}, "unsupported_parameter", "background"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"messages": []}, "unsupported_parameter", "messages"),
        ({"n": 2}, "unsupported_parameter", "n"),
        ({"temperature": 2.1}, "invalid_value", "temperature"),
        ({"top_p": -0.1}, "invalid_value", "top_p"),
        ({"top_logprobs": 21}, "invalid_value", "top_logprobs"),
        ({"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"truncation": "some"}, "invalid_value", "truncation"),
        ({"metadata": {"k": "v" * 513}}, "invalid_value", "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value", "metadata"),
        ({"previous_response_id": ""}, "invalid_value", "previous_response_id"),
        ({"text": {"format": {"type": "grammar"}}}, "unsupported_parameter", "text.format.type"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "missing_required_parameter",
            "text.format.schema",
        ),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name"),
        ({"tools": {}}, "invalid_value", "tools"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 5}, "invalid_value", "input"),
        ({"input": [5]}, "invalid_value", "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"type": "compaction"}]}, "unsupported_parameter", "input[0].type"),
        ({"model": ""}, "invalid_value", "model"),
        ({"api_base": "http://x"}, "dangerous_parameter", "api_base"),
        ({"chat_template_kwargs": {}}, "dangerous_parameter", "chat_template_kwargs"),
        ({"Input": "x"}, "unknown_parameter", "Input"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], code: str, param: str):
    """Ranges, kinds, and what only OpenAI's servers do."""
    assert refused(**fields) == (400, code, param)


def test_null_is_as_good_as_absent():
    """SDKs write it where people do."""
    made = conversation(
        background=None, conversation=None, prompt=None, tools=None, tool_choice=None, n=None,
        text=None, reasoning=None, store=None, stream=None, include=None, metadata=None,
        client_metadata=None, truncation=None, user=None,
    )  # fmt: skip
    assert sent(made).keys() == {"model", "messages"}
    assert made.chat.dropped == ()
    assert made.asked.store is True


def test_unknown_fields_follow_the_policy():
    """Forwarded, dropped and named, or refused."""
    assert sent(conversation(min_p=0.1))["min_p"] == 0.1
    dropping = conversation(policy=Policy(unknown_parameters="drop"), min_p=0.1)
    assert dropping.chat.dropped == ("min_p",)
    with pytest.raises(Refusal) as caught:
        conversation(policy=Policy(unknown_parameters="reject"), min_p=0.1)
    assert caught.value.code == "unknown_parameter"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"m","input":"\xff"}', b"null"])
def test_a_body_that_is_no_request_is_refused(body: bytes):
    """With 400, whatever it is."""
    with pytest.raises(Refusal) as caught:
        parse_responses(body, Policy())
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_thoughts_that_only_openai_can_read_are_dropped_and_named():
    """There is nothing in them for a model here."""
    given = [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
             {"role": "user", "content": "hi"}]  # fmt: skip
    made = conversation(input=given)
    assert made.chat.dropped == ("input.reasoning.encrypted_content",)
    assert messages(made) == [{"role": "user", "content": "hi"}]


def test_calls_that_clients_run_themselves_stay_calls():
    """Of a shell and of patches; what hosted tools left behind is dropped and named."""
    given = [
        {"type": "local_shell_call", "id": "ls_1", "call_id": "c1", "status": "completed",
         "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "c1", "output": "a.txt"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]  # fmt: skip
    made = conversation(input=given)
    call, result = messages(made)
    function = call["tool_calls"][0]["function"]
    assert function["name"] == "local_shell"
    assert json.loads(function["arguments"]) == {"type": "exec", "command": ["ls"], "env": {}}
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
    assert made.chat.dropped == ("input.web_search_call",)
