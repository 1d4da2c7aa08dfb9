"""What an engine's error means to the client: its meaning kept, its secrets not.

The rules are tried in order, the first that knows the error answers; what none knows is 502
`engine_error`. Statuses of engines reach the client only where they mean the same to it: an
engine's 401 is FLM's trouble, and a bare 500 says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flm.dialects.overflow import overflow_in, says_so
from flm.dialects.redaction import cleaned
from flm.dialects.said import Said, read
from flm.errors import EngineError, Overflow
from flm.wire.snapshot import Target

RETRY_AFTER = 5
_MAX_RETRY_AFTER = 120
"""openai-python does not retry at all when told to wait longer."""


class _Seen(NamedTuple):
    """An error as the rules look at it. ``text`` is the message in lower case."""

    status: int
    said: Said
    text: str
    message: str
    headers: Mapping[str, str]
    target: Target | None


def explain(
    status: int, headers: Mapping[str, str], body: bytes, target: Target | None = None
) -> EngineError:
    """The error for the client. `status` 200 is an answer with an error in it.

    Never raises; `headers` by lower-case name; `target` lets the remedy name the setting.
    """
    said = read(body)
    if status in (200, 500) and said.status is not None:
        status = said.status
    said_text = said.message[:4096]
    seen = _Seen(status, said, said_text.lower(), cleaned(said_text), headers, target)
    for rule in _RULES:
        error = rule(seen)
        if error is not None:
            return error
    return _failed(seen)


def _context_overflow(seen: _Seen) -> EngineError | None:
    known = "exceed_context_size_error" in (seen.said.kind, seen.said.code)
    at_fault = seen.status in (200, 400, 413, 422) or (seen.status == 500 and "exceed" in seen.text)
    if not known and not (at_fault and says_so(seen.text)):
        return None
    overflow, unit = overflow_in(seen.said, seen.text)
    if overflow is None:
        message = (seen.message or "The prompt does not fit into the model's context").rstrip(".")
        if seen.target is not None and seen.target.num_ctx is not None:
            message += f" ({seen.target.num_ctx} tokens)"
        message += "."
    else:
        message = _too_long(overflow, unit)
    less = "Shorten it, lower max_tokens" if overflow and overflow.output else "Shorten it"
    counted = overflow if unit == "tokens" else None
    message += f" {less}, or {_larger_context(seen, counted)}."
    error = EngineError(
        400,
        "context_length_exceeded",
        message,
        param="input" if "input length" in seen.text else "messages",
        should_retry=False,
    )
    error.overflow = counted
    return error


def _too_long(overflow: Overflow, unit: str) -> str:
    prompt = f"{'at least ' if overflow.at_least else ''}{overflow.prompt} {unit}"
    answer = f" and the answer may have {overflow.output}" if overflow.output else ""
    return f"The prompt has {prompt}{answer}, the model's context holds {overflow.context} tokens."


def _larger_context(seen: _Seen, overflow: Overflow | None) -> str:
    """The setting that holds: FLM's own where it asks for the context, else the engine's."""
    target = seen.target
    if target is None or (target.dialect != "ollama" and target.engine != "embedded"):
        if seen.said.kind == "exceed_context_size_error":
            return "start llama.cpp with a larger --ctx-size; its --parallel slots share it"
        if "maximum context length is" in seen.text:
            return "start the engine with a larger context (vLLM: --max-model-len)"
        return "give the engine a larger context (llama.cpp: --ctx-size, vLLM: --max-model-len)"
    # Room for an answer as well; a power of two, because that is what people set.
    wanted = overflow.prompt + max(overflow.output, overflow.prompt // 4) if overflow else 0
    tokens = str(1 << wanted.bit_length()) if wanted else "N"
    return f"run: flm config set engines.{target.engine}.num_ctx {tokens}"


_NO_VISION = re.compile(
    r"image input is not supported|not a multimodal model|\bmmproj\b|missing data required for"
    r" image|does not support (?:images?|vision|image input|multimodal)"
    r"|at most 0 image|images? (?:is|are) not supported"
)
_NO_AUDIO = re.compile(r"audio input is not supported|does not support audio")


def _unsupported_modality(seen: _Seen) -> EngineError | None:
    if _NO_VISION.search(seen.text):
        what = "images"
    elif _NO_AUDIO.search(seen.text):
        what = "audio"
    else:
        return None
    return EngineError(
        400,
        "unsupported_modalities",
        f"This model does not take {what}. Use a model that does (flm models list).",
        param="messages",
        should_retry=False,
    )


def _credentials(seen: _Seen) -> EngineError | None:
    if seen.status not in (401, 403):
        return None
    name = f"The engine '{seen.target.engine}'" if seen.target else "The engine"
    return EngineError(
        502,
        "upstream_auth_error",
        f"{name} refused FLM (HTTP {seen.status}). Your own key was fine; the engine's key"
        " has to be given to FLM with: flm engines add NAME --url URL --api-key-stdin.",
        kind="upstream_error",
        should_retry=False,
    )


def _redirects(seen: _Seen) -> EngineError | None:
    """FLM goes nowhere it was not sent by its user."""
    if not 300 <= seen.status < 400:
        return None
    name = f"The engine '{seen.target.engine}'" if seen.target else "The engine"
    return EngineError(
        502,
        "engine_redirects",
        f"{name} redirects elsewhere, and FLM follows no redirects. `flm engines list` says where;"
        " if the engine is there, add that URL: flm engines add NAME --url URL.",
        kind="upstream_error",
        should_retry=False,
    )


_DIED = re.compile(r"model has crashed|model (?:is |was |has been )?unloaded")


def _died(seen: _Seen) -> EngineError | None:
    """LM Studio calls it the client's fault (400) when its model crashes or is unloaded."""
    return _failed(seen) if seen.status < 500 and _DIED.search(seen.text) else None


