"""The downloader against a real web server: whole, resumed, checked, or a sentence why not."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from tests.support.downloads import CONTENT, Waiting, failing, nobody, sum_of
from tests.support.web_server import WebServer, web_server

from flm.engines import part as part_module
from flm.engines.download import Downloader
from flm.engines.part import Part
from flm.engines.web import Web
from flm.errors import Conflict, FlmError
from flm.ports.clock import SystemClock
from flm.ports.engines import Step
from flm.ports.processes import current


class EveryLook:
    """A clock in which a second passes between two looks, so that every step is told."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self._seconds += 1
        return self._seconds


class Taking:
    """Lets the line drop as soon as what was sent has come."""

    def __init__(self, web: WebServer) -> None:
        self._hold = web.hold = threading.Event()
        self._done = 0

    def __call__(self, step: Step) -> None:
        if step.done > self._done:
            self._done = step.done
            self._hold.set()


@pytest.fixture
def watching(waiting: Waiting) -> Downloader:
    """A downloader that tells every step."""
    return Downloader(Web({}), current(None).lock, EveryLook(), pause=waiting)


async def test_a_file_is_whole_private_and_alone(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """0600, and nothing of the download is left beside it."""
    size = await downloader.download(
        web.url("/file.bin"), target, sha256=sum_of(CONTENT).upper(), progress=nobody
    )

    assert size == 10_240
    assert target.read_bytes() == CONTENT
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [each.name for each in target.parent.iterdir()] == ["file.bin"]


async def test_progress_begins_at_nothing_and_ends_at_the_whole(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """With the total that was announced."""
    steps: list[Step] = []

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=steps.append)

    assert (steps[0].done, steps[0].total, steps[0].values) == (0, 10_240, {"name": "file.bin"})
    assert (steps[-1].done, steps[-1].total) == (10_240, 10_240)


@pytest.mark.parametrize("cut", [1, 2, 255, 4_096, 10_239])
@pytest.mark.parametrize("validators", ["etag", "date", "weak", "none"])
async def test_a_line_that_drops_anywhere_is_taken_up_there(
    web: WebServer, watching: Downloader, target: Path, cut: int, validators: str
) -> None:
    """Whatever the server says of the version: the checksum holds."""
    web.cuts, web.validators = [cut], validators

    await watching.download(
        web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=Taking(web)
    )

    assert target.read_bytes() == CONTENT
    assert web.ranges_asked() == [None, f"bytes={cut}-"]


async def test_a_line_that_drops_before_the_first_byte_is_asked_again(
    web: WebServer, downloader: Downloader, waiting: Waiting, target: Path
) -> None:
    """For all of it, after a second."""
    web.cuts = [0]

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert target.read_bytes() == CONTENT
    assert (web.ranges_asked(), waiting.seconds) == ([None, None], [1])


async def test_a_line_that_drops_at_every_byte_brings_the_file_all_the_same(
    watching: Downloader, target: Path
) -> None:
    """Every try brings something, so none counts as in vain."""
    with web_server(files={"/small": b"0123456789" * 5}, cuts=[1] * 49) as web:
        await watching.download(web.url("/small"), target, sha256=None, progress=Taking(web))

    assert target.read_bytes() == b"0123456789" * 5
    assert len(web.asked) == 50


async def test_a_line_that_brings_next_to_nothing_is_given_up_in_the_end(
    watching: Downloader, target: Path
) -> None:
    """After a hundred connections."""
    with (
        web_server(files={"/small": b"x" * 200}, cuts=[1] * 200) as web,
        pytest.raises(FlmError) as raised,
    ):
        await watching.download(web.url("/small"), target, sha256=None, progress=Taking(web))

    assert raised.value.code == "download_interrupted"
    assert target.with_name("file.bin.part").stat().st_size == 100


async def test_without_validator_and_checksum_it_begins_anew(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """Nobody could tell whether the rest belongs to what came."""
    web.cuts, web.validators = [100], "none"

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert target.read_bytes() == CONTENT
    assert web.ranges_asked() == [None, None]


@pytest.mark.parametrize("strict", [True, False])
async def test_a_file_that_changes_in_between_is_fetched_anew(
    web: WebServer, watching: Downloader, target: Path, strict: bool
) -> None:
    """Even where the server overlooks If-Range and sends the rest of the new one."""
    web.cuts, web.strict, web.hold = [1_000], strict, threading.Event()
    hold = web.hold

    def change(step: Step) -> None:
        if step.done == 1_000:
            web.files["/file.bin"] = CONTENT[::-1]
            hold.set()

    await watching.download(web.url("/file.bin"), target, sha256=None, progress=change)

    assert target.read_bytes() == CONTENT[::-1]
    assert web.ranges_asked()[:2] == [None, "bytes=1000-"]


async def test_a_server_without_ranges_sends_all_of_it_again(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """What came before counts for nothing."""
    web.cuts, web.ranges = [5_000], False

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert target.read_bytes() == CONTENT


async def test_a_body_without_a_length_ends_where_it_ends(
    downloader: Downloader, target: Path
) -> None:
    """The checksum tells whether it is whole."""
    with web_server(files={"/file.bin": CONTENT}, chunked=True) as web:
        await downloader.download(
            web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody
        )

    assert target.read_bytes() == CONTENT


async def test_a_dead_line_is_given_up_after_five_tries_and_keeps_what_came(
    web: WebServer, watching: Downloader, waiting: Waiting, target: Path
) -> None:
    """Waiting longer each time; the next run goes on from there."""
    web.cuts = [700]

    def drop(step: Step) -> None:
        if step.done == 700:
            web.statuses = [(503, {})] * 5
            hold.set()

    hold = web.hold = threading.Event()
    with pytest.raises(FlmError) as raised:
        await watching.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=drop)
    error = raised.value

    assert error.code == "download_interrupted"
    assert error.message == ("The download of file.bin broke off: the server answered HTTP 503.")
    assert "run it again" in error.remedy
    assert waiting.seconds == [1, 2, 4, 8]
    assert not target.exists()
    assert (target.parent / "file.bin.part").read_bytes() == CONTENT[:700]

    web.statuses = []
    await watching.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody)
    assert target.read_bytes() == CONTENT
    assert web.ranges_asked()[-1] == "bytes=700-"


async def test_nobody_at_the_port_is_a_dropped_line(
    web: WebServer, downloader: Downloader, waiting: Waiting, target: Path
) -> None:
    """Tried again, then told."""
    error = await failing(downloader, "http://127.0.0.1:1/file.bin", target)

    assert error.code == "download_interrupted"
    assert len(waiting.seconds) == 4


async def test_a_busy_server_is_given_the_time_it_asks_for(
    web: WebServer, downloader: Downloader, waiting: Waiting, target: Path
) -> None:
    """Retry-After in seconds, a minute at most."""
    web.statuses = [(503, {"Retry-After": "7"}), (429, {"Retry-After": "9999"}), (500, {})]

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert waiting.seconds == [7, 60, 4]


async def test_a_wrong_checksum_removes_what_came(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """And names both."""
    error = await failing(downloader, web.url("/file.bin"), target, "00" * 32)

    assert error.code == "checksum_wrong"
    assert sum_of(CONTENT) in error.message
    assert list(target.parent.iterdir()) == []


async def test_a_part_of_something_else_is_found_out(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """A damaged part never becomes the file; the run after it does."""
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"x" * 100)

    error = await failing(downloader, web.url("/file.bin"), target, sum_of(CONTENT))
    await downloader.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody)

    assert error.code == "checksum_wrong"
    assert target.read_bytes() == CONTENT


async def test_a_whole_part_needs_no_second_look(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """Killed before the last step: the checksum says that nothing is missing."""
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)

    await downloader.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody)

    assert target.read_bytes() == CONTENT
    assert web.asked == []


