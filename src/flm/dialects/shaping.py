"""A request as a publication has it: its template around the texts, its profile over the fields.

Pure. Texts are put together as JSON strings that are never decoded, so that what a client wrote
stays what it is, byte for byte, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from flm.dialects.body import UNREADABLE, first_byte
from flm.dialects.openai_chat import ChatParams, ChatRequest, Message
from flm.dialects.openai_completions import CompletionParams, CompletionRequest
from flm.domain import prompts
from flm.domain.parameters import PARAMETERS
from flm.domain.publications import Profile
from flm.errors import InvalidValue, Refusal
from flm.wire.snapshot import Published

Raw = msgspec.Raw

_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode

_SYSTEM_ROLES = frozenset({"system", "developer"})
_TEXT_TYPES = (b'"text"', b'"input_text"', b"")
_NONE = Raw(b"")
_APART = "\n\n"
"""Between the template's system text and the client's."""

_LIMITS = ("max_tokens", "max_completion_tokens")
"""Two names of one parameter."""

_NATIVE: tuple[tuple[str, str], ...] = (
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("num_predict", "max_tokens"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
)
"""Ollama's options that say what OpenAI's parameters say, which clients may write in `options`."""

_OTHER_NAMES = (
    ("n_predict", "max_tokens"), ("num_predict", "max_tokens"), ("max_new_tokens", "max_tokens"),
)  # fmt: skip
"""What engines take at the top level as another name of a parameter, some before its own."""

_BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "temperature": (
            "dynatemp_range", "dynamic_temperature", "dynatemp_low", "dynatemp_high",
        ),
        "n": ("n_cmpl", "best_of"),
    }
)  # fmt: skip
"""What engines take beside a parameter, and by which a request would get around its cap."""


def shaped(chat: ChatRequest, published: Published, now: float) -> ChatRequest:
    """`chat` with the publication's template and profile, at `now` (UTC seconds).

    The template's system text is laid before the client's, its user text around the text of the
    last user message. The profile's defaults stand where the client said nothing; what is above a
    cap is lowered, and named in ``dropped`` as `temperature(capped)`; its options are the
    engine's. ``fields`` and ``params`` say the same.
    """
    fields = dict(chat.fields)
    params = msgspec.structs.replace(chat.params)
    work = _Work(fields, params, list(chat.dropped))
    values = {prompts.DATE: prompts.day(now)}
    if published.system or published.user:
        system, user = (prompts.filled(each, values) for each in (published.system, published.user))
        _frame(fields, params, system, user)
    profile = published.profile
    if profile is not None:
        work.lay(profile)
    return msgspec.structs.replace(
        chat,
        fields=fields,
        params=params,
        dropped=tuple(dict.fromkeys(work.dropped)),
        options={} if profile is None else profile.options,
    )


def shaped_completion(request: CompletionRequest, published: Published) -> CompletionRequest:
    """A text completion with the publication's profile, as `shaped` lays it over a chat.

    Raises `Refusal` 400 `unsupported_operation` where there is a template: a text completion has
    neither system nor user messages to lay it around.
    """
    if published.system or published.user:
        raise Refusal(
            400,
            "unsupported_operation",
            f"'{published.name}' has a prompt template, which only chats can take.",
            param="model",
        )
    profile = published.profile
    if profile is None:
        return request
    fields = dict(request.fields)
    params = msgspec.structs.replace(request.params)
    work = _Work(fields, params, list(request.dropped))
    work.lay(profile)
    return msgspec.structs.replace(
        request, fields=fields, params=params, dropped=tuple(dict.fromkeys(work.dropped))
    )


def _frame(
    fields: dict[str, Raw], params: ChatParams, system: prompts.Pieces, user: prompts.Pieces
) -> None:
    """Lay the template's texts around the client's."""
    raw = _decode_list(fields["messages"])
    judged = list(params.messages)
    if user:
        last = _last(judged, "user")
        if last is not None:
            before, behind = prompts.around(user)
            raw[last], judged[last] = _around(raw[last], judged[last], before, behind)
    if system:
        text = "".join(system)
        if judged[0].role in _SYSTEM_ROLES:
            raw[0], judged[0] = _around(raw[0], judged[0], text + _APART, "")
        else:
            raw.insert(0, Raw(_encode({"role": "system", "content": text})))
            judged.insert(0, Message("system", text))
    fields["messages"] = Raw(_encode(raw))
    params.messages = judged


class _Work:
    """A request that is being changed: its own copies, which nobody else sees."""

    def __init__(
        self, fields: dict[str, Raw], params: ChatParams | CompletionParams, dropped: list[str]
    ) -> None:
        self.fields = fields
        self.params = params
        self.dropped = dropped
        self._known = frozenset(params.__struct_fields__)

    def lay(self, profile: Profile) -> None:
        """Lay the profile over the fields."""
        self.lift(profile)
        self.set_defaults(profile.defaults)
        self.hold_to(profile.caps)

    def lift(self, profile: Profile) -> None:
        """Take what the client wrote by another name, in Ollama's `options` or at the top level,
        for the parameter it is, where the profile has a word on that; the rest stays.
        """
        ours = {*profile.defaults, *profile.caps}
        self._lift(self.fields, _OTHER_NAMES, ours, "")
        if "options" not in self.fields or not ours:
            return
        try:
            given = _decode_object(self.fields["options"])
        except UNREADABLE:
            return  # the engine's dialect says what is wrong with it
        self._lift(given, _NATIVE, ours, "options.")
        self.fields["options"] = Raw(_encode(given))

    def _lift(
        self,
        given: dict[str, Raw],
        known: Iterable[tuple[str, str]],
        ours: Collection[str],
        inside: str,
    ) -> None:
        for other, name in known:
            if name not in ours or name not in self._known or other not in given:
                continue
            raw = given.pop(other)
            if self._is_set(name) or bytes(raw) == b"null":
                continue
            try:
                self._put(name, PARAMETERS[name].check(msgspec.json.decode(raw)))
            except (*UNREADABLE, InvalidValue):
                self.dropped.append(f"{inside}{other}")  # -1 is "without end", for one

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Set what the client did not."""
        for name, value in defaults.items():
            if name in PARAMETERS and name in self._known and not self._is_set(name):
                self._put(name, value)

    def hold_to(self, caps: Mapping[str, float]) -> None:
        """Lower what is above a cap; an answer without a limit gets one."""
        for name, cap in caps.items():
            if name not in PARAMETERS or name not in self._known:
                continue
            most = int(cap) if PARAMETERS[name].kind == "whole" else float(cap)
            for each in _LIMITS if name == "max_tokens" else (name,):
                value = getattr(self.params, each, None)
                if value is not None and value > most:
                    self._put(each, most)
                    self.dropped.append(f"{each}(capped)")
            if name == "max_tokens" and not self._is_set(name):
                self._put(name, most)
            for other in _BESIDE.get(name, ()):
                if self.fields.pop(other, None) is not None:
                    self.dropped.append(other)

    def _is_set(self, name: str) -> bool:
        names = _LIMITS if name == "max_tokens" else (name,)
        return any(getattr(self.params, each, None) is not None for each in names)

    def _put(self, name: str, value: Any) -> None:
        self.fields[name] = Raw(_encode(value))
        setattr(self.params, name, value)


