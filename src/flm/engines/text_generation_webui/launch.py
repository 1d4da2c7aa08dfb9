"""text-generation-webui from its folder: its API on loopback, without its page.

Facts: `modules/api/script.py` and `one_click.py` of v4.7.3. `OPENEDAI_PORT` overrides
`--api-port`; when the port is taken it takes another one and says so in its log; its keys can be
given on the command line only, where every user of the machine reads them, so it gets none.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from flm.domain.engines import Address
from flm.engines.arguments import CHOSEN, ELSEWHERE, HOST, OPENS, SECRET, Rules, checked
from flm.errors import N_, InvalidValue
from flm.ports.engines import Installation, LaunchPlan

READY_SECONDS = 900.0
ANNOUNCED = r"https?://(?:127\.0\.0\.1|\[::1\]):(\d{1,5})/v1\b"

RULES = Rules(
    refused={
        "--listen": OPENS,
        "--listen-host": OPENS,
        "--share": OPENS,
        "--public-api": OPENS,
        "--public-api-id": OPENS,
        "--api-port": CHOSEN,
        "--listen-port": CHOSEN,
        "--api-key": SECRET,
        "--admin-key": SECRET,
        "--ssl-keyfile": ELSEWHERE,
        "--ssl-certfile": ELSEWHERE,
        "--api-disable-ipv4": ELSEWHERE,
        "--subpath": ELSEWHERE,
    },
    allowed=frozenset({"--api"}),
    abbreviated=True,
)

_FLAG_FILES = ("user_data/CMD_FLAGS.txt", "CMD_FLAGS.txt")
_PYTHONS = (
    "portable_env/bin/python3",
    "portable_env/python.exe",
    "installer_files/env/bin/python",
    "installer_files/env/python.exe",
    "venv/bin/python",
    "venv/Scripts/python.exe",
    ".venv/bin/python",
    ".venv/Scripts/python.exe",
)
_SCRIPTS = {"darwin": "start_macos.sh", "win32": "start_windows.bat"}


class TextGenerationWebuiStarter:
    """Implements `flm.ports.engines.Starter`. The installation's program is its folder."""

    def __init__(self, platform: str = sys.platform) -> None:
        self._script = _SCRIPTS.get(platform, "start_linux.sh")

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for what would open it."""
        checked(arguments, RULES)

    def plan(
        self, installation: Installation, arguments: Sequence[str], port: int, token: str
    ) -> LaunchPlan:
        """`server.py` with the Python that was installed for it, else its start script.

        Raises `InvalidValue` too when its own file of flags would open it.
        """
        del token
        folder = Path(installation.program)
        if folder.is_file():  # its start script, or server.py
            folder = folder.parent
        given = checked(arguments, RULES)
        for name in _FLAG_FILES:
            _check_file(folder / name)
        flags = ("--api", "--api-port", str(port), "--nowebui")
        return LaunchPlan(
            arguments=(*self._command(folder), *given, *flags),
            address=Address(HOST, port),
            environment={"OPENEDAI_PORT": str(port)},
            directory=str(folder),
            announced=ANNOUNCED,
            ready_seconds=READY_SECONDS,
        )

    def _command(self, folder: Path) -> tuple[str, ...]:
        server, script = folder / "server.py", folder / self._script
        for python in (folder / name for name in _PYTHONS):
            if server.is_file() and python.is_file():
                return (str(python), str(server))
        if script.is_file():
            return (str(script),)
        raise InvalidValue(
            N_("{folder} does not hold text-generation-webui, ready to run."),
            remedy=N_("Name its folder, the one with server.py and {script}: `flm config set "
                      "engines.text-generation-webui.path FOLDER`."),
            folder=folder,
            script=self._script,
        )  # fmt: skip


def _check_file(path: Path) -> None:
    """It reads more flags from a file, which count as if they were given."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for word in _words(lines):
        why = RULES.why(word.partition("=")[0].replace("_", "-"))
        if word.startswith("--") and why is not None:
            raise InvalidValue(
                why, remedy=N_("Take it out of {file}."), flag=word.partition("=")[0], file=path
            )


def _words(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.lstrip().startswith("#"):
            try:
                yield from shlex.split(line)
            except ValueError:
                yield from line.split()