async def test_a_whole_part_without_checksum_is_told_by_the_server(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """416 with the total that is there already."""
    target.parent.mkdir()
    seen = Part.open(target)
    seen.write(CONTENT)
    seen.remember(
        part_module.Origin(
            source=part_module.source_of(web.url("/file.bin")),
            validator=f'"{sum_of(CONTENT)[:16]}"',
            total=len(CONTENT),
        )
    )
    seen.close()

    await downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert target.read_bytes() == CONTENT
    assert web.ranges_asked() == ["bytes=10240-"]


async def test_a_part_longer_than_the_file_is_thrown_away(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """416 with another total."""
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT + b"more")

    await downloader.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "download_not_found"), (410, "download_not_found"), (403, "download_refused")],
)
async def test_an_answer_that_stays_as_it_is_is_told_at_once(
    web: WebServer,
    downloader: Downloader,
    waiting: Waiting,
    target: Path,
    status: int,
    code: str,
) -> None:
    """No second try."""
    web.statuses = [(status, {})] * 9

    error = await failing(downloader, web.url("/file.bin?token=secret"), target)

    assert error.code == code
    assert "secret" not in error.message
    assert (len(web.asked), waiting.seconds) == (1, [])


async def test_too_little_room_is_told_before_anything_is_written(
    web: WebServer, waiting: Waiting, target: Path
) -> None:
    """What it needs and what is free."""
    tight = Downloader(
        Web({}), current(None).lock, SystemClock(), pause=waiting, free=lambda folder: 9_000
    )

    error = await failing(tight, web.url("/file.bin"), target, sum_of(CONTENT))

    assert error.code == "disk_full"
    assert error.message == (
        f"The disk is full: file.bin needs 10 kB more, and 9 kB are free in {target.parent}."
    )
    assert target.with_name("file.bin.part").stat().st_size == 0


