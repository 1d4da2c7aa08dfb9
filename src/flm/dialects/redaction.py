"""What an engine says, without what could leak: addresses, URLs, paths, credentials."""

from __future__ import annotations

import re

MAX_MESSAGE = 500
_MAX_LOOKED_AT = 4096

_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", re.IGNORECASE)
_SECRET = re.compile(r"\b(?:Bearer\s+|sk-|hf_|flm_)[\w.~+/=*-]{4,}", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?(?![\w.])",
    re.IGNORECASE,
)
# Two components at least, so that neither a slash between words nor a model's name
# (`Qwen/Qwen3-8B`) is taken for one; routes of the engine are no secret.
_UNIX_PATH = re.compile(r"(?<![\w./@-])(?:~|\.{1,2})?(?!/v1/|/api/)/[\w.@+~-]+(?:/[\w.@+~-]+)+/?")
_WINDOWS_PATH = re.compile(r"(?<!\w)(?:[A-Za-z]:\\|\\\\)[^\s\"'<>|]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def cleaned(text: str) -> str:
    """`text` on one line, at most 500 characters, with what could leak replaced by a word."""
    text = _CONTROL.sub(" ", text[:_MAX_LOOKED_AT])
    text = _URL.sub("[url]", text)
    text = _SECRET.sub("[secret]", text)
    text = _WINDOWS_PATH.sub("[path]", text)
    text = _UNIX_PATH.sub("[path]", text)
    text = _ADDRESS.sub("[address]", text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
