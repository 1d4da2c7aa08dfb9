"""Installing over a real web server and a real disk: all or nothing, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.web_server import WebServer, web_server

from flm.domain.engines import EngineId
from flm.engines.archives import unpack
from flm.engines.download import Downloader
from flm.engines.ollama.install import OllamaReleases
from flm.engines.web import Web
from flm.errors import Conflict, FlmError, NotFound, StoreError
from flm.ports.clock import SystemClock
from flm.ports.engines import Step
from flm.ports.processes import current
from flm.services.installing import Installer, Outcome


class StoredPath:
    """The setting, in memory; ``broken``: it cannot be stored."""

    def __init__(self) -> None:
        self.value = ""
        self.broken = False

    def get(self) -> str:
        return self.value

    def set(self, path: str) -> None:
        if self.broken:
            raise StoreError("the database is locked")
        self.value = path

    def reset(self) -> None:
        self.value = ""


class World:
    """An installer over a server with releases, and what it stands on."""

    def __init__(self, web: WebServer, root: Path) -> None:
        self.web = web
        self.root = root
        self.setting = StoredPath()
        self.owned = False
        self.running: Callable[[Path], tuple[int, ...]] = lambda folder: ()
        self.unpack: Callable[[Path, Path, Callable[[int], None]], None] = unpack
        self.steps: list[Step] = []

    @property
    def installer(self) -> Installer:
        """An installer as a new process has it."""
        downloads = Downloader(Web({}), current(None).lock, SystemClock(), pause=no_time)
        url = self.web.url("/releases/download/v{version}/ollama-{system}-{machine}.tgz")
        return Installer(
            EngineId("ollama"),
            self.root,
            releases=lambda: OllamaReleases(
                downloads, url=url, sha256="", system="linux", machine="x86_64", amd=False
            ),
            downloads=downloads,
            unpack=self.unpack,
            setting=self.setting,
            lock=current(None).lock,
            owned=lambda: self.owned,
            running_from=self.running,
            clock=SystemClock(),
        )

    def release(self, version: str, newest: bool = True, **more: bytes) -> None:
        """Publish a version whose program says so."""
        content = packed({"bin/ollama": f"#!/bin/sh\necho {version}\n".encode(), **more})
        folder = f"/releases/download/v{version}"
        checksum = self.web.put(f"{folder}/ollama-linux-amd64.tgz", content)
        self.web.put(f"{folder}/sha256sum.txt", f"{checksum}  ./ollama-linux-amd64.tgz\n".encode())
        if newest:
            self.web.moved["/releases/latest"] = f"/releases/tag/v{version}"
            self.web.put(f"/releases/tag/v{version}", b"a page")

    async def install(self, version: str | None = None, *, update: bool = False) -> Outcome:
        """Install and remember the steps."""
        return await self.installer.install(version, update=update, progress=self.steps.append)

    async def failing(self, version: str | None = None, *, update: bool = False) -> FlmError:
        """The error that an installation ends with."""
        with pytest.raises(FlmError) as raised:
            await self.install(version, update=update)
        return raised.value

    def names(self) -> set[str]:
        """What lies in the folder."""
        return {each.name for each in self.root.iterdir()}

    def is_untouched(self, version: str) -> bool:
        """Whether exactly that version is here and counts, with the setting naming it."""
        program = self.root / version / "bin/ollama"
        installed = self.installer.installed()
        return (
            installed is not None
            and installed.version == version
            and self.setting.value == str(program)
            and program.read_bytes() == f"#!/bin/sh\necho {version}\n".encode()
            and self.names() <= {"lock", "current", "downloads", version}
        )


async def no_time(seconds: float) -> None:
    """Pauses take no time here."""


def packed(files: dict[str, bytes]) -> bytes:
    """A gzipped tar of these files, all executable."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return plain.getvalue()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Version 0.33.0 is published; nothing is installed."""
    with web_server() as web:
        world = World(web, tmp_path / "engines" / "ollama")
        world.release("0.33.0")
        yield world


async def test_the_newest_is_installed_and_the_setting_names_it(world: World) -> None:
    """Private, executable, and nothing of the download is left."""
    outcome = await world.install()

    assert outcome.changed
    assert outcome.replaced is None
    assert outcome.installed.version == "0.33.0"
    assert outcome.program == world.root / "0.33.0/bin/ollama"
    assert os.access(outcome.program, os.X_OK)
    assert world.is_untouched("0.33.0")
    assert world.names() == {"lock", "current", "0.33.0"}
    assert (world.root / "0.33.0").stat().st_mode & 0o077 == 0
    assert world.steps[0].doing == "Asking which versions there are"


async def test_installed_already_is_said_without_asking_anybody(world: World) -> None:
    """Not even when a newer one is there."""
    await world.install()
    world.release("0.34.0")
    asked = len(world.web.asked)

    outcome = await world.install()

    assert (outcome.changed, outcome.installed.version) == (False, "0.33.0")
    assert len(world.web.asked) == asked


