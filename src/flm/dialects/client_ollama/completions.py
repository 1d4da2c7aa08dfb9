"""`/api/generate` with `raw`, asked of an engine that speaks OpenAI's by its `/v1/completions`.

A prompt that is to stand in no template of a chat cannot be sent as one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flm.dialects.client_ollama.answer import whole
from flm.dialects.client_ollama.options import as_fields
from flm.dialects.client_ollama.request import Given
from flm.dialects.client_ollama.stream import LineWriter
from flm.dialects.client_ollama.written import GENERATE
from flm.dialects.codec import EngineAnswer, EngineCall, StreamReader
from flm.dialects.conversation import Stamp
from flm.dialects.engine_openai.stream import OpenAIStream
from flm.dialects.engine_openai.usage import usage_in
from flm.dialects.passing import answer_fields
from flm.dialects.translated import TranslatedStream
from flm.errors import Refusal
from flm.wire.snapshot import Target

_encode = msgspec.json.Encoder().encode


class RawGeneration:
    """`Native` for engines of OpenAI's dialect. `now` gives UTC seconds, `stamp` when it began."""

    def __init__(self, given: Given, stamp: Stamp, now: Callable[[], float]) -> None:
        self._given = given
        self._stamp = stamp
        self._now = now

    def call(self, target: Target) -> EngineCall:
        """See `Native.call`. Raises `Refusal` 400 for what the route cannot express."""
        given = self._given
        _refuse_unsupported(given)
        chat = given.chat
        fields: dict[str, object] = {
            "model": target.model,
            "prompt": given.prompt,
            "stream": chat.stream,
            **as_fields(given.options),
        }
        if chat.stream:
            fields["stream_options"] = {"include_usage": True}
        dropped = set(chat.dropped)
        dropped.update(name for name in ("system", "think") if name in given.fields)
        return EngineCall("/v1/completions", _encode(fields), tuple(sorted(dropped)))

    def answer(self, target: Target, body: bytes) -> EngineAnswer:
        """See `Native.answer`."""
        usage = usage_in(answer_fields(body, target).get("usage"))
        model = self._given.chat.model
        return EngineAnswer(whole(GENERATE, model, body, usage, self._stamp, self._now()), usage)

    def stream(self, target: Target) -> StreamReader:
        """See `Native.stream`."""
        model = self._given.chat.model
        reader = OpenAIStream(model, True, target)
        return TranslatedStream(reader, LineWriter(GENERATE, model, self._stamp, self._now))


def _refuse_unsupported(given: Given) -> None:
    params = given.chat.params
    if given.suffix:
        raise _refusal("suffix", "fill no gaps: their API does not support insert")
    if given.chat.images:
        raise _refusal("images", "take no images with a raw prompt")
    if params.response_format is not None:
        raise _refusal("format", "follow no 'format' with a raw prompt")
    if params.logprobs:
        raise _refusal("logprobs", "give no 'logprobs' with a raw prompt")


def _refusal(name: str, why: str) -> Refusal:
    return Refusal(
        400,
        "unsupported_parameter",
        f"Engines that are not Ollama {why}. A model on Ollama can.",
        param=name,
    )
