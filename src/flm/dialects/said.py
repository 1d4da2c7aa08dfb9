"""What an engine's error body says, whatever its shape."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

_decode = msgspec.json.Decoder().decode
_MAX_READ = 64 << 10
_MAX_NUMBER = 1 << 53
_MAX_WRAPPINGS = 3
_STATUS = re.compile(r"[45][0-9]{2}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Said(NamedTuple):
    """An engine's error, unwrapped. Empty or None where it said nothing.

    ``status`` is the one inside the body; ``code`` a word such as `context_length_exceeded`.
    """

    message: str = ""
    kind: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None
    prompt_tokens: int | None = None
    context: int | None = None


def read(body: bytes) -> Said:
    """Read `body`: an error object, an error string, a flat object, a detail, plain text.

    JSON inside a message is unwrapped (Ollama passes its runner's errors on like that, its
    OpenAI layer twice over), and what is inside counts. Never raises.
    """
    if len(body) > _MAX_READ:
        return Said()
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return Said()  # a page for people, from something that is no engine
    found = Said()
    for _ in range(1 + _MAX_WRAPPINGS):
        inner = _object_in(text)
        if inner is None:
            return found._replace(message=text)
        found = _merge(found, _fields(inner))
        text = found.message
    return found


def _object_in(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _merge(outer: Said, inner: Said) -> Said:
    return Said(
        message=inner.message,
        kind=inner.kind or outer.kind,
        code=inner.code or outer.code,
        param=inner.param or outer.param,
        status=inner.status or outer.status,
        prompt_tokens=inner.prompt_tokens or outer.prompt_tokens,
        context=inner.context or outer.context,
    )


def _fields(value: dict[str, Any]) -> Said:
    error = value.get("error")
    if isinstance(error, dict):
        value = error
    elif isinstance(error, str) and error:
        return Said(message=error, kind=_text(value.get("type")))
    detail = value.get("detail")
    if detail:
        return _detail(detail)
    code = value.get("code")
    word = _text(code)
    param = value.get("param")
    return Said(
        message=_text(value.get("message") or value.get("msg")),
        kind=_text(value.get("type")),
        code=word if _CODE.fullmatch(word) else "",
        param=param[:100] if isinstance(param, str) and param else None,
        status=_status(code),
        prompt_tokens=_number(value.get("n_prompt_tokens")),
        context=_number(value.get("n_ctx")),
    )


def _detail(detail: Any) -> Said:
    """FastAPI's `detail`: a sentence, an object with `msg`, or a list of what is wrong where."""
    if isinstance(detail, list):
        detail = detail[0] if detail else ""
    if not isinstance(detail, dict):
        return Said(message=_text(detail))
    where = detail.get("loc")
    param = None
    if isinstance(where, list):
        param = ".".join(str(step) for step in where if step != "body")[:100] or None
    return Said(message=_text(detail.get("msg")), kind=_text(detail.get("type")), param=param)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _MAX_NUMBER else None


def _status(code: Any) -> int | None:
    if isinstance(code, str) and _STATUS.fullmatch(code):
        code = int(code)
    number = _number(code)
    return number if number is not None and 400 <= number <= 599 else None
