"""What an answer is made of: its ids, its items, and the whole object around them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_responses.asked import Asked
from flm.dialects.client_responses.kept import PREFIX
from flm.dialects.codec import Usage
from flm.dialects.conversation import Stamp
from flm.dialects.toolbox import Source, custom_input

Raw = msgspec.Raw
Status = Literal["in_progress", "completed", "incomplete", "failed"]
_encode = msgspec.json.Encoder().encode
_ABSENT = (b"", b"null")

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons to finish that leave an answer unfinished."""


class TopLogprob(msgspec.Struct):
    """``bytes`` is always a list."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class Logprob(msgspec.Struct):
    """A token as chat completions tell it, and as this API does."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None

    def mended(self) -> Logprob:
        """With lists where the engine said nothing."""
        tops = [
            TopLogprob(one.token, one.logprob, one.bytes or []) for one in self.top_logprobs or ()
        ]
        return Logprob(self.token, self.logprob, self.bytes or [], tops)


class Envelope:
    """The response object of one request: what is the same in all its states is made once.

    ``seed`` is what all ids of it have in common.
    """

    def __init__(self, asked: Asked, stamp: Stamp) -> None:
        self.seed = f"{stamp.id.removeprefix('req_')}{int(stamp.time * 1_000_000):x}"
        self.id = PREFIX + self.seed
        self._head = b'{"id":%b,"object":"response","created_at":%d,"status":"' % (
            _encode(self.id),
            int(stamp.time),
        )
        self._echo = _encode(_echo(asked))[1:-1]

    def response(
        self,
        status: Status,
        output: list[bytes],
        usage: Usage | None = None,
        error: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> bytes:
        """The whole object as JSON."""
        details = None if reason is None else {"reason": reason}
        return b'%b%b","error":%b,"incomplete_details":%b,%b,"output":[%b],"usage":%b}' % (
            self._head,
            status.encode(),
            _encode(error),
            _encode(details),
            self._echo,
            b",".join(output),
            _encode(_usage(usage)),
        )

    def item_id(self, lead: str, number: int) -> str:
        """The id of the output item of that number."""
        return f"{lead}_{self.seed}_{number}"

    def call_id(self, number: int) -> str:
        """An id for a call to which the engine gave none."""
        return f"call_{self.seed}_{number}"


def _echo(asked: Asked) -> dict[str, object]:
    """What the answer repeats of the request."""
    params = asked.params
    reasoning, text = params.reasoning, params.text
    form: object = {"type": "text"} if text is None or text.format is None else text.format
    if isinstance(form, msgspec.Struct):
        form = {name: value for name, value in msgspec.structs.asdict(form).items()
                if value is not None and value != Raw()}  # fmt: skip
    summary = None if reasoning is None else reasoning.summary or reasoning.generate_summary
    choice = params.tool_choice if bytes(params.tool_choice) not in _ABSENT else "auto"
    return {
        "background": False,
        "instructions": params.instructions,
        "max_output_tokens": params.max_output_tokens,
        "max_tool_calls": params.max_tool_calls,
        "metadata": params.metadata or {},
        "model": params.model,
        "parallel_tool_calls": params.parallel_tool_calls is not False,
        "previous_response_id": params.previous_response_id,
        "prompt_cache_key": params.prompt_cache_key,
        "reasoning": {
            "effort": None if reasoning is None else reasoning.effort,
            "summary": summary,
        },
        "safety_identifier": params.safety_identifier,
        "service_tier": "default",
        "store": asked.store,
        "temperature": params.temperature,
        "text": {
            "format": form,
            "verbosity": (None if text is None else text.verbosity) or "medium",
        },
        "tool_choice": choice,
        "tools": params.tools if bytes(params.tools) not in _ABSENT else [],
        "top_logprobs": params.top_logprobs or 0,
        "top_p": params.top_p,
        "truncation": "disabled",
        "user": params.user,
    }


def _usage(usage: Usage | None) -> dict[str, object] | None:
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": 0,
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": prompt + completion,
    }


def text_part(text: str | Raw, logprobs: list[Logprob]) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def refusal_part(text: str | Raw) -> dict[str, Any]:
    """A part of a message in which the model says no."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, status: Status, content: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model said."""
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def reasoning_item(item_id: str, text: str | Raw | None, summarised: bool) -> dict[str, Any]:
    """What the model thought: as a summary where the client asked for one, else as it is."""
    parts = [] if text is None else [text]
    item: dict[str, Any] = {"id": item_id, "type": "reasoning"}
    item["summary"] = [{"type": "summary_text", "text": one} for one in parts if summarised]
    if not summarised:
        item["content"] = [{"type": "reasoning_text", "text": one} for one in parts]
    item["encrypted_content"] = None
    return item


LEADS = {"function": "fc", "custom": "ctc", "tool_search": "tsc"}


def call_item(
    item_id: str, call_id: str, source: Source, arguments: str, status: Status
) -> dict[str, Any]:
    """A call as the client's own tool: a function's, a custom one's, or a search's."""
    item: dict[str, Any] = {"id": item_id, "status": status, "call_id": call_id}
    if source.kind == "custom":
        item |= {"type": "custom_tool_call", "name": source.name, "input": arguments}
    elif source.kind == "tool_search":
        item |= {"type": "tool_search_call", "execution": "client"}
        item["arguments"] = _object(arguments)
    else:
        item |= {"type": "function_call", "name": source.name, "arguments": arguments}
    if source.namespace is not None:
        item["namespace"] = source.namespace
    return item


def final_arguments(source: Source, arguments: str) -> str:
    """What a call says at its end: the text of a custom tool, the JSON of others."""
    return custom_input(arguments) if source.kind == "custom" else arguments or "{}"


def _object(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments or "{}")
    except UNREADABLE:
        return {"query": arguments}