_NO_MODEL = re.compile(
    r"\bmodels?\b.{0,300}?(?:not found|does ?n[o']t exist|not exist|unknown)|unknown model"
    r"|no such model|model_not_found",
    re.DOTALL,
)


def _model_missing(seen: _Seen) -> EngineError | None:
    if seen.status not in (200, 400, 404):
        return None
    if seen.said.code != "model_not_found" and not _NO_MODEL.search(seen.text):
        return None
    return EngineError(
        404,
        "model_not_found",
        f"The engine no longer has this model: {seen.message or 'not found'}.".replace("..", "."),
        param="model",
        should_retry=False,
    )


def _busy(seen: _Seen) -> EngineError | None:
    if seen.status not in (429, 503, 529):
        return None
    loading = "loading" in seen.text
    return EngineError(
        429 if seen.status == 429 else 503,
        "engine_loading" if loading else "engine_busy",
        seen.message or "The engine is busy.",
        kind="rate_limit_error" if seen.status == 429 else "server_error",
        retry_after=_retry_after(seen.headers.get("retry-after", "")),
    )


def _retry_after(value: str) -> int:
    value = value.strip()
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        return RETRY_AFTER
    return min(max(int(value), 1), _MAX_RETRY_AFTER)


_CANNOT = re.compile(
    r"(?:does not|doesn't) support (?P<what>[a-z]+)|(?P<flag>requires --[a-z-]+(?:choice|parser))"
)
_NO_ROUTE = re.compile(
    r"(?:404 |405 )?(?:(?:file |page |resource )?not found|not implemented|method not allowed"
    r"|unexpected endpoint or method.*)?",
    re.DOTALL,
)
_PARAM_OF = {"tools": "tools", "tool": "tools", "thinking": "reasoning_effort"}


def _cannot(seen: _Seen) -> EngineError | None:
    """The engine is sound, and this model or engine has not what was asked of it."""
    found = _CANNOT.search(seen.text) if seen.status in (200, 400, 404, 500, 501) else None
    if found is not None:
        param = "tool_choice" if found["flag"] else _PARAM_OF.get(found["what"])
        code = "unsupported_parameter" if param else "unsupported_operation"
        message = f"The engine cannot do this with this model: {seen.message}"
        return EngineError(400, code, message, param=param, should_retry=False)
    no_route = _NO_ROUTE.fullmatch(seen.text.rstrip(". ")) is not None
    said_so = seen.status == 404 or (seen.status == 200 and seen.text)
    if seen.status in (405, 501) or (said_so and no_route):
        detail = f": {seen.message}" if seen.message and not no_route else "."
        return EngineError(
            400,
            "unsupported_operation",
            f"The engine cannot do this with this model{detail}",
            should_retry=False,
        )
    return None


_REQUEST_AT_FAULT = re.compile(
    r"invalid format: |^option \"(?P<option>\w+)\" must be|^invalid input type"
    r"|unsupported (?P<tools>tool) type"  # llama.cpp says it with 500
)


def _bad_request(seen: _Seen) -> EngineError | None:
    at_fault = _REQUEST_AT_FAULT.search(seen.text)
    if seen.status not in (400, 409, 411, 413, 415, 422) and not at_fault:
        return None
    param = seen.said.param
    if param is None and at_fault is not None:
        param = "tools" if at_fault["tools"] else at_fault["option"]
    if param is not None:
        param = param.removeprefix("body.")
    if seen.status == 413:
        status, code = 413, "request_too_large"
    else:
        status, code = 400, seen.said.code or "invalid_value"
    return EngineError(
        status,
        code,
        seen.message or f"The engine refused the request (HTTP {seen.status}).",
        param=cleaned(param) if param else None,
        should_retry=False,
    )


def _slow(seen: _Seen) -> EngineError | None:
    """The same work again would take as long, and the engine may still be at the first."""
    if seen.status not in (408, 504):
        return None
    return EngineError(
        504,
        "engine_timeout",
        seen.message or "The engine took too long.",
        kind="upstream_error",
        should_retry=False,
    )


def _failed(seen: _Seen) -> EngineError:
    """The engine's own fault. Only a proxy's 502 is worth a retry: what killed a model kills it
    again, and SDKs would have three answers generated for one.
    """
    message = seen.message or f"HTTP {seen.status} without a word of why"
    return EngineError(
        502,
        "engine_error",
        f"The engine failed: {message}",
        kind="upstream_error",
        should_retry=None if seen.status == 502 else False,
    )


_Rule = Callable[[_Seen], EngineError | None]
_RULES: tuple[_Rule, ...] = (
    _redirects,
    _credentials,
    _context_overflow,
    _unsupported_modality,
    _busy,
    _died,
    _model_missing,
    _cannot,
    _bad_request,
    _slow,
)


def bad_answer(why: str) -> EngineError:
    """An answer with status 200 that is none: 502 `bad_engine_answer`."""
    return EngineError(
        502,
        "bad_engine_answer",
        f"The engine's answer cannot be used: {why}.",
        kind="upstream_error",
        should_retry=False,
    )
