"""How Ollama's answers are spelled: the parts of a line, whole or streamed."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_ollama.times import nanoseconds, rfc3339
from flm.dialects.codec import Usage

Raw = msgspec.Raw
NO_RAW = Raw(b"")
EMPTY = b'""'
_NOTHING = (b"", b"null", EMPTY)
_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_parts = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Form(msgspec.Struct, frozen=True):
    """Where the text stands in a line: in a message, or at the top."""

    lead: bytes
    trail: bytes


CHAT = Form(b'"message":{"role":"assistant","content":', b"}")
GENERATE = Form(b'"response":', b"")


class ToolCall(msgspec.Struct):
    """A call that is whole. ``arguments`` is a JSON object."""

    id: str
    name: str
    arguments: Raw


class _Timings(msgspec.Struct):
    """What llama.cpp says of an answer, in milliseconds."""

    prompt_ms: float
    predicted_ms: float


_decode_timings = msgspec.json.Decoder(_Timings).decode


class Durations(msgspec.Struct, frozen=True):
    """Seconds: of all, until the first token, and from there on."""

    total: float
    prompt: float
    answer: float


def durations(total: float, first: float | None, timings: Raw) -> Durations:
    """What is known of the time it took: by the engine's word, else by FLM's own clock.

    ``first``: seconds until the first token, None where the answer came whole.
    """
    try:
        told = _decode_timings(timings)
    except UNREADABLE:
        prompt = first or 0.0
        return Durations(total, prompt, total - prompt)
    return Durations(total, told.prompt_ms / 1000, told.predicted_ms / 1000)


def head_of(model: str, time: float) -> bytes:
    """How every line begins, comma included."""
    return b'{"model":%b,"created_at":%b,' % (_encode(model), _encode(rfc3339(time)))


def body_of(
    form: Form, text: bytes, thinking: bytes = b"", calls: list[ToolCall] | None = None
) -> bytes:
    """What was said; `text` and `thinking` are JSON strings, b"" is no thinking."""
    return b"".join(
        (
            form.lead,
            text,
            b',"thinking":' + thinking if thinking else b"",
            b',"tool_calls":' + _calls(calls) if calls else b"",
            form.trail,
        )
    )


def closing(reason: str, times: Durations, usage: Usage | None) -> bytes:
    """The fields of a line that is the last, from the comma up to the brace.

    Every one is there, as strict clients want it; what loading took is not known here.
    """
    prompt = None if usage is None else usage.prompt_tokens
    answer = None if usage is None else usage.completion_tokens
    return b"".join(
        (
            b',"done":true,"done_reason":%b' % _encode(reason),
            b',"total_duration":%d' % nanoseconds(times.total),
            b',"load_duration":0',
            b"" if prompt is None else b',"prompt_eval_count":%d' % prompt,
            b',"prompt_eval_duration":%d' % nanoseconds(times.prompt),
            b"" if answer is None else b',"eval_count":%d' % answer,
            b',"eval_duration":%d' % nanoseconds(times.answer),
        )
    )


def done_reason(finish: str | None) -> str:
    """Ollama's word for why an answer ended: it says `stop` after tool calls too."""
    return "stop" if finish in (None, "tool_calls", "function_call") else finish


def text_of(*candidates: Raw) -> bytes:
    """The first that says something, as a JSON string; b'""' when none does.

    Some engines answer with a list of parts: their texts are joined.
    """
    for raw in candidates:
        said = bytes(raw)
        if said in _NOTHING:
            continue
        if said.startswith(b'"'):
            return said
        try:
            parts = _decode_parts(said)
            joined = "".join(_decode_text(part["text"]) for part in parts if "text" in part)
        except UNREADABLE:
            continue
        if joined:
            return _encode(joined)
    return EMPTY


def arguments_object(text: str) -> Raw:
    """Arguments as the JSON object that Ollama's clients need.

    What a model wrote that is none is not lost: it is the value of `arguments`.
    """
    text = text.strip()
    if not text:
        return Raw(b"{}")
    try:
        _decode_object(text)
    except (*UNREADABLE, UnicodeEncodeError):
        return Raw(_encode({"arguments": text.encode("utf-8", "replace").decode()}))
    # Between its tokens JSON may hold line ends, a line of a stream may not.
    return Raw(text.replace("\n", " ").replace("\r", " ").encode())


def _calls(calls: list[ToolCall]) -> bytes:
    return _encode(
        [
            {
                "id": call.id,
                "function": {"index": index, "name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(calls)
        ]
    )
