"""`flm engines install ollama` as people run it: real processes, a real server, a real disk."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.running_flm import FLM, Flm, started, until
from tests.support.web_server import WebServer, web_server

from flm.app import Found
from flm.cli import offer, output
from flm.cli.session import Session
from flm.domain.engines import Engine, EngineId, Finding, InstalledOnly
from flm.language import load

ARCHIVE = "/releases/download/v{}/ollama-linux-amd64.tgz"
PROGRAM = Path(shutil.which("sleep") or "/bin/sleep")
"""A program that runs as long as it is told to, to stand for Ollama's."""


def release(web: WebServer, version: str, padding: bytes = b"") -> bytes:
    """Publish a version as the newest; its archive."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as tar:
        for name, content in (("bin/ollama", PROGRAM.read_bytes()), ("lib/padding", padding)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    content = plain.getvalue()
    checksum = web.put(ARCHIVE.format(version), content)
    web.put(
        f"/releases/download/v{version}/sha256sum.txt",
        f"{checksum}  ./ollama-linux-amd64.tgz\n".encode(),
    )
    web.moved["/releases/latest"] = f"/releases/tag/v{version}"
    web.put(f"/releases/tag/v{version}", b"a page")
    return content


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A mirror with one release."""
    with web_server() as server:
        release(server, "0.33.0")
        yield server


@pytest.fixture
def flm(tmp_path: Path, web: WebServer) -> Flm:
    """A data directory whose settings name the mirror."""
    flm = Flm(tmp_path / "data")
    url = web.url("/releases/download/v{version}/ollama-linux-amd64.tgz")
    flm.tell("config", "set", "engines.ollama.install_url", url)
    return flm


def path_of(flm: Flm) -> str | None:
    """What the setting says."""
    value: str | None = flm.tell("config", "get", "engines.ollama.path")["value"]
    return value


def test_installed_updated_and_uninstalled(flm: Flm, web: WebServer) -> None:
    """The whole life of it, told to a program."""
    root = flm.data / "engines" / "ollama"

    first = flm.tell("engines", "install", "ollama", "--yes")
    assert first["installed_at"]
    del first["installed_at"]
    assert first == {
        "engine": "ollama",
        "version": "0.33.0",
        "path": str(root / "0.33.0/bin/ollama"),
        "changed": True,
        "replaced": None,
        "still_runs": False,
    }
    assert path_of(flm) == first["path"]
    assert (root / "0.33.0/bin/ollama").read_bytes() == PROGRAM.read_bytes()

    release(web, "0.34.0")
    assert flm.tell("engines", "install", "ollama")["changed"] is False
    second = flm.tell("engines", "install", "ollama", "--update")
    assert (second["version"], second["replaced"]) == ("0.34.0", "0.33.0")
    assert path_of(flm) == second["path"]
    assert {each.name for each in root.iterdir()} == {"lock", "current", "0.34.0"}

    assert flm.tell("engines", "uninstall", "ollama") == {
        "engine": "ollama",
        "removed": True,
        "version": "0.34.0",
    }
    assert path_of(flm) is None
    assert not root.exists()
    assert flm.run("engines", "uninstall", "ollama").error["code"] == "not_found"


def test_a_certain_version_is_installed(flm: Flm, web: WebServer) -> None:
    """And nothing but a version, and not both ways at once."""
    release(web, "0.34.0")

    told = flm.tell("engines", "install", "ollama", "--version", "v0.33.0")
    bad = flm.run("engines", "install", "ollama", "--version", "../../x")
    both = flm.run("engines", "install", "ollama", "--version", "0.33.0", "--update")
    other = flm.run("engines", "install", "vllm")

    assert told["version"] == "0.33.0"
    assert bad.error["code"] == "invalid_value"
    assert (both.code, other.code) == (1, 1)
    assert "ollama" in other.err


