"""Text completions by Ollama's `/api/generate`.

Not by its `/v1/completions`, which loses `n`, `best_of`, `echo` and `logit_bias` in silence,
takes no context length (so that the model would be loaded anew) and cuts a prompt that does not
fit. Both put the prompt into the model's template.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flm.dialects.codec import EngineAnswer, Usage
from flm.dialects.engine_errors import bad_answer
from flm.dialects.engine_ollama.answer import FINGERPRINT, Line, Logprob, read_line
from flm.dialects.engine_ollama.lines import OllamaLines
from flm.dialects.engine_ollama.options import OPTIONS, refuse_bias, translated, unsupported
from flm.dialects.engine_openai.usage import usage_object
from flm.dialects.fields import shown
from flm.dialects.openai_completions import KNOWN, CompletionParams, CompletionRequest
from flm.wire.snapshot import Target

END_MARK = b"data: [DONE]\n\n"
Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode


class GenerateBody(msgspec.Struct, omit_defaults=True):
    """The body of `/api/generate`. What has no default is always sent.

    ``truncate`` and ``shift`` are off: Ollama would cut a prompt that does not fit in silence.
    ``think`` is off: a completion has no place for thoughts.
    """

    model: str
    prompt: str
    stream: bool
    truncate: bool
    shift: bool
    think: bool
    suffix: str = ""
    options: dict[str, object] = {}
    logprobs: bool | None = None
    top_logprobs: int | None = None
    keep_alive: Raw | None = None


def generate_body(request: CompletionRequest, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The body for `request`, and the names of the fields that were dropped.

    Raises `Refusal` 400 `unsupported_parameter` for what Ollama cannot do.
    """
    params = request.params
    _refuse_unsupported(params)
    body = GenerateBody(
        model=target.model,
        prompt=_prompt(request.texts),
        stream=request.stream,
        truncate=False,
        shift=False,
        think=False,
        suffix=params.suffix or "",
        options=translated(params, params.max_tokens, target),
        logprobs=None if params.logprobs is None else True,
        top_logprobs=params.logprobs,
        keep_alive=request.fields.get("keep_alive"),
    )
    dropped = set(request.dropped)
    if params.user is not None:
        dropped.add("user")
    for name in request.fields.keys() - KNOWN - {"keep_alive"}:
        raw = request.fields[name]
        if name in OPTIONS:
            body.options[name] = raw
        elif bytes(raw) != b"null":
            dropped.add(shown(name))
    return _encode(body), tuple(sorted(dropped))


def _refuse_unsupported(params: CompletionParams) -> None:
    for name, count in (("n", params.n), ("best_of", params.best_of)):
        if count is not None and count > 1:
            raise unsupported(name, f"gives one answer to a request: leave '{name}' out")
    if params.echo:
        raise unsupported("echo", "does not repeat the prompt: leave 'echo' out")
    refuse_bias(params)
    if params.max_tokens == 0:
        raise unsupported("max_tokens", "writes at least one token")


def _prompt(texts: Sequence[str]) -> str:
    if not texts:
        raise unsupported("prompt", "takes text, no token ids: send strings")
    if len(texts) > 1:
        raise unsupported("prompt", "takes one prompt in a request: send one after the other")
    if not texts[0]:
        raise unsupported("prompt", "takes no empty prompt: it would only load the model")
    return texts[0]


class _Logprobs(msgspec.Struct):
    """OpenAI's form of them for completions: lists side by side, a token each."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class _Choice(msgspec.Struct, omit_defaults=True):
    """``reasoning`` is there when a model thinks in spite of being told not to."""

    text: str
    index: int
    logprobs: _Logprobs | None
    finish_reason: str | None
    reasoning: str = ""


def _logprobs(found: list[Logprob] | None, offset: int) -> _Logprobs | None:
    if found is None:
        return None
    offsets = []
    for each in found:
        offsets.append(offset)
        offset += len(each.token)
    tops = [{top.token: top.logprob for top in each.top_logprobs} for each in found]
    return _Logprobs(
        [each.token for each in found],
        [each.logprob for each in found],
        tops if any(tops) else None,
        offsets,
    )


def _finish(line: Line) -> str:
    return "length" if line.done_reason == "length" else "stop"


def whole_completion(
    body: bytes, model: str, target: Target, created: int, answer_id: str
) -> EngineAnswer:
    """The answer to a request without a stream as a `text_completion`."""
    line = read_line(body, target)
    if not line.done:
        raise bad_answer("it is not whole")
    choice = _Choice(line.response, 0, _logprobs(line.logprobs, 0), _finish(line), line.thinking)
    answer = {
        "id": answer_id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "system_fingerprint": FINGERPRINT,
        "choices": [choice],
        "usage": usage_object(line.usage),
    }
    return EngineAnswer(_encode(answer), line.usage)


class OllamaTextStream(OllamaLines):
    """A `StreamReader` for `/api/generate`."""

    def __init__(
        self, request: CompletionRequest, target: Target, created: int, answer_id: str
    ) -> None:
        super().__init__(target)
        self._include_usage = request.include_usage
        self._offset = 0
        head = {
            "id": answer_id,
            "object": "text_completion",
            "created": created,
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
        }
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['

    def _last(self, line: Line, out: list[bytes]) -> bool:
        if line.response or line.thinking or line.logprobs:
            self.started = True
            logprobs = _logprobs(line.logprobs, self._offset)
            self._offset += len(line.response)
            out.append(self._chunk(_Choice(line.response, 0, logprobs, None, line.thinking)))
        if line.done:
            self._done(line, out)
        return line.done

    def _done(self, line: Line, out: list[bytes]) -> None:
        usage: Usage = line.usage
        out.append(self._chunk(_Choice("", 0, None, _finish(line))))
        self.usage = usage
        if self._include_usage:
            out.append(self._head + b'],"usage":' + _encode(usage_object(usage)) + b"}\n\n")
        self.finished = True
        self.tail = END_MARK

    def _chunk(self, choice: _Choice) -> bytes:
        return self._head + _encode(choice) + b"]}\n\n"
