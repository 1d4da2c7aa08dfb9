"""Whatever JSON comes: it is understood, refused, or the engine's error; never an accident."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from responses_support import STAMP, chunk, conversation

from flm.dialects.client_responses.kept import by_id, raw_items, turns
from flm.errors import EngineError, Refusal, StreamBroken

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
KINDS = (
    "message", "reasoning", "function_call", "function_call_output", "custom_tool_call",
    "custom_tool_call_output", "item_reference", "tool_search_call", "tool_search_output",
    "additional_tools", "local_shell_call", "local_shell_call_output", "mcp_call", "compaction",
    "web_search_call", "input_text", "input_image", "input_file", "input_audio", "output_text",
    "refusal", "function", "custom", "namespace", "tool_search", "allowed_tools", "json_schema",
    "data:image/png;base64,AA", "http://x/", "user", "assistant", "system", "auto",
)  # fmt: skip
NAMES = (
    "type", "role", "content", "summary", "name", "namespace", "call_id", "arguments", "input",
    "output", "action", "operation", "tools", "encrypted_content", "text", "refusal", "image_url",
    "url", "file_data", "file_id", "detail", "input_audio", "format", "schema", "id", "mode",
    "effort", "parameters", "execution", "strict", "definition", "status",
)  # fmt: skip
COMMON = ("content", "role", "name", "output", "tools", "text")
values = st.recursive(
    leaves | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(KINDS)}, optional=dict.fromkeys(COMMON, inner)
        )
    ),
    max_leaves=12,
)  # fmt: skip
items = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)}, optional=dict.fromkeys(NAMES[1:], values)
)
FIELDS = (
    "input", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "instructions",
    "previous_response_id", "conversation", "prompt", "stream_options", "max_output_tokens",
    "temperature", "store", "stream", "user", "background", "truncation", "stop", "n", "unknown",
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=5),
    st.lists(items, max_size=3),
)
def test_any_request_is_a_chat_or_a_refusal(fields: dict[str, Any], some: list[Any]):
    """What is understood can be kept, and read again as a history."""
    given_fields = {"input": some, **fields} if some else fields
    try:
        made = conversation(**given_fields)
    except Refusal as refusal:
        assert refusal.status == 400
        return
    answer = made.answer(b'{"choices":[{"message":{"content":"x"}}]}', None, STAMP)
    _, turn = made.to_keep(answer)
    assert json.loads(answer)["output"][-1]["content"][0]["text"] == "x"
    assert len(raw_items(turn)) == len(list(turns([turn])))
    by_id([turn])


@settings(max_examples=300)
@given(st.lists(values, max_size=4))
def test_any_answer_of_an_engine_is_a_response_or_its_error(said: list[Any]):
    """Whole and streamed."""
    made = conversation(stream=True)
    writer = made.writer(STAMP)
    try:
        for value in said:
            writer.feed(chunk(content="a") + b"data: " + json.dumps(value).encode() + b"\n\n")
            delta = {"choices": [{"delta": value}]}
            writer.feed(b"data: " + json.dumps(delta).encode() + b"\n\n")
    except StreamBroken as broken:
        assert b"response.failed" in writer.broken(broken)
    else:
        assert b"response.completed" in writer.end(None)
    for value in said:
        body = json.dumps({"choices": [{"message": value}]}).encode()
        try:
            made.answer(body, None, STAMP)
        except EngineError as error:
            assert error.status == 502
