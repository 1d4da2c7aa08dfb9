"""Archives, the honest and the evil: nothing is ever written outside the folder."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flm.engines.archives import Limits, format_of, unpack
from flm.errors import InvalidValue, UserError

Add = Callable[[tarfile.TarFile], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is unpacked to; beside it lies what must not be touched."""
    (tmp_path / "outside").write_text("mine")
    path = tmp_path / "folder"
    path.mkdir()
    return path


def nobody(size: int) -> None:
    """Nobody looks."""


def entry(name: str, **more: object) -> tarfile.TarInfo:
    """An entry's head."""
    info = tarfile.TarInfo(name)
    for field, value in more.items():
        setattr(info, field, value)
    return info


def file(name: str, content: bytes, mode: int = 0o644) -> Add:
    """A file in an archive."""
    return lambda tar: tar.addfile(entry(name, size=len(content), mode=mode), io.BytesIO(content))


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Add:
    """A link in an archive."""
    return lambda tar: tar.addfile(entry(name, type=kind, linkname=to))


def directory(name: str, mode: int = 0o755) -> Add:
    """A folder in an archive."""
    return lambda tar: tar.addfile(entry(name, type=tarfile.DIRTYPE, mode=mode))


def tgz(path: Path, *entries: Add) -> Path:
    """A gzipped tar of these entries."""
    with tarfile.open(path / "some.tgz", "w:gz") as tar:
        for add in entries:
            add(tar)
    return path / "some.tgz"


def zipped(path: Path, *entries: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """A zip of these entries."""
    with zipfile.ZipFile(path / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            archive.writestr(info, content)
    return path / "some.zip"


def refused(archive: Path, folder: Path, limits: Limits | None = None) -> UserError:
    """The error with which an archive is refused; what lies beside the folder is untouched."""
    with pytest.raises(UserError) as raised:
        unpack(archive, folder, nobody, limits)
    assert (folder.parent / "outside").read_text() == "mine"
    assert {each.name for each in folder.parent.iterdir()} <= {
        "outside", "folder", "some.tgz", "some.zip", "some.tar.zst",
    }  # fmt: skip
    return raised.value


def test_a_release_is_unpacked_with_its_folders_programs_and_links(
    folder: Path, tmp_path: Path
) -> None:
    """As Ollama's are: `./` before the names, libraries that link to each other."""
    archive = tgz(
        tmp_path,
        directory("./"),
        directory("./bin", 0o500),
        file("./bin/ollama", b"program", 0o4755),
        file("lib/ollama/libcuda.so.12.1", b"library"),
        link("lib/ollama/libcuda.so", "libcuda.so.12.1"),
        link("lib/ollama/v13/libcuda.so", "../libcuda.so"),
        link("lib/ollama/copy.so", "lib/ollama/libcuda.so.12.1", tarfile.LNKTYPE),
    )
    told: list[int] = []

    unpack(archive, folder, told.append)

    assert (folder / "bin/ollama").read_bytes() == b"program"
    assert stat.S_IMODE((folder / "bin/ollama").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "bin").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "lib/ollama/libcuda.so.12.1").stat().st_mode) == 0o600
    assert (folder / "lib/ollama/v13/libcuda.so").read_bytes() == b"library"
    assert (folder / "lib/ollama/copy.so").read_bytes() == b"library"
    assert (folder / "lib/ollama/copy.so").stat().st_nlink == 1
    assert told == [7, 14, 21]


