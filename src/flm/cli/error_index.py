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
    """An answer of the API: HTTP status, code, its English sentence, and what else `Refusal` takes:
    OpenAI's type, seconds for `Retry-After` (0: none), `x-should-retry` (`true`, `false` or '').
    """

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    retry_after: int = 0
    should_retry: str = ""


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
        tree = ast.parse(path.read_text(encoding="utf-8"))
        reader = _Reader(_constants(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            answer = reader.api_error(call)
            if answer is not None:
                api.add(answer)
            else:
                command.update(reader.command_error(call))
    told = {(error.status, error.code) for error in api if error.message}
    return (
        sorted(error for error in api if error.message or error[:2] not in told),
        sorted(command),
    )


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The names a module gives to literals, `NAME: Final = …` included."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found |= {each.id: node.value for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return found


class _Reader:
    """Reads the calls of one module."""

    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self._constants = constants

    def api_error(self, call: ast.Call) -> ApiError | None:
        """The answer of the API that this call makes, if it makes one."""
        if len(call.args) < 3:
            return self._broken_stream(call)
        status, code = call.args[0], call.args[1]
        if not (isinstance(status, ast.Constant) and isinstance(code, ast.Constant)):
            return None
        if type(status.value) is not int or not 400 <= status.value < 600:
            return None
        if not (isinstance(code.value, str) and _CODE.fullmatch(code.value)):
            return None
        message = self._text(call.args[2])
        if _name(call) not in ("Refusal", "EngineError"):
            return ApiError(status.value, code.value, message)
        retry_after = self._constant(_keyword(call, "retry_after"))
        should_retry = self._constant(_keyword(call, "should_retry"))
        return ApiError(
            status.value,
            code.value,
            message,
            self._text(_keyword(call, "kind")) or ApiError._field_defaults["kind"],
            retry_after if isinstance(retry_after, int) else 0,
            str(should_retry).lower() if isinstance(should_retry, bool) else "",
        )

    def _broken_stream(self, call: ast.Call) -> ApiError | None:
        if _name(call) != "StreamBroken" or not call.args:
            return None
        code = self._text(_keyword(call, "code")) or "stream_interrupted"
        message = self._text(call.args[0])
        return ApiError(502, code, message, "upstream_error", 0, "false")

    def command_error(self, call: ast.Call) -> Iterator[CommandError]:
        """The error of the command that this call makes, if it makes one."""
        kind = getattr(errors, _name(call), None)
        if not (isinstance(kind, type) and issubclass(kind, FlmError)):
            return
        message = self._text(call.args[0]) if call.args else ""
        if message and not issubclass(kind, Refusal):
            code = self._text(_keyword(call, "code")) or kind.code
            remedy = self._text(_keyword(call, "remedy"))
            yield CommandError(code, kind.exit_code, message, remedy)

    def _constant(self, node: ast.expr | None) -> object:
        """The value of a literal, or of a name for one; None for what is computed."""
        if isinstance(node, ast.Name):
            node = self._constants.get(node.id)
        return node.value if isinstance(node, ast.Constant) else None

    def _text(self, node: ast.expr | None) -> str:
        """The text of a literal, of `N_("…")`, of a name for one; '' for what is computed.

        Values in an f-string stand as `{name}`, or as `…` where they are no plain name.
        """
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            return self._text(self._constants.get(node.id))
        if isinstance(node, ast.JoinedStr):
            return "".join(self._text(part) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            plain = isinstance(node.value, ast.Name)
            return "{" + ast.unparse(node.value) + "}" if plain else "…"
        if isinstance(node, ast.Call) and _name(node) == "N_" and node.args:
            return self._text(node.args[0])
        return ""


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)
