"""The shell people paste into, and how it sets a variable. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

from flm.ports.machine import Platform
from flm.services.connect.situation import VARIABLE

Shell = Literal["sh", "fish", "powershell", "cmd"]


def shell_of(platform: Platform, environ: Mapping[str, str]) -> Shell:
    """Which one it is, as far as its variables tell.

    On Windows PowerShell puts a folder below the user's own first into `PSModulePath`; `cmd` has
    only the machine's. Git's and MSYS2's shells set `MSYSTEM`.
    """
    if platform == "win32":
        if environ.get("MSYSTEM"):
            return "sh"
        modules, home = environ.get("PSModulePath", ""), environ.get("USERPROFILE", "")
        return "powershell" if home and home.lower() in modules.lower() else "cmd"
    shell = environ.get("SHELL", "").rsplit("/", 1)[-1]
    return "fish" if shell == "fish" else "sh"


def assigned(shell: Shell, name: str, value: str) -> str:
    """The line that sets the variable to exactly that text."""
    match shell:
        case "sh":
            return f"export {name}={shlex.quote(value)}"
        case "fish":
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{escaped}'"
        case "powershell":
            escaped = value.replace("'", "''")
            return f"$env:{name} = '{escaped}'"
        case "cmd":
            return f'set "{name}={value}"'


def copied(shell: Shell, name: str) -> str:
    """The line that sets the variable to what `FLM_API_KEY` holds."""
    match shell:
        case "sh":
            return f'export {name}="${VARIABLE}"'
        case "fish":
            return f'set -gx {name} "${VARIABLE}"'
        case "powershell":
            return f"$env:{name} = $env:{VARIABLE}"
        case "cmd":
            return f'set "{name}=%{VARIABLE}%"'


def reference(shell: Shell, name: str = VARIABLE) -> str:
    """How a line refers to a variable."""
    match shell:
        case "powershell":
            return f"$env:{name}"
        case "cmd":
            return f"%{name}%"
        case _:
            return f"${name}"


def quoted(platform: Platform, text: str) -> str:
    """One argument of a command."""
    if platform != "win32":
        return shlex.quote(text)
    return text if text.replace(".", "").replace("_", "").isalnum() else f'"{text}"'