async def test_an_update_replaces_the_old_one(world: World) -> None:
    """And there is nothing to do the second time."""
    await world.install()
    world.release("0.34.0")

    outcome = await world.install(update=True)
    again = await world.install(update=True)

    assert (outcome.changed, outcome.replaced, outcome.still_runs) == (True, "0.33.0", False)
    assert world.is_untouched("0.34.0")
    assert world.names() == {"lock", "current", "0.34.0"}
    assert (again.changed, again.installed.version) == (False, "0.34.0")


async def test_an_update_with_nothing_installed_installs(world: World) -> None:
    """What else should it do."""
    assert (await world.install(update=True)).changed


async def test_an_older_version_comes_only_when_it_is_asked_for(world: World) -> None:
    """The newest of a mirror may be behind."""
    world.release("0.32.0", newest=False)
    await world.install()
    world.web.moved["/releases/latest"] = "/releases/tag/v0.32.0"
    world.web.put("/releases/tag/v0.32.0", b"a page")

    kept = await world.install(update=True)
    outcome = await world.install("v0.32.0")

    assert not kept.changed
    assert outcome.replaced == "0.33.0"
    assert world.is_untouched("0.32.0")


async def test_a_version_that_is_not_there_changes_nothing(world: World) -> None:
    """404 is told as it is."""
    await world.install()

    error = await world.failing("9.9.9")

    assert error.code == "checksum_unknown"
    assert world.is_untouched("0.33.0")


async def test_a_wrong_checksum_changes_nothing(world: World) -> None:
    """And nothing of it is kept."""
    await world.install()
    world.release("0.34.0")
    world.web.put(
        "/releases/download/v0.34.0/ollama-linux-amd64.tgz", packed({"bin/ollama": b"evil"})
    )

    error = await world.failing(update=True)

    assert error.code == "checksum_wrong"
    assert world.is_untouched("0.33.0")
    assert list((world.root / "downloads").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (packed({"../../../outside": b"x"}), "archive_unsafe"),
        (packed({"readme": b"x"}), "archive_without_program"),
        (packed({"bin/ollama": b"x" * 9_000})[:-200], "archive_damaged"),
    ],
)
async def test_an_archive_that_cannot_be_used_changes_nothing(
    world: World, content: bytes, code: str, tmp_path: Path
) -> None:
    """Its checksum may be right all the same."""
    await world.install()
    folder = "/releases/download/v0.34.0"
    checksum = world.web.put(f"{folder}/ollama-linux-amd64.tgz", content)
    world.web.put(f"{folder}/sha256sum.txt", f"{checksum}  ollama-linux-amd64.tgz".encode())

    error = await world.failing("0.34.0")

    assert error.code == code
    assert world.is_untouched("0.33.0")
    assert not (tmp_path / "outside").exists()


async def test_a_download_that_was_cut_short_is_gone_on_with(world: World) -> None:
    """By another process, from where it was."""
    content = world.web.files["/releases/download/v0.33.0/ollama-linux-amd64.tgz"]
    name = f"{hashlib.sha256(content).hexdigest()[:12]}-ollama-linux-amd64.tgz.part"
    (world.root / "downloads").mkdir(parents=True)
    (world.root / "downloads" / name).write_bytes(content[:50])

    await world.install()

    assert world.is_untouched("0.33.0")
    assert world.web.ranges_asked()[-1] == "bytes=50-"


async def test_a_setting_that_cannot_be_stored_rolls_back(world: World) -> None:
    """Nothing installed before, and with something installed."""
    world.setting.broken = True
    first = await world.failing()
    assert world.installer.installed() is None
    assert not (world.root / "0.33.0").exists()

    world.setting.broken = False
    await world.install()
    world.release("0.34.0")
    world.setting.broken = True
    second = await world.failing(update=True)

    assert (first.code, second.code) == ("store_error", "store_error")
    assert world.is_untouched("0.33.0")
    world.setting.broken = False
    assert (await world.install(update=True)).installed.version == "0.34.0"


