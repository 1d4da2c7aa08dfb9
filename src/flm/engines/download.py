"""Large files from the web: resumed, checked, never half under their own name."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from flm.domain.sizes import size_text
from flm.engines.part import Part, beside, size_of
from flm.engines.resuming import match, missing
from flm.engines.web import ENDED_EARLY, LineDropped, Web, shown
from flm.errors import N_, Conflict, UserError
from flm.ports.clock import Clock
from flm.ports.downloads import LARGEST
from flm.ports.engines import Progress, Step
from flm.ports.processes import Lock
from flm.tasks import in_thread

if TYPE_CHECKING:
    import aiohttp

TRIES = 5
"""So many times in a row without a byte, and the download is given up."""
ATTEMPTS = 100
"""So many connections at most for one download, however little each brings."""

_BLOCK = 1 << 20
_TOLD_SECONDS = 0.1
_LONGEST_PAUSE = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Result = TypeVar("Result")


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is fetched, and who is told."""

    url: str
    target: Path
    sha256: str | None
    progress: Progress
    limit: int

    @property
    def name(self) -> str:
        """What it is called to people."""
        return self.target.name


def free_bytes(folder: Path) -> int:
    """What this user may still write there."""
    return shutil.disk_usage(folder).free


class Downloader:
    """Implements `flm.ports.downloads.Downloads`.

    ``lock``: as `Processes.lock`; ``pause`` waits between two tries; ``free`` tells the bytes
    that are free in a folder.
    """

    def __init__(
        self,
        web: Web,
        lock: Callable[[Path], Lock | None],
        clock: Clock,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._web = web
        self._lock = lock
        self._clock = clock
        self._pause = pause
        self._free = free

    async def download(
        self,
        url: str,
        target: Path,
        *,
        sha256: str | None,
        progress: Progress,
        limit: int = LARGEST,
    ) -> int:
        """Have the file at `url` as `target`; see `flm.ports.downloads.Downloads.download`."""
        expected = sha256.lower() if sha256 is not None else None
        job = _Job(url=url, target=target, sha256=expected, progress=progress, limit=limit)
        part: Part | None = None
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone(target):
                there = await in_thread(lambda: size_of(target, expected))
                if there is not None:
                    return there
                part = await in_thread(lambda: Part.open(target))
                try:
                    return await self._complete(part, job)
                finally:
                    part.close()
        except OSError as error:
            wanted = part.origin.total - part.size if part is not None else 0
            raise self._disk_trouble(job, wanted, error) from error

    async def read(self, url: str, limit: int) -> bytes:
        """A small file; see `flm.ports.downloads.Downloads.read`."""

        async def once() -> bytes:
            content = bytearray()
            async with self._web.get(url) as answer:
                async for chunk in answer.content.iter_any():
                    content += chunk
                    if len(content) > limit:
                        raise _too_large(url, limit)
            return bytes(content)

        return await self._again(once, url)

    async def landing(self, url: str) -> str:
        """Where `url` leads to; see `flm.ports.downloads.Downloads.landing`."""

        async def once() -> str:
            async with self._web.get(url) as answer:
                return str(answer.url)

        return await self._again(once, url)

    def _disk_trouble(self, job: _Job, wanted: int, error: OSError) -> UserError:
        """In a sentence what the disk says."""
        if error.errno in _FULL:
            free = 0
            with contextlib.suppress(OSError):
                free = self._free(job.target.parent)
            return _disk_full(job, wanted, free)
        return UserError(
            N_("{path} cannot be written: {reason}."),
            remedy=N_("Check the folder and its permissions."),
            code="cannot_write",
            path=job.target,
            reason=error.strerror or str(error),
        )

    async def _again(self, once: Callable[[], Awaitable[Result]], url: str) -> Result:
        for tried in range(1, TRIES):
            try:
                return await once()
            except LineDropped as error:
                await self._pause(_seconds(tried, error))
        try:
            return await once()
        except LineDropped as error:
            raise UserError(
                N_("{url} did not answer: {reason}."),
                remedy=N_("Check the connection, and run it again."),
                code="download_interrupted",
                url=shown(url),
                reason=error.why,
            ) from error

    @contextlib.contextmanager
    def _alone(self, target: Path) -> Iterator[None]:
        """Nobody else fetches the same meanwhile. Raises `Conflict`."""
        path = beside(target, ".part.lock")
        lock = self._lock(path)
        if lock is None:
            raise Conflict(
                N_("{name} is being downloaded already."),
                remedy=N_("Wait until that is done, or stop it."),
                code="download_running",
                name=target.name,
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file; it stays, unlocked
                path.unlink(missing_ok=True)
            lock.release()

    async def _complete(self, part: Part, job: _Job) -> int:
        if job.sha256 is None or part.sha256 != job.sha256:
            await self._fill(part, job)
        if job.sha256 is not None and part.sha256 != job.sha256:
            found = part.sha256
            await in_thread(part.discard)
            raise UserError(
                N_("{name} is not what it should be: its checksum is {found}, not {expected}."),
                remedy=N_("It was removed. Check the checksum and the address, and try again."),
                code="checksum_wrong",
                name=job.name,
                found=found,
                expected=job.sha256,
            )
        size = part.size
        await in_thread(part.finish)
        return size

    async def _fill(self, part: Part, job: _Job) -> None:
        """Connect again and again until the part is whole."""
        in_vain = 0
        for attempt in range(1, ATTEMPTS + 1):
            before = part.size
            try:
                await self._go_on(part, job)
                return
            except LineDropped as error:
                in_vain = 1 if part.size > before else in_vain + 1
                if in_vain >= TRIES or attempt == ATTEMPTS:
                    raise _interrupted(job, error) from error
                seconds = _seconds(in_vain, error)
            job.progress(
                Step(
                    N_("The line dropped; going on with {name} in {seconds} s"),
                    {"name": job.name, "seconds": f"{seconds:.0f}"},
                    part.size,
                    part.origin.total,
                )
            )
            await self._pause(seconds)

    async def _go_on(self, part: Part, job: _Job) -> None:
        """One connection: what it brings is in the part, however it ends."""
        headers = missing(part, job.url, checked=job.sha256 is not None)
        async with self._web.get(job.url, headers) as answer:
            if not await in_thread(lambda: match(part, job.url, answer)):
                return
            if max(part.origin.total, part.size) > job.limit:
                raise _too_large(job.url, job.limit)
            wanted = part.origin.total - part.size
            if wanted > (free := self._free(job.target.parent)):
                raise _disk_full(job, wanted, free)
            await self._take(part, job, answer)
        total = part.origin.total
        if total and part.size > total:
            await in_thread(part.discard)
            raise UserError(
                N_("{name} is {found} bytes long, where {expected} were announced."),
                remedy=N_("It was removed. Check the address, and try again."),
                code="download_wrong_size",
                name=job.name,
                found=part.size,
                expected=total,
            )
        if part.size < total:
            raise LineDropped(UserError(ENDED_EARLY))

    async def _take(self, part: Part, job: _Job, answer: aiohttp.ClientResponse) -> None:
        buffer = bytearray()
        told = self._tell(part, job, 0, -1.0)
        try:
            async for chunk in answer.content.iter_any():
                buffer += chunk
                if part.size + len(buffer) > job.limit:
                    raise _too_large(job.url, job.limit)
                told = self._tell(part, job, len(buffer), told)
                if len(buffer) >= _BLOCK:
                    block, buffer = bytes(buffer), bytearray()
                    await in_thread(lambda data=block: part.write(data))  # type: ignore[misc]
        finally:
            if buffer:
                part.write(bytes(buffer))  # less than a block, and nobody may cancel it
        self._tell(part, job, 0, -1.0)

    def _tell(self, part: Part, job: _Job, more: int, told: float) -> float:
        """Report how far it is, not too often; when that was last done."""
        now = self._clock.monotonic()
        if told >= 0 and now - told < _TOLD_SECONDS:
            return told
        job.progress(
            Step(N_("Downloading {name}"), {"name": job.name}, part.size + more, part.origin.total)
        )
        return now


def _seconds(in_vain: int, error: LineDropped) -> float:
    """How long to wait before the next try."""
    return min(_LONGEST_PAUSE, max(error.after, float(1 << (in_vain - 1))))


def _interrupted(job: _Job, error: LineDropped) -> UserError:
    return UserError(
        N_("The download of {name} broke off: {reason}."),
        remedy=N_("What has come is kept: run it again to go on."),
        code="download_interrupted",
        name=job.name,
        reason=error.why,
    )


def _too_large(url: str, limit: int) -> UserError:
    return UserError(
        N_("{url} holds more than the {limit} that are taken."),
        remedy=N_("Check the address."),
        code="download_too_large",
        url=shown(url),
        limit=size_text(limit),
    )


def _disk_full(job: _Job, wanted: int, free: int) -> UserError:
    return UserError(
        N_("The disk is full: {name} needs {wanted} more, and {free} are free in {folder}."),
        remedy=N_("Make room and run it again; what has come is kept."),
        code="disk_full",
        name=job.name,
        wanted=size_text(wanted) if wanted > 0 else "?",
        free=size_text(free),
        folder=job.target.parent,
    )
