"""OpenAI's transcriptions, translations and speech."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flm.dialects.codec import Count, EngineAnswer, EngineCall, Usage
from flm.dialects.fields import judge_names, shown
from flm.dialects.judging import judged
from flm.dialects.passing import Fields, answer_fields, for_engine, renamed
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode
_NOTHING = Raw(b"null")

TRANSCRIPTION = frozenset(
    {
        "file", "model", "language", "prompt", "response_format", "temperature", "stream",
        "timestamp_granularities", "include", "chunking_strategy", "known_speaker_names",
        "known_speaker_references", "keywords", "languages",
    }
)  # fmt: skip
TRANSLATION = frozenset({"file", "model", "prompt", "response_format", "temperature"})
FORMATS = frozenset({"json", "text", "srt", "verbose_json", "vtt", "diarized_json"})

_JUDGED = frozenset({"response_format", "temperature", "stream"})
_NUMBER = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,20})?")


class AudioForm:
    """The rules (`multipart_form.FormRules`) of an audio form. ``dropped``: what went no further.

    A list's field may be written `name[]`, as OpenAI's SDKs do, `name[0]` or `name`.
    """

    def __init__(self, known: frozenset[str], policy: Policy) -> None:
        self._known = known
        self._policy = policy
        self.dropped: list[str] = []

    def part(self, name: str, is_file: bool) -> bool | None:
        """See `FormRules.part`. Raises `Refusal` as `judge_names` does."""
        plain = name.partition("[")[0]
        if plain not in self._known:
            fields = {plain: msgspec.Raw(b"null")}
            judge_names(fields, [plain], self._known, self._policy)
            if not fields:
                self.dropped.append(shown(name))
                return None
        if is_file != (plain == "file") and plain in self._known:
            wanted = "a file" if plain == "file" else "a value, not a file"
            raise _invalid(plain, f"expected {wanted}")
        return name in _JUDGED

    def value(self, name: str, value: bytes) -> None:
        """See `FormRules.value`. Raises `Refusal` 400 `invalid_value`."""
        if name == "model" and not 0 < len(value) <= 512:
            raise _invalid(name, "expected the name of a model")
        if name == "response_format" and value.decode("latin-1") not in FORMATS:
            raise _invalid(name, f"expected one of {', '.join(sorted(FORMATS))}")
        if name == "temperature" and not (_NUMBER.fullmatch(value) and float(value) <= 1):
            raise _invalid(name, "expected a number from 0 to 1")
        if name == "stream" and value.lower() not in (b"true", b"false", b"1", b"0"):
            raise _invalid(name, "expected true or false")


def _invalid(name: str, why: str) -> Refusal:
    return Refusal(400, "invalid_value", f"Invalid value for '{name}': {why}.", param=name)


class _Usage(msgspec.Struct):
    """Tokens by either name; transcriptions may count seconds instead."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


_decode_usage = msgspec.json.Decoder(_Usage | None).decode


def audio_usage(raw: Raw) -> Usage | None:
    """The tokens in a `usage` object of an audio answer; None where there are none."""
    try:
        told = _decode_usage(raw)
    except msgspec.DecodeError:
        return None
    if told is None:
        return None
    tokens_in = told.prompt_tokens if told.input_tokens is None else told.input_tokens
    tokens_out = told.completion_tokens if told.output_tokens is None else told.output_tokens
    return None if tokens_in is None and tokens_out is None else Usage(tokens_in, tokens_out)


def audio_answer(body: bytes, model: str, target: Target) -> EngineAnswer:
    """A whole answer in JSON, with the client's name for the model where it has one.

    Raises `EngineError` when it is an error, or not what its type says.
    """
    if not body.lstrip().startswith(b"{"):
        return EngineAnswer(body, None)  # a text may come as a JSON string
    fields = answer_fields(body, target)
    usage = audio_usage(fields.get("usage", _NOTHING))
    return EngineAnswer(renamed(fields, model, body) if "model" in fields else body, usage)


class SpeechParams(msgspec.Struct, kw_only=True):
    """The fields of OpenAI's speech, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: Annotated[str, Meta(min_length=1)]
    voice: str | dict[str, Raw] | None = None
    instructions: str | None = None
    response_format: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,16}$")] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["sse", "audio"] | None = None


class SpeechRequest(msgspec.Struct, frozen=True):
    """A text that may be given to an engine to be spoken. ``events``: as server-sent events."""

    model: str
    events: bool
    fields: Fields
    dropped: tuple[str, ...] = ()


SPEECH = frozenset(SpeechParams.__struct_fields__)
_decode_speech = msgspec.json.Decoder(SpeechParams).decode


def parse_speech(body: bytes, policy: Policy) -> SpeechRequest:
    """The request in `body`. Raises `Refusal` 400 as `parse_chat` does."""
    fields, params, dropped = judged(body, _decode_speech, SPEECH, policy)
    return SpeechRequest(params.model, params.stream_format == "sse", fields, dropped)


def speech_call(request: SpeechRequest, target: Target) -> EngineCall:
    """The request for an engine: the same fields, its own name for the model."""
    fields = for_engine(request.fields, request.model, target)
    return EngineCall("/v1/audio/speech", _encode(fields), request.dropped)