@pytest.mark.parametrize("at", ["rename", "replace"])
async def test_a_rename_that_fails_rolls_back(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's, and that of the file that names it."""
    await world.install()
    world.release("0.34.0")
    real = getattr(Path, at)

    def fails(self: Path, target: Path) -> Path:
        if self.name in ("0.34.0.new", "current.new"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        result: Path = real(self, target)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Path, at, fails)
        error = await world.failing(update=True)

    assert error.code == "cannot_write"
    assert world.is_untouched("0.33.0")
    assert (await world.install(update=True)).installed.version == "0.34.0"
    assert world.is_untouched("0.34.0")


async def test_a_disk_that_runs_full_while_unpacking_rolls_back(world: World) -> None:
    """The archive is kept, so that it is not fetched again."""
    await world.install()
    world.release("0.34.0")

    def full(archive: Path, folder: Path, told: Callable[[int], None]) -> None:
        (folder / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.unpack = full
    error = await world.failing(update=True)
    world.unpack = unpack
    assert error.code == "disk_full"
    assert world.is_untouched("0.33.0")
    assert "0.34.0.new" not in world.names()

    fetched = len(
        [path for path in world.web.paths() if path.endswith("v0.34.0/ollama-linux-amd64.tgz")]
    )
    await world.install(update=True)
    assert world.is_untouched("0.34.0")
    assert fetched == 1
    assert world.web.paths()[-1].endswith("sha256sum.txt")


async def test_ctrl_c_while_unpacking_leaves_nothing_half(world: World) -> None:
    """The thread is waited for before its folder is removed."""
    began, ended = threading.Event(), threading.Event()

    def slow(archive: Path, folder: Path, told: Callable[[int], None]) -> None:
        try:
            for size in range(100_000):
                told(size)
                (folder / "half").write_bytes(b"x")
                began.set()
        finally:
            ended.set()

    world.unpack = slow
    running = asyncio.ensure_future(world.install())
    await asyncio.to_thread(began.wait, 10)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    assert running.cancelled()
    assert ended.is_set()
    assert world.names() == {"lock", "downloads"}
    assert world.setting.value == ""


async def test_what_a_killed_run_left_is_swept_and_mended(world: World) -> None:
    """Half a folder; a version that nothing names; a setting that was not set in time."""
    await world.install()
    (world.root / "0.34.0.new" / "bin").mkdir(parents=True)
    (world.root / "0.31.0").mkdir()
    (world.root / "current.new").write_text("{")
    world.setting.value = str(world.root / "0.31.0/bin/ollama")

    outcome = await world.install()

    assert not outcome.changed
    assert world.is_untouched("0.33.0")


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "\x00\xff"])
async def test_a_damaged_record_counts_as_nothing_installed(world: World, text: str) -> None:
    """And is replaced by the next installation."""
    await world.install()
    (world.root / "current").write_bytes(text.encode())

    assert world.installer.installed() is None
    assert (await world.install()).changed
    assert world.is_untouched("0.33.0")


async def test_a_program_that_somebody_removed_is_installed_again(world: World) -> None:
    """What is not there does not count."""
    await world.install()
    (world.root / "0.33.0/bin/ollama").unlink()

    assert (await world.install()).changed
    assert world.is_untouched("0.33.0")


async def test_an_update_under_a_running_engine_lets_it_run(world: World) -> None:
    """Its folder stays until it has ended and somebody comes by again."""
    await world.install()
    world.release("0.34.0")
    world.running = lambda folder: (4711,) if folder.name == "0.33.0" else ()

    outcome = await world.install(update=True)
    assert (outcome.still_runs, outcome.replaced) == (True, "0.33.0")
    assert (world.root / "0.33.0/bin/ollama").exists()
    back = await world.failing("0.33.0")
    assert back.code == "engine_running"

    world.running = lambda folder: ()
    await world.install()
    assert world.is_untouched("0.34.0")


async def test_a_program_of_the_users_own_is_not_replaced(world: World) -> None:
    """They have set it; they unset it."""
    world.setting.value = "/opt/ollama/bin/ollama"

    error = await world.failing()

    assert error.code == "path_is_set"
    assert world.setting.value == "/opt/ollama/bin/ollama"
    assert world.web.asked == []


async def test_two_at_once_do_not_disturb_each_other(world: World) -> None:
    """The second is told."""
    go = threading.Event()

    def waits(archive: Path, folder: Path, told: Callable[[int], None]) -> None:
        go.wait(10)
        unpack(archive, folder, told)

    world.unpack = waits
    first = asyncio.ensure_future(world.install())
    while "0.33.0.new" not in (world.names() if world.root.exists() else set()):
        await asyncio.sleep(0.01)
    error = await world.failing()
    with pytest.raises(Conflict):
        world.installer.uninstall()
    go.set()
    await first

    assert error.code == "install_running"
    assert world.is_untouched("0.33.0")


async def test_uninstalled_nothing_is_left(world: World) -> None:
    """Neither files nor the setting; once more there is nothing to remove."""
    await world.install()

    was = world.installer.uninstall()

    assert was is not None
    assert was.version == "0.33.0"
    assert world.setting.value == ""
    assert not world.root.exists()
    with pytest.raises(NotFound):
        world.installer.uninstall()


async def test_it_is_not_removed_while_it_runs(world: World) -> None:
    """Whether this FLM started it or somebody by hand."""
    await world.install()
    world.owned = True
    with pytest.raises(Conflict, match="runs"):
        world.installer.uninstall()
    world.owned = False
    world.running = lambda folder: (4711,)
    with pytest.raises(Conflict, match="runs"):
        world.installer.uninstall()

    assert world.is_untouched("0.33.0")


async def test_a_setting_of_the_users_own_survives_the_removal(world: World) -> None:
    """It names another program."""
    await world.install()
    world.setting.value = "/opt/ollama/bin/ollama"

    world.installer.uninstall()

    assert world.setting.value == "/opt/ollama/bin/ollama"
    assert not world.root.exists()


async def test_leftovers_of_a_broken_download_are_removed_too(world: World) -> None:
    """Nothing was installed, but something was there."""
    (world.root / "downloads").mkdir(parents=True)

    assert world.installer.uninstall() is None
    assert not world.root.exists()