def test_a_person_reads_tenths_where_no_terminal_is(flm: Flm, web: WebServer) -> None:
    """On stderr; the outcome on stdout. Run again, in Japanese, it has nothing to do."""
    release(web, "0.35.0", os.urandom(3 << 20))

    done = subprocess.run(
        [*FLM, "engines", "install", "ollama", "--data-dir", str(flm.data)],
        capture_output=True,
        text=True,
        env=flm.environ,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"ollama 0.35.0 is installed: {flm.data}/engines/ollama/0.35.0/bin/ollama\n"
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "Asking which versions there are"
    assert re.fullmatch(
        r"Downloading [0-9a-f]{12}-ollama-linux-amd64\.tgz: 0 % \(0 B of 3 MB\)", lines[1]
    )
    assert any(": 100 % (3 MB of 3 MB)" in line for line in lines)
    assert lines[-1] == "`flm engines start ollama` starts it."
    assert len(lines) < 20


def on_a_terminal(
    flm: Flm,
    typed: bytes,
    *argv: str,
    once: Callable[[], bool] | None = None,
    **environ: str,
) -> tuple[int, str]:
    """Run a command on a terminal of its own; its exit code and what was shown.

    As soon as `once` says so, Ctrl-C is pressed.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_A_TERMINAL, *FLM, *argv, "--data-dir", str(flm.data)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**flm.environ, "TERM": "xterm", "COLUMNS": "120", **environ},
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = bytearray()
    reading = threading.Thread(target=_read, args=(ours, shown))
    reading.start()
    if once is not None:
        until(once, "the time for Ctrl-C")
        os.write(ours, b"\x03")
    code = process.wait(60)
    reading.join(10)
    os.close(ours)
    return code, shown.decode()


_AT_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes stdin the controlling terminal, whose Ctrl-C is a signal, and becomes the command."""


def _read(descriptor: int, into: bytearray) -> None:
    """Until the other side is closed, which Linux tells as an error."""
    try:
        while piece := os.read(descriptor, 4_096):
            into.extend(piece)
    except OSError:
        return


def test_on_a_terminal_it_asks_and_shows_a_bar(flm: Flm, web: WebServer) -> None:
    """No means no."""
    no = on_a_terminal(flm, b"n\n", "engines", "install", "ollama")
    assert no[0] == 1
    assert "Nothing was changed." in no[1]
    assert not (flm.data / "engines").exists()

    yes = on_a_terminal(flm, b"\n", "engines", "install", "ollama")
    assert yes[0] == 0
    assert "ollama 0.33.0 is installed" in yes[1]
    assert "━" in yes[1]

    unasked = on_a_terminal(flm, b"", "engines", "install", "ollama", "--update", "--yes")
    assert unasked[0] == 0
    assert "there is no newer one" in unasked[1]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_download_that_is_cut_off_goes_on_in_the_next_run(
    flm: Flm, web: WebServer, ending: signal.Signals
) -> None:
    """Ctrl-C leaves what has come; kill -9 at least what was written."""
    content = release(web, "0.33.0", os.urandom(6 << 20))
    web.cuts, web.hold = [4 << 20], threading.Event()
    running = subprocess.Popen(
        flm.command("engines", "install", "ollama"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=flm.environ,
    )
    folder = flm.data / "engines" / "ollama" / "downloads"
    part = folder / f"{hashlib.sha256(content).hexdigest()[:12]}-ollama-linux-amd64.tgz.part"
    until(lambda: part.exists() and part.stat().st_size > 2 << 20, "some of it")
    running.send_signal(ending)
    _, err = running.communicate(timeout=30)
    web.hold.set()
    came = part.stat().st_size

    told = flm.tell("engines", "install", "ollama")

    assert running.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[ending]
    assert "Traceback" not in err
    assert told["version"] == "0.33.0"
    assert web.ranges_asked()[-1] == f"bytes={came}-"


def test_a_disk_that_takes_no_more_is_told(flm: Flm, web: WebServer) -> None:
    """By the system's own refusal to write; nothing counts, and the next run goes on."""
    release(web, "0.33.0", os.urandom(4 << 20))
    limited = ["sh", "-c", 'ulimit -f 6144; exec "$@"', "sh"]

    done = subprocess.run(
        [*limited, *flm.command("engines", "install", "ollama")],
        capture_output=True,
        text=True,
        env=flm.environ,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert '"code": "disk_full"' in done.stderr
    assert done.stdout == ""
    assert path_of(flm) is None
    assert flm.tell("engines", "install", "ollama")["changed"] is True
    assert (web.ranges_asked()[-1] or "").startswith("bytes=")


def test_a_checksum_that_is_wrong_installs_nothing(flm: Flm) -> None:
    """Even where the settings say so."""
    flm.tell("config", "set", "engines.ollama.install_sha256", "0" * 64)

    ran = flm.run("engines", "install", "ollama")

    assert ran.error["code"] == "checksum_wrong"
    assert not list((flm.data / "engines" / "ollama").glob("0.*"))
    assert path_of(flm) is None


def test_it_is_not_removed_while_it_runs(flm: Flm, web: WebServer) -> None:
    """Started by whomever; an update lets it run and says so."""
    program = flm.tell("engines", "install", "ollama")["path"]
    with started([program, "60"]) as running:
        refused = flm.run("engines", "uninstall", "ollama")
        release(web, "0.34.0")
        updated = flm.tell("engines", "install", "ollama", "--update")
        assert Path(program).exists()
        running.kill()

    assert refused.error["code"] == "engine_running"
    assert (updated["replaced"], updated["still_runs"]) == ("0.33.0", True)
    assert flm.tell("engines", "uninstall", "ollama")["version"] == "0.34.0"
    assert not Path(program).exists()


class NothingFound:
    """A machine on which nothing is found, whatever else runs on this one."""

    def known(self) -> Found:
        return Found((), ())

    detect = known


def test_without_an_engine_ollama_is_offered(
    flm: Flm, web: WebServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails is told and asked again; then it is installed, and FLM serves nothing yet."""
    web.statuses = [(403, {})]
    answers = iter(["5", "5"])
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is not sys.stderr)
    monkeypatch.setattr(output, "ask", lambda question: next(answers))
    session = Session(flm.environ, load("en"))

    with flm.services() as services:
        services.__dict__["detection"] = NothingFound()
        demo = offer.wanted(session, services)

    shown = capsys.readouterr().err
    assert demo is False
    assert shown.count("5  install Ollama for yourself") == 2
    assert "was refused: HTTP 403." in shown
    assert "ollama 0.33.0 is installed. Serving nothing yet" in shown
    assert (path_of(flm) or "").endswith("/0.33.0/bin/ollama")


def test_what_is_installed_is_told_with_what_starts_it(
    flm: Flm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By FLM, once it serves; what lies on Windows' side is not FLM's to start."""
    monkeypatch.setattr(output, "is_terminal", lambda stream: False)
    beyond = Finding(code="other_side", message="{program} is in Windows.", remedy="Open it.",
                     values={"program": "ollama.exe"}, level="note")  # fmt: skip

    class Installed(NothingFound):
        """Two programs here, one in Windows."""

        def known(self) -> Found:
            """None of them runs."""
            engines = [
                Engine(id=EngineId(kind), kind=kind, state=InstalledOnly())
                for kind in ("vllm", "lmstudio")
            ]
            there = Engine(
                id=EngineId("ollama"), kind="ollama", state=InstalledOnly(), findings=(beyond,)
            )
            return Found((*engines, there), ())

        detect = known

    with flm.services() as services:
        services.__dict__["detection"] = Installed()
        assert offer.wanted(Session(flm.environ, load("en")), services) is False

    lines = capsys.readouterr().err.splitlines()
    assert all(product in lines[0] for product in ("vLLM", "LM Studio", "text-generation-webui"))
    assert lines[1:5] == [
        (
            "vllm is installed but does not run. `flm engines start vllm -- MODEL` starts it, in "
            "another terminal and once FLM serves."
        ),
        (
            "lmstudio is installed but does not run. `flm engines start lmstudio` starts it, in "
            "another terminal and once FLM serves."
        ),
        "ollama.exe is in Windows.",
        "Open it.",
    ]
    assert "`flm engines start NAME`" in lines[5]


def test_ctrl_c_on_a_terminal_ends_it_at_once(flm: Flm, web: WebServer) -> None:
    """In the middle of the download: no traceback, and the part stays."""
    release(web, "0.33.0", os.urandom(4 << 20))
    web.cuts, web.hold = [3 << 20], threading.Event()
    downloads = flm.data / "engines" / "ollama" / "downloads"

    def begun() -> bool:
        return any(part.stat().st_size for part in downloads.glob("*.part"))

    code, shown = on_a_terminal(flm, b"", "engines", "install", "ollama", "--yes", once=begun)

    assert code == 130
    assert "Traceback" not in shown
    assert begun()
