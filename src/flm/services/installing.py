"""Engines that FLM installs for the user, without rights that the user does not have.

A version counts when `services.programs.ProgramFolder` and the setting `engines.<engine>.path`
name it; whatever fails before that leaves what was. Nothing that was downloaded is run.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from flm.domain.engines import EngineId
from flm.domain.sizes import size_text
from flm.domain.versions import is_older
from flm.errors import N_, Conflict, FlmError, NotFound, UserError
from flm.ports.clock import Clock
from flm.ports.downloads import Downloads
from flm.ports.engines import Progress, Step
from flm.ports.processes import Lock
from flm.ports.releases import Archive, Release, Releases, RunningFrom, Unpack
from flm.services.programs import Installed, ProgramFolder, remove
from flm.tasks import in_thread

LARGEST_ARCHIVE = 16 << 30
"""No engine's archive comes near 16 GiB; Ollama's are below 2."""

_SHOWN = 10 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an installation ended. ``program``: where it is; ``replaced``: the version before;
    ``still_runs``: that one still runs, from its old folder, which stays until the next time.
    """

    installed: Installed
    program: Path
    changed: bool
    replaced: str | None = None
    still_runs: bool = False


class PathSetting(Protocol):
    """The setting that says where an engine's program is, '' when nothing is set."""

    def get(self) -> str:
        """What is set."""
        ...

    def set(self, path: str) -> None:
        """Store it; returns when what runs applies it."""
        ...

    def reset(self) -> None:
        """Forget what is stored."""
        ...


class _Stopped(Exception):
    """The user went away while an archive was unpacked."""


