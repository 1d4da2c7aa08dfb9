"""Which errors FLM can give, read from its source: nothing listed that is not raised somewhere.

An answer of the API is a call that begins with a status and a code, `Refusal(404, "not_found",
…)`; an error of the command is one of the tree in `flm.errors` with its message and remedy.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flm import errors
from flm.errors import FlmError, Refusal

_CODE = re.compile(r"[a-z][a-z0-9_]+")


class ApiError(NamedTuple):
    """An answer of the API: HTTP status, code, and its English sentence."""

    status: int
    code: str
    message: str


class CommandError(NamedTuple):
    """An error of the command: code, exit code, and untranslated message and remedy."""

    code: str
    exit_code: int
    message: str
    remedy: str


def scan(package: Path) -> tuple[list[ApiError], list[CommandError]]:
    """Every error in the source below `package`, sorted, each once."""
    api: set[ApiError] = set()
    command: set[CommandError] = set()
    for path in package.rglob("*.py"):
        for call in _calls(path):
            answer = _api_error(call)
            if answer is not None:
                api.add(answer)
            else:
                command.update(_command_error(call))
    return sorted(api), sorted(command)


def _calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _api_error(call: ast.Call) -> ApiError | None:
    if len(call.args) < 3:
        return _broken_stream(call)
    status, code = call.args[0], call.args[1]
    if not (isinstance(status, ast.Constant) and isinstance(code, ast.Constant)):
        return None
    if type(status.value) is not int or not 400 <= status.value < 600:
        return None
    if not (isinstance(code.value, str) and _CODE.fullmatch(code.value)):
        return None
    return ApiError(status.value, code.value, _text(call.args[2]))


def _broken_stream(call: ast.Call) -> ApiError | None:
    if _name(call) != "StreamBroken" or not call.args:
        return None
    code = _text(_keyword(call, "code")) or "stream_interrupted"
    return ApiError(502, code, _text(call.args[0]))


def _command_error(call: ast.Call) -> Iterator[CommandError]:
    kind = getattr(errors, _name(call), None)
    if not (isinstance(kind, type) and issubclass(kind, FlmError)) or issubclass(kind, Refusal):
        return
    message = _text(call.args[0]) if call.args else ""
    if message:
        code = _text(_keyword(call, "code")) or kind.code
        yield CommandError(code, kind.exit_code, message, _text(_keyword(call, "remedy")))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def _text(node: ast.expr | None) -> str:
    """The text of a literal, of `N_("…")` or of an f-string with its values as `{…}`; else ''."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.Call) and _name(node) == "N_" and node.args:
        return _text(node.args[0])
    return ""
