"""Anthropic's Messages requests in OpenAI's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic_said import NATIVE, TOOL, body, openai_fields, parsed

from flm.dialects.client_anthropic.conversation import parse_messages
from flm.dialects.engine import CODECS
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.wire.snapshot import Target

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
OLLAMA_TARGET = Target(
    id="o/m", engine="o", model="m", dialect="ollama", host="h", port=1, native=("completions",)
)


def said(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = openai_fields(messages=list(messages), **fields)["messages"]
    return found


def refused(policy: Policy | None = None, **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as found:
        parsed(policy, **fields)
    assert found.value.status == 400
    return found.value.code, found.value.param


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_plain_request_keeps_every_word_and_number() -> None:
    """Names change, values do not."""
    assert openai_fields(
        system="Be kind.",
        messages=[{"role": "user", "content": "こんにちは 👋"}],
        stop_sequences=["\n\nHuman:"],
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stream=True,
    ) == {
        "model": "mine",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "こんにちは 👋"},
        ],
        "stream": True,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["\n\nHuman:"],
    }


def test_usage_is_always_asked_of_a_stream() -> None:
    """`include_usage` is on, and the model is the client's."""
    chat = parsed(stream=True).chat
    assert (chat.stream, chat.include_usage, chat.model) == (True, True, "mine")
    assert not parsed().chat.include_usage


def test_a_turn_of_tools_becomes_calls_and_tool_messages() -> None:
    """Ids, arguments as text, results in order and before the words of the same turn."""
    messages = said(
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "two cities", "signature": "zzz"},
                {"type": "redacted_thinking", "data": "opaque"},
                text("I look."),
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"city": "東京"}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
            ],
        },
        user(
            text("hurry"),
            {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [text("no such city"), text("try again")],
                "is_error": True,
            },
        ),
        tools=[TOOL],
    )
    assert json.loads(messages[1]["tool_calls"][0]["function"].pop("arguments")) == {"city": "東京"}
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "two cities",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f"}},
                {"id": "t2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no such city\ntry again"},
        {"role": "user", "content": "hurry"},
    ]


def test_pictures_reach_the_engine_also_out_of_results() -> None:
    """As data: URLs; one in a result follows it in the user's message."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "image", "source": PNG}],
    }
    messages = said(user(result, text("what is it?"), {"type": "image", "source": PNG}))
    assert messages == [
        {
            "role": "tool",
            "tool_call_id": "t",
            "content": "(The result is the picture that follows.)",
        },
        {"role": "user", "content": [picture, {"type": "text", "text": "what is it?"}, picture]},
    ]
    assert parsed(messages=[user({"type": "image", "source": PNG})]).chat.images


def test_pictures_behind_urls_are_not_fetched() -> None:
    """The rule for media, with the place in this dialect's words."""
    image = {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/x.png"}}
    assert refused(messages=[user(image)]) == (
        "unsupported_image_url",
        "messages[0].content[0].source.url",
    )


def test_pictures_behind_urls_stay_where_flm_fetches_them() -> None:
    """`media.fetch`: marked, and never passed on in this dialect."""
    image = {"type": "image", "source": {"type": "url", "url": "https://e.example/x.png"}}
    conversation = parse_messages(body(messages=[user(image)]), Policy(), remote=True)
    chat = conversation.chat
    assert chat.remote_media
    assert json.loads(bytes(chat.fields["messages"]))[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://e.example/x.png"}}
    ]
    assert conversation.native(NATIVE) is None
    assert conversation.native_count(NATIVE) is None
    image["source"] = {"type": "url", "url": "ftp://e.example/x.png"}
    with pytest.raises(Refusal):
        parse_messages(body(messages=[user(image)]), Policy(), remote=True)


def test_documents_of_text_are_text_and_pdfs_are_refused() -> None:
    """Title and context stay with them."""
    plain = {"type": "text", "media_type": "text/plain", "data": "the text"}
    assert said(user({"type": "document", "title": "T", "context": "C", "source": plain})) == [
        {"role": "user", "content": "T\nC\nthe text"}
    ]
    inner = {"type": "content", "content": [text("one"), text("two")]}
    assert said(user({"type": "document", "source": inner})) == [
        {"role": "user", "content": "one\ntwo"}
    ]
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert refused(messages=[user({"type": "document", "source": pdf})]) == (
        "unsupported_modalities",
        "messages[0].content[0].source.type",
    )


def test_search_results_are_text() -> None:
    """Title, source and text."""
    block = {"type": "search_result", "title": "T", "source": "https://e.x", "content": [text("a")]}
    assert said(user(block)) == [{"role": "user", "content": "T\nhttps://e.x\na"}]


def test_what_anthropic_s_servers_did_is_left_out_and_named() -> None:
    """A conversation that began elsewhere goes on here."""
    history = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "error"}},
        text("It is sunny."),
    ]
    chat = parsed(messages=[{"role": "user", "content": "q"},
                            {"role": "assistant", "content": history}]).chat  # fmt: skip
    assert json.loads(bytes(chat.fields["messages"]))[1]["content"] == "It is sunny."
    assert chat.dropped == ("server_tool_use", "web_search_tool_result")


