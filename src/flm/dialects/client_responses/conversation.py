"""One request of the Responses API on its way to any engine, and its answer back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.client_responses.answer import whole_response
from flm.dialects.client_responses.asked import Asked, TextFormat
from flm.dialects.client_responses.choice import choice_in
from flm.dialects.client_responses.items import Chat
from flm.dialects.client_responses.kept import KeptResponse, items_to_keep, turns
from flm.dialects.client_responses.output import Envelope
from flm.dialects.client_responses.tools import NO_RAW, take_tools
from flm.dialects.client_responses.writer import ResponsesWriter
from flm.dialects.codec import Usage
from flm.dialects.conversation import Keeper, Native, Stamp
from flm.dialects.fields import shown
from flm.dialects.openai_chat import ChatRequest
from flm.dialects.toolbox import Toolbox
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw
LOGPROBS = "message.output_text.logprobs"
_ABSENT = (b"", b"null")
_encode = msgspec.json.Encoder().encode


class ResponsesConversation:
    """A `Conversation` of the Responses API. ``keeper`` is called before the answer is whole."""

    def __init__(
        self,
        asked: Asked,
        policy: Policy,
        history: Sequence[KeptResponse] = (),
        *,
        remote: bool = False,
    ) -> None:
        """`history`: the turns before this one, oldest first; ``remote``: URLs of images may stay
        (`ChatRequest.remote_media`). Raises `Refusal` 400.
        """
        self._asked = asked
        self._tools = Toolbox()
        self._envelope: Envelope | None = None
        self.keeper: Keeper | None = None
        self._chat = self._made(policy, history, remote)

    @property
    def chat(self) -> ChatRequest:
        """See `Conversation`."""
        return self._chat

    @property
    def asked(self) -> Asked:
        """The request itself."""
        return self._asked

    def native(self, target: Target) -> Native | None:
        """None: what is kept, chained and turned back is FLM's own, and the engines' Responses
        are layers over the chats that are asked here.
        """
        del target
        return None

    def envelope(self, stamp: Stamp) -> Envelope:
        """The response object of this answer: one id, however often it is asked for."""
        if self._envelope is None:
            self._envelope = Envelope(self._asked, stamp)
        return self._envelope

    def answer(self, body: bytes, usage: Usage | None, stamp: Stamp) -> bytes:
        """See `Conversation`. Raises `EngineError` when the body holds no answer."""
        return whole_response(body, usage, self.envelope(stamp), self._tools, self._summarised)

    def writer(self, stamp: Stamp) -> ResponsesWriter:
        """See `Conversation`."""
        return ResponsesWriter(self.envelope(stamp), self._tools, self._summarised)

    def to_keep(self, response: bytes) -> tuple[str, KeptResponse]:
        """The id under which `response`, the whole answer, is kept, and what is kept of the turn.

        Only after `answer` or `writer`: they gave it its id.
        """
        envelope = self._envelope
        assert envelope is not None, "answered"
        items = items_to_keep(self._asked.items, envelope.seed)
        previous = self._asked.params.previous_response_id or ""
        return envelope.id, KeptResponse(response, items, previous)

    @property
    def _summarised(self) -> bool:
        reasoning = self._asked.params.reasoning
        return reasoning is not None and bool(reasoning.summary or reasoning.generate_summary)

    # The request as a chat.

    def _made(self, policy: Policy, history: Sequence[KeptResponse], remote: bool) -> ChatRequest:
        asked, params = self._asked, self._asked.params
        tools = self._tools
        if bytes(params.tools) not in _ABSENT:
            take_tools(params.tools, "tools", tools)
        chat = Chat(tools, remote)
        if params.instructions:
            chat.instruct(params.instructions)
        chat.add(turns(history))
        chat.add((given.item, given.where) for given in asked.items)
        messages = chat.messages()
        if not messages:
            raise Refusal(400, "invalid_value", "'input' holds no message.", param="input")
        fields: dict[str, object] = {"model": params.model, "messages": messages, **asked.more}
        if params.stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        fields |= self._sampling()
        # Not before the items: they may hold tools.
        choice = choice_in(params.tool_choice, tools)
        if tools.functions:
            fields["tools"] = [Raw(one) for one in tools.functions.values()]
            if choice is not None:
                fields["tool_choice"] = choice
            if params.parallel_tool_calls is not None:
                fields["parallel_tool_calls"] = params.parallel_tool_calls
        dropped = (*asked.dropped, *self._hints(), *tools.dropped, *chat.dropped)
        made = parse_chat(_encode(fields), policy, remote=remote)
        return msgspec.structs.replace(
            made, dropped=tuple(dict.fromkeys((*made.dropped, *dropped)))
        )

    def _sampling(self) -> dict[str, object]:
        params = self._asked.params
        reasoning, text = params.reasoning, params.text
        logprobs = LOGPROBS in (params.include or ()) or bool(params.top_logprobs)
        wanted: dict[str, object | None] = {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_tokens": params.max_output_tokens,  # the name that every engine knows
            "reasoning_effort": None if reasoning is None else reasoning.effort,
            "verbosity": None if text is None else text.verbosity,
            "response_format": None if text is None else _format(text.format),
            "logprobs": True if logprobs else None,
            "top_logprobs": params.top_logprobs if logprobs else None,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _hints(self) -> list[str]:
        """What was asked for and is of no use to an engine."""
        params = self._asked.params
        given = {
            "user": params.user,
            "safety_identifier": params.safety_identifier,
            "prompt_cache_key": params.prompt_cache_key,
            "service_tier": params.service_tier,
            "max_tool_calls": params.max_tool_calls,
            "truncation": params.truncation == "auto",
        }
        named = [name for name, value in given.items() if value]
        return named + [f"include.{shown(one)}" for one in params.include or () if one != LOGPROBS]


def _format(form: TextFormat | None) -> dict[str, object] | None:
    """`text.format` as `response_format`."""
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "json_object"}
    if form.type != "json_schema":
        raise Refusal(
            400,
            "unsupported_parameter",
            "The format of an answer is 'text', 'json_object' or 'json_schema'.",
            param="text.format.type",
        )
    if form.schema == NO_RAW:
        name = "text.format.schema"
        raise Refusal(
            400, "missing_required_parameter", f"Missing required parameter: '{name}'.", param=name
        )
    schema: dict[str, object] = {"name": form.name or "answer", "schema": form.schema}
    if form.strict is not None:
        schema["strict"] = form.strict
    if form.description:
        schema["description"] = form.description
    return {"type": "json_schema", "json_schema": schema}