EVIL: dict[str, tuple[Add, ...]] = {
    "above": (file("../outside", b"x"),),
    "above, further in": (file("a/../../outside", b"x"),),
    "absolute": (file("/tmp/flm-evil-archive", b"x"),),
    "backslashes": (file("..\\outside", b"x"),),
    "drive": (file("C:evil", b"x"),),
    "stream": (file("ollama.exe:evil", b"x"),),
    "device's name": (file("lib/nul.txt", b"x"),),
    "dots that vanish": (file("lib/...", b"x"),),
    "control character": (file("a\x1b[2J", b"x"),),
    "a link out": (link("a", "../outside"),),
    "a link out, absolute": (link("a", "/etc/passwd"),),
    "a link out, further in": (link("a/b", "../../outside"),),
    "a link to above": (link("a", ".."),),
    "a write through a link": (link("a", "."), file("a/b", b"x")),
    "a write onto a link": (
        file("b", b"x"),
        link("a", "b"),
        file("a", b"x"),
    ),
    "links that add up": (
        directory("d/e"),
        link("d/e/up", ".."),
        link("out", "d/e/up/../../outside"),
    ),
    "a link to nothing": (link("a", "nowhere"),),
    "links in a circle": (link("a", "b"), link("b", "a")),
    "a hard link out": (link("a", "../outside", tarfile.LNKTYPE),),
    "a hard link out, absolute": (link("a", "/etc/passwd", tarfile.LNKTYPE),),
    "a hard link over a link": (
        directory("d"),
        file("d/f", b"x"),
        link("l", "d"),
        link("a", "l/f", tarfile.LNKTYPE),
    ),
    "a hard link to a folder": (directory("d"), link("a", "d", tarfile.LNKTYPE)),
    "a hard link to nothing": (link("a", "nowhere", tarfile.LNKTYPE),),
    "a device": (lambda tar: tar.addfile(entry("a", type=tarfile.CHRTYPE, devmajor=1)),),
    "a block device": (lambda tar: tar.addfile(entry("a", type=tarfile.BLKTYPE)),),
    "a pipe": (lambda tar: tar.addfile(entry("a", type=tarfile.FIFOTYPE)),),
    "the same twice": (file("a", b"x"), file("a", b"y")),
    "a file as a folder": (file("a", b"x"), file("a/b", b"y")),
    "a file in the place of everything": (file(".", b"x"),),
    "a name without an end": (file("a" * 600, b"x"),),
}


@pytest.mark.parametrize("evil", EVIL)
def test_an_evil_archive_is_refused(evil: str, folder: Path, tmp_path: Path) -> None:
    """And nothing outside the folder is touched."""
    error = refused(tgz(tmp_path, *EVIL[evil]), folder)

    assert error.code == "archive_unsafe"
    assert not Path("/tmp/flm-evil-archive").exists()


def test_a_bomb_is_ended_at_the_bound(folder: Path, tmp_path: Path) -> None:
    """By what is written, not by what the archive says of itself."""
    bomb = tgz(tmp_path, file("a", b"\0" * (5 << 20)), file("b", b"\0" * (5 << 20)))

    error = refused(bomb, folder, Limits(size=7 << 20))

    assert error.code == "archive_unsafe"
    assert sum(each.stat().st_size for each in folder.iterdir()) <= 7 << 20


def test_many_entries_are_ended_at_the_bound(folder: Path, tmp_path: Path) -> None:
    """Empty ones count too."""
    many = tgz(tmp_path, *(directory(f"d{number}") for number in range(50)))

    assert refused(many, folder, Limits(entries=20)).code == "archive_unsafe"


def test_a_zip_is_unpacked_with_its_programs(folder: Path, tmp_path: Path) -> None:
    """As Windows' are: folders of their own or only in names."""
    program = zipfile.ZipInfo("ollama.exe")
    program.external_attr = 0o755 << 16
    archive = zipped(
        tmp_path,
        (zipfile.ZipInfo("lib/"), b""),
        (program, b"program"),
        (zipfile.ZipInfo("lib/ollama/ggml.dll"), b"library"),
    )

    unpack(archive, folder, nobody)

    assert (folder / "ollama.exe").read_bytes() == b"program"
    assert (folder / "lib/ollama/ggml.dll").read_bytes() == b"library"
    assert stat.S_IMODE((folder / "ollama.exe").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["../outside", "/tmp/flm-evil-archive", "a/../../outside", "C:x"])
def test_an_evil_zip_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    """By the same rules."""
    assert refused(zipped(tmp_path, (zipfile.ZipInfo(name), b"x")), folder).code == (
        "archive_unsafe"
    )


