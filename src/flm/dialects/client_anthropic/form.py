"""A Messages request as a client sends it: what is read of it, with types and ranges.

Names and ranges are those of Anthropic's API reference and SDK (2.12, 2026).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Raw = msgspec.Raw
NO_RAW = msgspec.Raw()


class Block(msgspec.Struct, kw_only=True, gc=False):
    """A content block of any type: what one type or another holds."""

    type: str
    text: str | None = None
    thinking: str | None = None
    source: Raw = NO_RAW
    content: Raw = NO_RAW
    id: str | None = None
    name: str | None = None
    input: Raw = NO_RAW
    tool_use_id: str | None = None
    is_error: bool | None = None
    title: str | None = None
    context: str | None = None
    tool_name: str | None = None
    cache_control: Raw = NO_RAW


class Message(msgspec.Struct, gc=False):
    """One turn."""

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[Block]


class Source(msgspec.Struct, kw_only=True, gc=False):
    """Where a picture or a document comes from. ``data`` stays as it came: it may be large."""

    type: str
    media_type: str | None = None
    data: Raw = NO_RAW
    content: Raw = NO_RAW


class Tool(msgspec.Struct, kw_only=True, gc=False):
    """A tool: one with a schema of the client's, or one of Anthropic's own types."""

    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = NO_RAW
    strict: bool | None = None
    display_width_px: int | None = None
    display_height_px: int | None = None
    cache_control: Raw = NO_RAW


class ToolChoice(msgspec.Struct, gc=False):
    """`tool_choice`."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, gc=False):
    """`thinking`."""

    type: str
    budget_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    display: str | None = None


class OutputFormat(msgspec.Struct, gc=False):
    """`output_config.format`, or `output_format` as the beta called it."""

    type: Literal["json_schema"]
    schema: Raw


Effort = Literal["low", "medium", "high", "xhigh", "max"]


class OutputConfig(msgspec.Struct, gc=False):
    """`output_config`."""

    effort: Effort | None = None
    format: OutputFormat | None = None
    task_budget: Raw = NO_RAW


class MessagesParams(msgspec.Struct, kw_only=True, gc=False):
    """The fields that are read. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=64)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


HINTS = frozenset(
    {
        "metadata", "service_tier", "cache_control", "context_management", "container",
        "mcp_servers", "betas", "inference_geo", "speed", "diagnostics", "user_profile_id",
        "workspace_id", "fallbacks", "fallback_credit_token", "billing_policy", "compaction",
    }
)  # fmt: skip
"""Known fields that no engine here has anything for and that leave the answer's meaning alone:
bookkeeping, caching, and what Anthropic hosts (`container`, `mcp_servers`)."""

MEANINGFUL = frozenset({"thread"})
"""Known fields that say where the rest of the conversation lies: the answer depends on them."""

KNOWN = frozenset(MessagesParams.__struct_fields__) | HINTS | MEANINGFUL