def test_a_block_nobody_knows_is_refused() -> None:
    """It would be missing from the prompt."""
    assert refused(messages=[user({"type": "hologram"})]) == (
        "unsupported_parameter",
        "messages[0].content[0].type",
    )


def test_the_system_speaks_first_wherever_it_stood() -> None:
    """Blocks, messages among the others, and Claude Code's billing line left out."""
    messages = said(
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Answer in French."},
        {"role": "assistant", "content": "Salut"},
        system=[
            text("x-anthropic-billing-header: cc_version=2; cch=a5145;"),
            {**text("Be kind."), "cache_control": {"type": "ephemeral"}},
        ],
    )
    assert messages == [
        {"role": "system", "content": "Be kind.\nAnswer in French."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Salut"},
    ]


def test_a_prefilled_answer_stays_the_last_message() -> None:
    """Engines go on from it."""
    messages = said({"role": "user", "content": "JSON!"}, {"role": "assistant", "content": "{"})
    assert messages[-1] == {"role": "assistant", "content": "{"}


def test_claude_code_s_own_fields_are_tolerated_and_named() -> None:
    """Nothing refuses the request; what has no place here is told."""
    chat = parsed(
        metadata={"user_id": "u"},
        service_tier="auto",
        context_management={"edits": []},
        betas=["x-2026"],
        mcp_servers=[{"type": "url", "url": "https://mcp.example", "name": "m"}],
        container="c",
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={"effort": "xhigh"},
        something_new=True,
    ).chat
    assert chat.dropped == (
        "betas", "container", "context_management", "mcp_servers", "metadata", "service_tier",
        "something_new", "thinking.display",
    )  # fmt: skip
    assert json.loads(bytes(chat.fields["reasoning_effort"])) == "high"


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 16000}, "medium"),
        ({"type": "enabled", "budget_tokens": 31999}, "high"),
        ({"type": "disabled"}, "none"),
        ({"type": "adaptive"}, None),
    ],
)
def test_thinking_becomes_an_effort(thinking: dict[str, Any], effort: str | None) -> None:
    """By its budget."""
    assert openai_fields(thinking=thinking).get("reasoning_effort") == effort


def test_a_schema_for_the_answer_is_kept() -> None:
    """Under the name it has now, and the one it had."""
    form = {"type": "json_schema", "schema": {"type": "object"}}
    expected = {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
    }
    assert openai_fields(output_config={"format": form})["response_format"] == expected
    assert openai_fields(output_format=form)["response_format"] == expected


def test_tools_become_functions() -> None:
    """Schema, description and strictness as they are."""
    assert openai_fields(tools=[{**TOOL, "strict": True, "type": "custom"}])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": True,
            },
        }
    ]


def test_tools_the_client_runs_itself_get_their_schema() -> None:
    """Claude knows it by heart, other models do not."""
    fields = openai_fields(
        tools=[
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            {"type": "memory_20250818", "name": "memory"},
            {
                "type": "computer_20251124",
                "name": "computer",
                "display_width_px": 1024,
                "display_height_px": 768,
            },
        ]
    )
    found = {tool["function"]["name"]: tool["function"]["parameters"] for tool in fields["tools"]}
    assert list(found) == ["bash", "str_replace_based_edit_tool", "memory", "computer"]
    assert list(found["bash"]["properties"]) == ["command", "restart"]
    assert "insert_text" in found["str_replace_based_edit_tool"]["properties"]
    assert "rename" in found["memory"]["properties"]["command"]["enum"]
    assert "zoom" in found["computer"]["properties"]["action"]["enum"]


def test_hosted_tools_are_dropped_and_named() -> None:
    """No tool type refuses a request."""
    chat = parsed(
        tools=[
            TOOL,
            {"type": "web_search_20260318", "name": "web_search"},
            {"type": "code_execution_20250825", "name": "code_execution"},
            {"type": "mcp_toolset", "mcp_server_name": "m"},
            {"type": "computer_toolset_20260801"},
        ]
    ).chat
    assert chat.dropped == (
        "tools.code_execution_20250825", "tools.computer_toolset_20260801", "tools.mcp_toolset",
        "tools.web_search_20260318",
    )  # fmt: skip
    assert len(json.loads(bytes(chat.fields["tools"]))) == 1


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, None),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: object, parallel: bool | None) -> None:
    """In OpenAI's words."""
    fields = openai_fields(tools=[TOOL], tool_choice=choice)
    assert (fields["tool_choice"], fields.get("parallel_tool_calls")) == (expected, parallel)