class Installer:
    """Installs, updates and removes one engine.

    ``root``: its folder; ``releases`` is called when it is known that something is to be
    fetched; ``lock`` as `Processes.lock`; ``owned``: whether what runs for this data directory
    has started the engine; ``running_from``: who runs from a folder.
    """

    def __init__(
        self,
        engine: EngineId,
        root: Path,
        *,
        releases: Callable[[], Releases],
        downloads: Downloads,
        unpack: Unpack,
        setting: PathSetting,
        lock: Callable[[Path], Lock | None],
        owned: Callable[[], bool],
        running_from: RunningFrom,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._folder = ProgramFolder(root, running_from)
        self._releases = releases
        self._downloads = downloads
        self._unpack = unpack
        self._setting = setting
        self._lock = lock
        self._owned = owned
        self._clock = clock

    @property
    def root(self) -> Path:
        """Where it installs to."""
        return self._folder.root

    def installed(self) -> Installed | None:
        """What FLM installed and is there, None when that is nothing."""
        return self._folder.current()

    async def install(self, version: str | None, *, update: bool, progress: Progress) -> Outcome:
        """Have the engine here.

        ``version`` None: the newest, and only when none is here yet or with ``update``. Raises
        `Conflict` while another does the same or the user has set a program of their own, and
        what `Downloads`, `Releases` and the disk say; what was there before is there still then.
        """
        with self._alone():
            self._check_setting()
            self._mend()
            have = self.installed()
            if have is not None and version is None and not update:
                return self._unchanged(have)
            progress(Step(N_("Asking which versions there are")))
            releases = self._releases()
            release = await releases.find(version)
            if have is not None and _stays(have.version, release.version, version):
                return self._unchanged(have)
            new = await self._replace(have, release, releases.programs, progress)
            self._tidy_up()
            return Outcome(
                installed=new,
                program=self._folder.program(new),
                changed=True,
                replaced=have.version if have else None,
                still_runs=have is not None and self._folder.version(have.version).exists(),
            )

    def uninstall(self) -> Installed | None:
        """Remove what FLM installed; what that was, None when only leftovers were there.

        Raises `NotFound` when there is nothing, `Conflict` while it runs.
        """
        if not self.root.exists():
            raise NotFound(
                N_("FLM has not installed {engine}."),
                remedy=N_("What was installed in another way is removed in that way."),
                engine=self._engine,
            )
        with self._alone():
            have = self.installed()
            ours = self._folder.holds(self._setting.get())
            if self._folder.running() or (ours and self._owned()):
                raise self._runs()
            if ours:
                self._setting.reset()
            with self._writing():
                self._folder.clear()
        self._folder.leave()
        return have

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._writing():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock(self._folder.lock)
        if lock is None:
            raise Conflict(
                N_("{engine} is being installed or removed already."),
                remedy=N_("Wait until that is done."),
                code="install_running",
                engine=self._engine,
            )
        try:
            yield
        finally:
            lock.release()

    def _check_setting(self) -> None:
        path = self._setting.get()
        if path and not self._folder.holds(path):
            raise Conflict(
                N_("engines.{engine}.path says {path}: that program is used, not one of FLM's."),
                remedy=N_("Run `flm config set engines.{engine}.path --default` to change that."),
                code="path_is_set",
                engine=self._engine,
                path=path,
            )

    def _mend(self) -> None:
        """What a run that was cut short left is removed, and the setting names what counts."""
        with self._writing():
            self._folder.sweep()
        have = self.installed()
        if have is not None and self._setting.get() != str(self._folder.program(have)):
            self._setting.set(str(self._folder.program(have)))

    async def _replace(
        self,
        have: Installed | None,
        release: Release,
        programs: tuple[str, ...],
        progress: Progress,
    ) -> Installed:
        """Fetch, check, unpack, and only then have the new version count."""
        if self._folder.version(release.version).exists():  # the sweep let it be
            raise self._runs()
        with self._writing(), self._folder.draft(release.version) as draft:
            for archive in release.archives:
                await self._put(archive, draft, progress)
            new = Installed(
                version=release.version,
                program=self._program(draft, programs, release),
                sha256=tuple(archive.sha256 for archive in release.archives),
                installed_at=self._clock.now(),
            )
            self._switch(draft, new, have)
        return new

    async def _put(self, archive: Archive, draft: Path, progress: Progress) -> None:
        """Fetch an archive and unpack it; one that cannot be used is not kept."""
        file = self._folder.downloads / f"{archive.sha256[:12]}-{archive.name}"
        await self._downloads.download(
            archive.url, file, sha256=archive.sha256, progress=progress, limit=LARGEST_ARCHIVE
        )
        stop = threading.Event()

        def told(size: int) -> None:
            if stop.is_set():
                raise _Stopped
            shown = size_text(size // _SHOWN * _SHOWN)
            progress(Step(N_("Unpacking {name}: {size}"), {"name": archive.name, "size": shown}))

        try:
            await in_thread(lambda: self._unpack(file, draft, told), stop.set)
        except FlmError:
            file.unlink(missing_ok=True)
            raise

    def _program(self, draft: Path, programs: tuple[str, ...], release: Release) -> str:
        """Where the program is in the unpacked folder; it is executable then."""
        for name in programs:
            program = draft / name
            if program.is_file():
                program.chmod(0o700)
                return name
        raise UserError(
            N_("There is no {engine} in {archive}."),
            remedy=N_("Check the address and the version."),
            code="archive_without_program",
            engine=self._engine,
            archive=release.archives[0].name,
        )

    def _switch(self, draft: Path, new: Installed, have: Installed | None) -> None:
        """Make the folder the one that counts, or leave everything as it was."""
        folder = self._folder.version(new.version)
        draft.rename(folder)
        try:
            self._folder.point_to(new)
            self._setting.set(str(self._folder.program(new)))
        except BaseException:  # Ctrl-C too: half switched, no Ollama would be found
            with contextlib.suppress(OSError):
                self._folder.point_to(have)
            with contextlib.suppress(FlmError):
                self._set_back(have)
            with contextlib.suppress(OSError):
                remove(folder)
            raise

    def _set_back(self, have: Installed | None) -> None:
        if have is None:
            self._setting.reset()
        else:
            self._setting.set(str(self._folder.program(have)))

    def _tidy_up(self) -> None:
        """The archives go, and older versions that nobody runs; what stays is swept next time."""
        with contextlib.suppress(OSError):
            remove(self._folder.downloads)
            self._folder.sweep()

    def _unchanged(self, have: Installed) -> Outcome:
        return Outcome(installed=have, program=self._folder.program(have), changed=False)

    def _runs(self) -> Conflict:
        return Conflict(
            N_("{engine} runs."),
            remedy=N_("Stop it with `flm engines stop {engine}` and try again."),
            code="engine_running",
            engine=self._engine,
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What the disk says, in a sentence."""
        try:
            yield
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UserError:
        if error.errno in _FULL:
            return UserError(
                N_("The disk is full: {free} are free in {folder}, too little for {engine}."),
                remedy=N_("Make room and run it again; nothing was changed."),
                code="disk_full",
                free=size_text(shutil.disk_usage(self.root).free),
                folder=self.root,
                engine=self._engine,
            )
        return UserError(
            N_("{path} cannot be written: {reason}."),
            remedy=N_("Check the folder and its permissions; nothing was changed."),
            code="cannot_write",
            path=error.filename or self.root,
            reason=error.strerror or str(error),
        )


def _stays(here: str, found: str, asked: str | None) -> bool:
    """Whether the version that is here is the one, or nobody asked for the older one."""
    return found == here or (asked is None and is_older(found, here))