def _last(messages: Sequence[Message], role: str) -> int | None:
    """The place of the last message of that role."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == role:
            return place
    return None


def _around(raw: Raw, judged: Message, before: str, behind: str) -> tuple[Raw, Message]:
    """The message with `before` and `behind` around its text, raw and as it is judged."""
    message = _decode_object(raw)
    content = judged.content
    if isinstance(content, list):
        parts = _around_parts(content, before, behind)
        message["content"] = Raw(_encode(parts))
        return Raw(_encode(message)), Message(judged.role, parts, judged.tool_calls)
    text = before + (content or "") + behind
    message["content"] = _joined(before, message.get("content", _NONE), behind)
    return Raw(_encode(message)), Message(judged.role, text, judged.tool_calls)


def _around_parts(
    parts: Iterable[dict[str, Raw]], before: str, behind: str
) -> list[dict[str, Raw]]:
    """The parts with `before` in the first text among them and `behind` in the last; pictures
    stay where they are. Where there is no text, the texts become parts of their own.
    """
    changed = [dict(part) for part in parts]
    texts = [place for place, part in enumerate(changed) if _is_text(part)]
    if not texts:
        head = [_text_part(before)] if before else []
        return [*head, *changed, *([_text_part(behind)] if behind else [])]
    first, last = changed[texts[0]], changed[texts[-1]]
    first["text"] = _joined(before, first["text"], "")
    last["text"] = _joined("", last["text"], behind)
    return changed


def _is_text(part: Mapping[str, Raw]) -> bool:
    return bytes(part.get("type", _NONE)) in _TEXT_TYPES and first_byte(
        part.get("text", _NONE)
    ) == (b'"')


def _text_part(text: str) -> dict[str, Raw]:
    return {"type": Raw(b'"text"'), "text": Raw(_encode(text))}


def _joined(before: str, raw: Raw, behind: str) -> Raw:
    """A JSON string with more text before and behind it; what is no string counts as empty."""
    inner = bytes(raw)[1:-1] if first_byte(raw) == b'"' else b""
    return Raw(b'"' + _encode(before)[1:-1] + inner + _encode(behind)[1:-1] + b'"')