def test_a_tool_that_must_be_called_and_is_not_there_is_refused() -> None:
    """It would change the answer's meaning; `auto` without tools says nothing."""
    hosted = [{"type": "web_search_20260318", "name": "web_search"}]
    assert refused(tools=hosted, tool_choice={"type": "any"}) == (
        "unsupported_parameter",
        "tool_choice",
    )
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "web_search"}) == (
        "unsupported_parameter",
        "tool_choice",
    )
    assert "tool_choice" not in openai_fields(tools=hosted, tool_choice={"type": "auto"})


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"max_tokens": None}, "missing_required_parameter", "max_tokens"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"temperature": 1.5}, "invalid_value", "temperature"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "invalid_value", "messages[0].role"),
        ({"messages": [user({"type": "text"})]}, "missing_required_parameter",
         "messages[0].content[0].text"),
        ({"messages": [user({"type": "tool_result", "content": "x"})]},
         "missing_required_parameter", "messages[0].content[0].tool_use_id"),
        ({"messages": [user({"type": "image", "source": 5})]}, "invalid_value",
         "messages[0].content[0].source"),
        ({"messages": [user({"type": "image"})]}, "invalid_value",
         "messages[0].content[0].source"),
        ({"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].input_schema"),
        ({"thinking": {"type": "enabled"}}, "missing_required_parameter",
         "thinking.budget_tokens"),
        ({"thread": {"id": "t"}}, "unsupported_parameter", "thread"),
        ({"base_url": "http://x"}, "dangerous_parameter", "base_url"),
        ({"Max_tokens": 5}, "unknown_parameter", "Max_tokens"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(
    fields: dict[str, Any], code: str, param: str
) -> None:
    """Ranges, types and names."""
    assert refused(**fields) == (code, param)


def test_a_body_that_is_none_is_refused() -> None:
    """As everywhere."""
    with pytest.raises(Refusal) as found:
        parse_messages(b"[]", Policy())
    assert found.value.code == "invalid_json"


def test_the_policy_s_word_on_unknown_fields_counts() -> None:
    """Hints of the dialect are not unknown."""
    strict = Policy(unknown_parameters="reject")
    assert refused(strict, something_new=1) == ("unknown_parameter", "something_new")
    assert parsed(strict, metadata={"user_id": "u"}).chat.dropped == ("metadata",)


def test_ollama_gets_what_it_can_be_asked() -> None:
    """The translation goes through the engine's codec; a forced tool it refuses by name."""
    chat = parsed(
        tools=[TOOL], top_k=3, messages=[user(text("see"), {"type": "image", "source": PNG})]
    ).chat
    sent = json.loads(CODECS["ollama"].chat(chat, OLLAMA_TARGET).body)
    assert sent["messages"] == [{"role": "user", "content": "see", "images": ["iVBORw0KGgo="]}]
    assert sent["options"] == {"num_predict": 9, "top_k": 3}
    forced = parsed(tools=[TOOL], tool_choice={"type": "any"}).chat
    with pytest.raises(Refusal) as found:
        CODECS["ollama"].chat(forced, OLLAMA_TARGET)
    assert (found.value.code, found.value.param) == ("unsupported_parameter", "tool_choice")


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"effort": "low"}},
        {"output_format": {"type": "json_schema", "schema": {}}},
        {"thinking": {"type": "disabled"}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
        {"tools": [TOOL], "tool_choice": {"type": "none"}},
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"messages": [user({"type": "search_result", "title": "", "source": "", "content": []})]},
    ],
)
def test_what_engines_lose_in_this_dialect_is_translated(fields: dict[str, Any]) -> None:
    """Read in llama.cpp's and vLLM's sources."""
    assert parsed(**fields).native(NATIVE) is None


def test_an_engine_of_this_dialect_gets_the_client_s_own_fields() -> None:
    """The engine's name for the model, unknown fields too; never other servers."""
    conversation = parsed(
        system=[{**text("s"), "cache_control": {"type": "ephemeral"}}],
        tools=[TOOL],
        thinking={"type": "enabled", "budget_tokens": 1024},
        stop_sequences=["x"],
        something_new={"a": [1]},
        mcp_servers=[],
    )
    native = conversation.native(NATIVE)
    assert native is not None
    call = native.call(NATIVE)
    assert (call.path, call.dropped) == ("/v1/messages", ("mcp_servers",))
    expected = json.loads(body(
        system=[{**text("s"), "cache_control": {"type": "ephemeral"}}],
        tools=[TOOL],
        thinking={"type": "enabled", "budget_tokens": 1024},
        stop_sequences=["x"],
        something_new={"a": [1]},
        model="tiny-llama",
    ))  # fmt: skip
    assert json.loads(call.body) == expected
    assert conversation.native(OLLAMA_TARGET) is None