async def test_a_disk_that_runs_full_keeps_what_came(
    web: WebServer,
    downloader: Downloader,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of a write that the system takes and the rest it refuses: the part stays clean."""
    real = os.write
    left = 3_000

    def full(descriptor: int, data: bytes) -> int:
        nonlocal left
        if len(data) < 1_000:
            return real(descriptor, data)
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[:left])
        left -= written
        return written

    monkeypatch.setattr(os, "write", full)
    error = await failing(downloader, web.url("/file.bin"), target, sum_of(CONTENT))
    monkeypatch.setattr(os, "write", real)

    assert error.code == "disk_full"
    assert "needs 10 kB more" in error.message
    await downloader.download(web.url("/file.bin"), target, sha256=sum_of(CONTENT), progress=nobody)
    assert target.read_bytes() == CONTENT


async def test_a_folder_that_cannot_be_written_is_named(
    web: WebServer, downloader: Downloader, tmp_path: Path
) -> None:
    """A file in the place of the folder."""
    (tmp_path / "folder").write_text("a file")

    error = await failing(downloader, web.url("/file.bin"), tmp_path / "folder" / "x")

    assert error.code == "cannot_write"
    assert str(tmp_path / "folder") in error.message


async def test_more_than_is_taken_is_refused(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """Announced or not; a small file that is not small too."""
    error = await refused_as_too_large(downloader, web.url("/file.bin"), target)
    web.chunked = True
    unannounced = await refused_as_too_large(downloader, web.url("/file.bin"), target)
    with pytest.raises(FlmError) as small:
        await downloader.read(web.url("/file.bin"), 100)

    assert (error, unannounced, small.value.code) == ("download_too_large",) * 3


async def refused_as_too_large(downloader: Downloader, url: str, target: Path) -> str:
    """The code with which 10,000 of the 10,240 bytes are refused."""
    with pytest.raises(FlmError) as raised:
        await downloader.download(url, target, sha256=None, progress=nobody, limit=10_000)
    return raised.value.code


async def test_a_small_file_is_read_whole_after_a_bad_moment(
    web: WebServer, downloader: Downloader
) -> None:
    """And one that nobody answers for is told."""
    web.cuts = [5_000]
    assert await downloader.read(web.url("/file.bin"), 20_000) == CONTENT

    with pytest.raises(FlmError) as raised:
        await downloader.read("http://127.0.0.1:1/sums", 100)
    assert raised.value.code == "download_interrupted"


async def test_the_same_is_not_fetched_twice_at_once(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """The second is told; the first goes on undisturbed."""
    web.cuts, web.hold = [4_000], threading.Event()
    first = asyncio.ensure_future(
        downloader.download(web.url("/file.bin"), target, sha256=None, progress=nobody)
    )
    await asyncio.to_thread(web.reached.wait, 10)

    error = await failing(downloader, web.url("/file.bin"), target)
    web.hold.set()
    await first

    assert isinstance(error, Conflict)
    assert error.code == "download_running"
    assert target.read_bytes() == CONTENT


async def test_a_cancelled_download_goes_on_where_it_was(
    web: WebServer, watching: Downloader, target: Path
) -> None:
    """Ctrl-C: what came is in the part."""
    web.cuts, web.hold = [4_000], threading.Event()
    came = asyncio.Event()

    def look(step: Step) -> None:
        if step.done == 4_000:
            came.set()

    running = asyncio.ensure_future(
        watching.download(web.url("/file.bin"), target, sha256=None, progress=look)
    )
    await came.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    web.hold.set()

    assert target.with_name("file.bin.part").stat().st_size == 4_000
    await watching.download(web.url("/file.bin"), target, sha256=None, progress=nobody)
    assert target.read_bytes() == CONTENT
    assert web.ranges_asked() == [None, "bytes=4000-"]