def test_a_zip_with_a_link_or_the_same_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    """Releases for Windows hold neither."""
    linked = zipfile.ZipInfo("a")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16

    first = refused(zipped(tmp_path, (linked, b"../outside")), folder)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped(tmp_path, (zipfile.ZipInfo("b"), b"x"), (zipfile.ZipInfo("b"), b"y"))

    assert first.code == "archive_unsafe"
    assert refused(twice, folder).code == "archive_unsafe"


def test_a_zip_that_lies_about_its_size_is_refused(folder: Path, tmp_path: Path) -> None:
    """What is read counts."""
    archive = zipped(tmp_path, (zipfile.ZipInfo("a"), b"\0" * 100_000))

    assert refused(archive, folder, Limits(size=1_000)).code == "archive_unsafe"


@pytest.mark.parametrize("ending", ["tgz", "zip"])
@pytest.mark.parametrize("cut", [0, 10, 60, 0.5, 0.9])
def test_a_damaged_archive_is_told(ending: str, cut: float, folder: Path, tmp_path: Path) -> None:
    """Cut anywhere."""
    content = os.urandom(30_000)
    whole = {
        "tgz": lambda: tgz(tmp_path, file("a", content)),
        "zip": lambda: zipped(tmp_path, (zipfile.ZipInfo("a"), content)),
    }[ending]()
    data = whole.read_bytes()
    whole.write_bytes(data[: int(cut * len(data)) if 0 < cut < 1 else int(cut)])

    assert refused(whole, folder).code == "archive_damaged"


def test_a_zip_with_a_password_is_told(folder: Path, tmp_path: Path) -> None:
    """Nobody is asked for it."""
    archive = zipped(tmp_path, (zipfile.ZipInfo("a"), b"x" * 100))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))

    assert refused(archive, folder).code == "archive_damaged"


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.tgz", "tgz"), ("A.TAR.GZ", "tgz"), ("a.tar.zst", "tar.zst"), ("a.zip", "zip")],
)
def test_the_format_is_told_by_the_name(name: str, form: str) -> None:
    """In either case of letters."""
    assert format_of(name) == form


def test_another_format_is_refused() -> None:
    """With those there are."""
    with pytest.raises(InvalidValue, match=r"ollama\.exe is no archive"):
        format_of("ollama.exe")


def zst(path: Path, *entries: Add) -> Path:
    """A tar of these entries, packed with Zstandard."""
    pytest.importorskip(
        "backports.zstd" if sys.version_info < (3, 14) else "compression.zstd",
        reason="make install",
    )
    from flm.engines import zstd

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for add in entries:
            add(tar)
    archive = path / "some.tar.zst"
    archive.write_bytes(zstd.library.compress(plain.getvalue()))
    return archive


def test_zstandard_is_unpacked(folder: Path, tmp_path: Path) -> None:
    """Links to what comes before them included; the tar is read in one go."""
    archive = zst(
        tmp_path,
        file("bin/ollama", b"program", 0o755),
        file("lib/a.so.1", b"library"),
        link("lib/a.so", "a.so.1"),
        link("lib/b.so", "lib/a.so.1", tarfile.LNKTYPE),
    )

    unpack(archive, folder, nobody)

    assert (folder / "bin/ollama").read_bytes() == b"program"
    assert (folder / "lib/a.so").read_bytes() == b"library"
    assert (folder / "lib/b.so").read_bytes() == b"library"


def test_evil_in_zstandard_is_refused(folder: Path, tmp_path: Path) -> None:
    """By the same rules."""
    assert refused(zst(tmp_path, file("../outside", b"x")), folder).code == "archive_unsafe"


@pytest.mark.parametrize("cut", [0, 3, 0.5, 0.99])
def test_damaged_zstandard_is_told(cut: float, folder: Path, tmp_path: Path) -> None:
    """Cut anywhere."""
    whole = zst(tmp_path, file("a", os.urandom(300_000)))
    data = whole.read_bytes()
    whole.write_bytes(data[: int(cut * len(data)) if 0 < cut < 1 else int(cut)])

    assert refused(whole, folder).code == "archive_damaged"
