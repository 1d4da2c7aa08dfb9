"""The data directory: where, whose, how private."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flm.errors import InvalidValue, NotPermitted
from flm.paths import check_owner, data_paths, default_data_dir, make_private, prepare

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are POSIX's")


@pytest.fixture
def no_umask() -> Iterator[None]:
    """The least careful umask there is."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_lies_under_the_root():
    """The names that other programs (backups, readers of docs) rely on."""
    paths = data_paths("/d")
    assert [
        str(path)
        for path in (
            paths.config_db, paths.security_db, paths.telemetry_db, paths.journal,
            paths.controller_lock, paths.controller_log, paths.models, paths.engine_logs,
            paths.pepper, paths.master_key,
        )
    ] == [
        "/d/config.db", "/d/security.db", "/d/telemetry.db", "/d/journal", "/d/controller.lock",
        "/d/controller.log", "/d/models", "/d/engine-logs", "/d/pepper", "/d/master.key",
    ]  # fmt: skip


def test_flm_data_dir_wins(tmp_path: Path):
    """The variable names the directory itself."""
    assert default_data_dir({"FLM_DATA_DIR": str(tmp_path / "x")}) == tmp_path / "x"


def test_without_it_the_users_data_directory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """XDG on Linux; the older program's folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_dir({}).name == "FLM"


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A daemon that changes its directory still finds its data."""
    monkeypatch.chdir(tmp_path)
    assert data_paths("here").root == tmp_path / "here"


def test_the_home_directory_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """FLM_DATA_DIR=~/flm in a unit file is not expanded by a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_paths("~/flm").root == tmp_path / "flm"


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, no_umask: None):
    """The directory, the folders inside and the parents that were missing."""
    paths = data_paths(tmp_path / "a" / "b")
    prepare(paths)
    made = (tmp_path / "a", paths.root, paths.journal, paths.models, paths.engine_logs)
    assert [oct(mode(path)) for path in made] == ["0o700"] * 5


def test_preparing_twice_changes_nothing(tmp_path: Path):
    """Every command prepares."""
    paths = data_paths(tmp_path / "d")
    prepare(paths)
    prepare(paths)
    assert paths.journal.is_dir()


def test_an_empty_directory_is_closed_to_others(tmp_path: Path):
    """`mkdir d; flm up --data-dir d` is as private as if FLM had made it."""
    root = tmp_path / "d"
    root.mkdir()
    root.chmod(0o755)
    prepare(data_paths(root))
    assert mode(root) == 0o700


def test_a_directory_with_other_things_keeps_its_mode(tmp_path: Path):
    """Somebody's home given as data directory stays as open as it was; our folders do not."""
    root = tmp_path / "home"
    root.mkdir()
    (root / "letter").touch()
    root.chmod(0o755)
    prepare(data_paths(root))
    assert (mode(root), mode(root / "journal")) == (0o755, 0o700)


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path):
    """Whoever may rename our files owns our keys."""
    root = tmp_path / "shared"
    root.mkdir()
    (root / "letter").touch()
    root.chmod(0o777)
    with pytest.raises(InvalidValue) as caught:
        prepare(data_paths(root))
    assert caught.value.message == f"The data directory {root} is open for other users to write."
    assert list(root.iterdir()) == [root / "letter"]


def test_a_file_is_no_data_directory(tmp_path: Path):
    """The message names the file."""
    (tmp_path / "f").touch()
    with pytest.raises(InvalidValue) as caught:
        prepare(data_paths(tmp_path / "f"))
    assert caught.value.message.endswith(f"{tmp_path / 'f'} is a file.")


def test_a_directory_below_a_file_is_refused(tmp_path: Path):
    """The same for a parent."""
    (tmp_path / "f").touch()
    with pytest.raises(InvalidValue):
        prepare(data_paths(tmp_path / "f" / "a" / "b"))


def test_a_place_where_nothing_can_be_made_is_refused():
    """/proc takes no directories, from root either."""
    with pytest.raises(InvalidValue) as caught:
        prepare(data_paths("/proc/flm"))
    assert "cannot be used" in caught.value.message


def test_another_users_directory_is_refused_with_the_remedy(tmp_path: Path):
    """Whoever runs FLM as root by mistake locks the owner out; the remedy is the right line."""
    prepare(data_paths(tmp_path / "d"))
    owner = (tmp_path / "d").stat().st_uid
    with pytest.raises(NotPermitted) as caught:
        check_owner(tmp_path / "d", uid=owner + 1)
    assert "sudo -u" in caught.value.remedy
    assert caught.value.code == "not_permitted"


def test_preparing_another_users_directory_touches_nothing(tmp_path: Path):
    """The check comes before anything is made inside."""
    root = tmp_path / "d"
    root.mkdir()
    with pytest.raises(NotPermitted):
        prepare(data_paths(root), uid=root.stat().st_uid + 1)
    assert list(root.iterdir()) == []


def test_an_owner_without_a_name_is_shown_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A volume from another machine: sudo takes '#uid' too."""
    import pwd

    def nobody_knows(_uid: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody_knows)
    uid = tmp_path.stat().st_uid
    with pytest.raises(NotPermitted) as caught:
        check_owner(tmp_path, uid=uid + 1)
    assert f"belongs to the user #{uid}." in caught.value.message


def test_a_directory_that_is_not_there_has_no_wrong_owner(tmp_path: Path):
    """`flm proxy status` before the first start is no permission problem."""
    check_owner(tmp_path / "missing")


def test_a_private_file_is_made_and_an_open_one_closed(tmp_path: Path, no_umask: None):
    """0600 for both."""
    opened = tmp_path / "opened"
    opened.write_bytes(b"kept")
    opened.chmod(0o644)
    make_private(opened)
    make_private(tmp_path / "new")
    assert (mode(opened), mode(tmp_path / "new"), opened.read_bytes()) == (0o600, 0o600, b"kept")
