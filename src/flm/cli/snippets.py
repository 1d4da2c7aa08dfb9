"""A first request as lines that work when they are pasted into this shell.

Names of models come from elsewhere and may hold any character, so nothing is quoted by hand: JSON
is ASCII, the Python line holds no character that any shell reads, and on Windows the body goes
through a pipe because Windows PowerShell 5.1 and PowerShell 7.3 disagree on how to pass `"`.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import NamedTuple
from urllib.parse import urlsplit

GREETING = "Hello!"
VARIABLE = "FLM_API_KEY"
_PLAIN = re.compile(r"[A-Za-z0-9 .,:/_-]")


class Request(NamedTuple):
    """What is asked: a path below the base URL, and a body, or None for a plain GET."""

    path: str
    body: dict[str, object] | None


def first_request(model: str | None, *, embeddings: bool = False) -> Request:
    """The smallest request that shows that `model` answers; without one, the list of models."""
    if model is None:
        return Request("/models", None)
    if embeddings:
        return Request("/embeddings", {"model": model, "input": GREETING})
    return Request(
        "/chat/completions", {"model": model, "messages": [{"role": "user", "content": GREETING}]}
    )


def curl(
    base_url: str, key: str | None, request: Request, *, windows: bool, direct: bool = False
) -> str:
    """One line for curl; without `key` it takes it from `FLM_API_KEY`.

    ``direct``: past the proxy that this shell's variables name.
    """
    past = "--noproxy '*' " if direct else ""
    if windows:
        return _powershell_curl(base_url, key, request, past)
    bearer = key if key is not None else f"${VARIABLE}"
    url = shlex.quote(base_url + request.path)
    line = f'curl {past}{url} -H "Authorization: Bearer {bearer}"'
    if request.body is None:
        return line
    return f"{line} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(request.body))}"


def _powershell_curl(base_url: str, key: str | None, request: Request, past: str) -> str:
    bearer = key if key is not None else f"$env:{VARIABLE}"
    line = f'curl.exe {past}"{base_url}{request.path}" -H "Authorization: Bearer {bearer}"'
    if request.body is None:
        return line
    body = json.dumps(request.body).replace("'", "''")
    return f"'{body}' | {line} -H \"Content-Type: application/json\" -d '@-'"


def python(base_url: str, key: str | None, request: Request, *, interpreter: str) -> str:
    """One line for Python's own library, the same for every shell."""
    url = urlsplit(base_url)
    bearer = _literal(f"Bearer {key}") if key else f"'Bearer '+os.environ['{VARIABLE}']"
    method = "'GET'" if request.body is None else "'POST'"
    body = "None" if request.body is None else f"json.dumps({_expression(request.body)})"
    code = (
        "import http.client,json,os; "
        f"c=http.client.HTTPConnection({_literal(url.hostname or '')},{url.port or 80}); "
        f"c.request({method},{_literal(url.path + request.path)},{body},"
        f"{{'Authorization':{bearer},'Content-Type':'application/json'}}); "
        f"print(json.load(c.getresponse()))"
    )
    return f'{interpreter} -c "{code}"'


def set_variable(key: str, *, windows: bool) -> str:
    """The line that puts the key into this shell's environment."""
    return f'$env:{VARIABLE} = "{key}"' if windows else f"export {VARIABLE}={key}"


def _expression(value: object) -> str:
    if isinstance(value, dict):
        items = (f"{_literal(name)}:{_expression(item)}" for name, item in value.items())
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_expression, value)) + "]"
    return _literal(str(value))


def _literal(text: str) -> str:
    """`text` as a Python literal without any character that a shell would read."""
    return "'" + "".join(c if _PLAIN.fullmatch(c) else _escape(c) for c in text) + "'"


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
