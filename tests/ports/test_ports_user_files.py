"""The user's own files: read through links, replaced at once, never another user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flm.errors import Conflict, InvalidValue, NotPermitted
from flm.ports.processes.user_files import LARGEST, LocalUserFiles

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes and owners are POSIX")


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def files() -> LocalUserFiles:
    """This machine's."""
    return LocalUserFiles()


def test_a_file_is_replaced_at_once_with_its_mode(files: LocalUserFiles, tmp_path: Path) -> None:
    """Nothing else is left in the folder."""
    path = tmp_path / "settings.json"
    path.write_bytes(b"old")
    path.chmod(0o640)

    was = files.read(str(path))
    assert was is not None
    assert (was.data, was.mode) == (b"old", 0o640)
    assert files.replace(str(path), b"new", was.mode, was) == ()

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["settings.json"]


def test_folders_are_made_private_and_removed_when_empty(
    files: LocalUserFiles, tmp_path: Path
) -> None:
    """Only those that were made."""
    path = tmp_path / "a" / "b" / "settings.json"
    made = files.replace(str(path), b"x", 0o600, None)

    assert made == (str(tmp_path / "a"), str(tmp_path / "a" / "b"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    was = files.read(str(path))
    assert was is not None
    (tmp_path / "a" / "other").touch()
    files.remove(was, made)
    assert names(tmp_path / "a") == ["other"]


def test_a_link_stays_and_what_it_leads_to_changes(files: LocalUserFiles, tmp_path: Path) -> None:
    """As people keep settings in a folder of their own; the backup lies beside the link."""
    target = tmp_path / "dotfiles" / "zed.json"
    target.parent.mkdir()
    target.write_bytes(b"{}")
    link = tmp_path / "settings.json"
    link.symlink_to(target)

    was = files.read(str(link))
    assert was is not None
    assert was.target == str(target)
    backup = files.back_up(was, "old")
    files.replace(str(link), b"[]", was.mode, was)

    assert link.is_symlink()
    assert target.read_bytes() == b"[]"
    assert backup == f"{link}.old"
    assert Path(backup).stat().st_mode & 0o777 == 0o600


def test_backups_never_overwrite_each_other(files: LocalUserFiles, tmp_path: Path) -> None:
    """The next one gets a number."""
    path = tmp_path / "s"
    path.write_bytes(b"1")
    was = files.read(str(path))
    assert was is not None

    assert [files.back_up(was, "b") for _ in range(3)] == [
        f"{path}.b",
        f"{path}.b-2",
        f"{path}.b-3",
    ]


def test_what_was_changed_meanwhile_is_left_alone(files: LocalUserFiles, tmp_path: Path) -> None:
    """Replaced or removed, by whomever."""
    path = tmp_path / "s"
    path.write_bytes(b"1")
    was = files.read(str(path))
    assert was is not None
    path.write_bytes(b"2")

    with pytest.raises(Conflict):
        files.replace(str(path), b"3", 0o600, was)
    with pytest.raises(Conflict):
        files.remove(was, ())
    assert path.read_bytes() == b"2"
    assert names(tmp_path) == ["s"]


def test_what_is_no_plain_file_is_left_alone(files: LocalUserFiles, tmp_path: Path) -> None:
    """Folders, pipes, and files of no sensible size."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(LARGEST + 1)

    for name in (".", "pipe", "large"):
        with pytest.raises(InvalidValue):
            files.read(str(tmp_path / name))
    assert files.read(str(tmp_path / "nothing")) is None
    assert files.read(str(tmp_path / "large" / "below")) is None


def test_another_users_file_is_not_touched(
    files: LocalUserFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root is another user too; a link to such a file is no way to it."""
    path = tmp_path / "s"
    path.write_bytes(b"1")
    link = tmp_path / "link"
    link.symlink_to(path)
    other = os.geteuid() + 1
    monkeypatch.setattr("flm.ports.processes.user_files.os.geteuid", lambda: other)

    for each in (path, link, tmp_path / "new" / "s"):
        with pytest.raises(NotPermitted):
            files.replace(str(each), b"2", 0o600, None)
    with pytest.raises(NotPermitted):
        files.read(str(link))
    assert names(tmp_path) == ["link", "s"]


def test_what_the_system_refuses_is_a_sentence(files: LocalUserFiles, tmp_path: Path) -> None:
    """With the path."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValue, match="Not a directory"):
        files.replace(str(tmp_path / "file" / "below"), b"", 0o600, None)
