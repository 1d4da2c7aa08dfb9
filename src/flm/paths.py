"""Where things lie in the data directory, and whose it is.

The directory is 0700 and the files in it 0600, whatever the umask. A directory that exists and
holds other things keeps its mode: it may be somebody's home.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flm.errors import N_, InvalidValue, NotPermitted

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


@dataclass(frozen=True)
class DataPaths:
    """The files and folders under one data directory; ``root`` is absolute."""

    root: Path

    @property
    def config_db(self) -> Path:
        """Settings, engine definitions, GGUF files."""
        return self.root / "config.db"

    @property
    def security_db(self) -> Path:
        """Keys and the policy."""
        return self.root / "security.db"

    @property
    def telemetry_db(self) -> Path:
        """Request records; may be pruned."""
        return self.root / "telemetry.db"

    @property
    def journal(self) -> Path:
        """One folder per gateway process."""
        return self.root / "journal"

    @property
    def controller_lock(self) -> Path:
        """Held by the controller for life; says where its control socket is."""
        return self.root / "controller.lock"

    @property
    def controller_log(self) -> Path:
        """What a detached controller prints."""
        return self.root / "controller.log"

    @property
    def models(self) -> Path:
        """GGUF files FLM wrote itself: the demo model."""
        return self.root / "models"

    @property
    def engine_logs(self) -> Path:
        """What the children of the embedded engine print."""
        return self.root / "engine-logs"

    @property
    def programs(self) -> Path:
        """Engines that FLM installed, a folder for each kind."""
        return self.root / "engines"

    @property
    def pepper(self) -> Path:
        """The 32 bytes under which keys are hashed."""
        return self.root / "pepper"

    @property
    def master_key(self) -> Path:
        """The 32 bytes under which secrets are sealed."""
        return self.root / "master.key"

    @property
    def connect(self) -> Path:
        """What `flm connect` wrote into other programs' files, for `--undo`."""
        return self.root / "connect.json"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders inside, which `prepare` makes."""
        return (self.journal, self.models, self.engine_logs)


def data_paths(root: str | Path) -> DataPaths:
    """The paths under `root`, made absolute; `~` is the home directory. Touches nothing."""
    return DataPaths(Path(os.path.abspath(Path(root).expanduser())))  # noqa: PTH100 - keeps symlinks


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`FLM_DATA_DIR`, else the user's data directory on this system, `FLM` in it."""
    given = environ.get("FLM_DATA_DIR")
    if given:
        return data_paths(given).root
    import platformdirs

    return platformdirs.user_data_path("FLM", appauthor=False, roaming=False)


def prepare(paths: DataPaths, uid: int | None = None) -> None:
    """Make the data directory and its folders where they are missing.

    Raises `NotPermitted` when the directory belongs to another user than `uid` (None: this
    process's), and `InvalidValue` when it is a file, cannot be made or written, or is open for
    others to write.
    """
    root = paths.root
    try:
        _make_folder(root)
        check_owner(root, uid)
        _tighten(root)
        for folder in paths.folders:
            folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            make_private(folder, DIRECTORY_MODE)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidValue(
            N_("The data directory cannot be {path}: {culprit} is a file."),
            remedy=N_("Give another directory with --data-dir or FLM_DATA_DIR."),
            path=root,
            culprit=error.filename,
        ) from error
    except OSError as error:
        raise InvalidValue(
            N_("The data directory {path} cannot be used: {why}."),
            remedy=N_("Give a directory you may write with --data-dir or FLM_DATA_DIR."),
            path=root,
            why=error.strerror or str(error),
        ) from error


def check_owner(root: Path, uid: int | None = None) -> None:
    """Raise `NotPermitted` when `root` exists and belongs to another user than `uid`.

    Root is another user too: what it writes into somebody's data directory locks them out.
    Nothing is checked on Windows, where the profile's access list does it.
    """
    if sys.platform != "win32":
        try:
            owner = root.stat().st_uid
        except OSError:
            return
        if owner != (os.geteuid() if uid is None else uid):
            raise _foreign(root, owner)


def _foreign(root: Path, owner: int) -> NotPermitted:
    name = _user_name(owner)
    return NotPermitted(
        N_("The data directory {path} belongs to the user {owner}."),
        remedy=N_(
            "Run `sudo -u {account} flm …`, or give a directory of your own with --data-dir."
        ),
        path=root,
        owner=name or f"#{owner}",
        account=name or f"'#{owner}'",
    )


def make_private(path: Path, mode: int = FILE_MODE) -> None:
    """Take from `path` what others may do with it; a file that is missing is made, empty.

    A file that is there is not opened: closing any descriptor of a database would drop the locks
    that SQLite holds on it in this process (POSIX, fcntl).
    """
    if mode == FILE_MODE and not path.exists():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(mode)


def _make_folder(path: Path) -> None:
    """`mkdir -p` where every directory it makes is 0700, whatever the umask."""
    if path.is_dir():
        return
    if not path.parent.exists():
        _make_folder(path.parent)
    path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def _tighten(root: Path) -> None:
    if not any(root.iterdir()):
        make_private(root, DIRECTORY_MODE)
    if sys.platform != "win32" and root.stat().st_mode & 0o022:
        raise InvalidValue(
            N_("The data directory {path} is open for other users to write."),
            remedy=N_("Run `chmod 700 {path}`, or give another directory with --data-dir."),
            path=root,
        )
    if not os.access(root, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))


def _user_name(uid: int) -> str | None:
    if sys.platform != "win32":
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            pass
    return None
