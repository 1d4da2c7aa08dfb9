"""Writing a client's files and taking FLM's entries out again, byte by byte.

A file is thought of without FLM's entries first, then with them; so a second run changes nothing,
and another model takes the place of the one before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from flm.errors import N_, InvalidValue
from flm.ports.clock import Clock
from flm.ports.user_files import Seen, UserFiles
from flm.services.connect.formats import FORMATS, applied, reverted
from flm.services.connect.keeping import Keeping, Kept
from flm.services.connect.situation import FileSettings, FormatName, Path
from flm.services.connect.tree import MISSING, Fault, got

NEW_MODE = 0o600
_BOM = b"\xef\xbb\xbf"


class Plan(NamedTuple):
    """What will become of a file. ``base``: its bytes without FLM's entries, None: no file."""

    settings: FileSettings
    was: Seen | None
    base: bytes | None
    new: bytes
    known: Kept | None

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return self.was is None or self.was.data != self.new


class Written(NamedTuple):
    """What became of a file. ``backup`` None: there was nothing to back up; ``tightened``: others
    could read it; ``link``: where it really lies, when the path is a link; ``folders``: made."""

    path: str
    changed: bool
    backup: str | None = None
    tightened: bool = False
    link: str | None = None
    folders: tuple[str, ...] = ()


class Restored(NamedTuple):
    """What became of a file. ``kept``: entries that somebody changed since, and that stay."""

    path: str
    changed: bool
    removed: bool = False
    kept: tuple[Path, ...] = ()
    backup: str | None = None


class _Text(NamedTuple):
    """A file's text with line feeds only, and how it was written."""

    text: str
    bom: bool = False
    crlf: bool = False

    def encoded(self, text: str) -> bytes:
        written = text.replace("\n", "\r\n") if self.crlf else text
        return (_BOM if self.bom else b"") + written.encode()


class Writing:
    """Files of clients, through the port; what was done is remembered by the caller."""

    def __init__(self, files: UserFiles, keeping: Keeping, clock: Clock) -> None:
        self._files = files
        self._keeping = keeping
        self._clock = clock

    def plan(self, settings: FileSettings, known: Kept | None) -> Plan:
        """What writing would do. Touches nothing; raises `InvalidValue` for a file that cannot be
        understood or changed."""
        was = self._files.read(settings.path)
        base = was.data if was is not None else None
        if known is not None and was is not None:
            base = self._without(known, was.data).data
        try:
            text = _decoded(base or b"")
            new = text.encoded(applied(settings.format, text.text, settings.entries))
            if was is not None and _says_the_same(settings.format, was.data, new):
                new = was.data
        except Fault as error:
            raise _refused(settings.path, settings.format, error) from error
        return Plan(settings, was, base, new, known)

    def remembered(self, plan: Plan, done: Written | None = None) -> Kept:
        """What is to be remembered of it: before it is written, and again when it is."""
        known, was = plan.known, plan.was
        backup = done.backup if done is not None else None
        folders = done.folders if done is not None else ()
        return Kept(
            path=plan.settings.path,
            format=plan.settings.format,
            digest=_digest(plan.new),
            mode=known.mode if known else (was.mode if was else None),
            folders=known.folders if known else folders,
            backup=backup or (known.backup if known else None),
            sealed=self._keeping.seal(plan.base, plan.settings.entries),
        )

    def write(self, plan: Plan, private: bool) -> Written:
        """Do it. ``private``: a key is in it, so that others must not read it."""
        was, path = plan.was, plan.settings.path
        link = was.target if was is not None and was.target != was.path else None
        if not plan.changes:
            return Written(path, changed=False, link=link)
        mode = NEW_MODE if was is None else was.mode
        backup = None if was is None else self._files.back_up(was, self._suffix())
        folders = self._files.replace(path, plan.new, mode & 0o700 if private else mode, was)
        tightened = private and bool(mode & 0o077)
        return Written(path, True, backup, tightened, link, folders)

    def put_back(self, plan: Plan, done: Written) -> None:
        """As it was before `write`."""
        now = self._files.read(plan.settings.path)
        if not done.changed or now is None:
            return
        if plan.was is None:
            self._files.remove(now, done.folders)
        else:
            self._files.replace(plan.settings.path, plan.was.data, plan.was.mode, now)

    def foresee(self, kept: Kept) -> None:
        """Raise what `undo` would raise. Touches nothing."""
        was = self._files.read(kept.path)
        if was is not None:
            self._without(kept, was.data)

    def undo(self, kept: Kept) -> Restored:
        """Take FLM's entries out; what was before comes back, what others changed stays."""
        was = self._files.read(kept.path)
        if was is None:
            return Restored(kept.path, changed=False)
        base = self._without(kept, was.data)
        if base.data is None:
            self._files.remove(was, kept.folders)
            return Restored(kept.path, changed=True, removed=True)
        if base.data == was.data:
            return Restored(kept.path, changed=False, kept=base.kept)
        exact = _digest(was.data) == kept.digest
        mode = kept.mode if kept.mode is not None and exact else was.mode
        backup = None if exact else self._files.back_up(was, self._suffix())
        self._files.replace(kept.path, base.data, mode, was)
        return Restored(kept.path, changed=True, kept=base.kept, backup=backup)

    def _without(self, kept: Kept, data: bytes) -> _Base:
        """The file without FLM's entries: as it was, or taken out of what it is now."""
        before = self._keeping.open(kept)
        if _digest(data) == kept.digest:
            return _Base(before.data)
        try:
            now, then = _decoded(data), _decoded(before.data or b"")
            form = FORMATS[kept.format]
            found = reverted(kept.format, now.text, then.text, before.put())
            if before.data is None and not form.parse(found.text):
                return _Base(None)
        except Fault as error:
            raise _refused(kept.path, kept.format, error) from error
        return _Base(now.encoded(found.text), found.kept)

    def _suffix(self) -> str:
        moment = time.gmtime(self._clock.now())
        return f"flm-backup-{time.strftime('%Y%m%dT%H%M%SZ', moment)}"


class _Base(NamedTuple):
    data: bytes | None
    kept: tuple[Path, ...] = ()


def values_in(plan: Plan) -> tuple[str, ...]:
    """The texts that lie where FLM's entries do, in the file as it is."""
    if plan.was is None:
        return ()
    data = FORMATS[plan.settings.format].parse(_decoded(plan.was.data).text)
    found: list[str] = []
    waiting = [got(data, entry.path) for entry in plan.settings.entries]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
    return tuple(found)


def rivals_in(plan: Plan, rivals: Sequence[Path]) -> tuple[Path, ...]:
    """Those of the paths at which something lies, in the file as it will be."""
    data = FORMATS[plan.settings.format].parse(_decoded(plan.new).text)
    return tuple(path for path in rivals if got(data, path) is not MISSING)


def _says_the_same(form: FormatName, one: bytes, other: bytes) -> bool:
    parse = FORMATS[form].parse
    return bool(parse(_decoded(one).text) == parse(_decoded(other).text))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _decoded(data: bytes) -> _Text:
    bom = data.startswith(_BOM)
    try:
        text = data[len(_BOM) if bom else 0 :].decode()
    except UnicodeDecodeError as error:
        raise Fault(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    returns = text.count("\r\n")
    if returns and returns == text.count("\n") == text.count("\r"):
        return _Text(text.replace("\r\n", "\n"), bom, crlf=True)
    return _Text(text, bom)


def _refused(path: str, form: FormatName, fault: Fault) -> InvalidValue:
    values = {"path": path, "format": FORMATS[form].title, "why": fault.why}
    remedy = N_("Mend it, or put the settings in by hand: without --write they are shown.")
    if fault.line:
        return InvalidValue(
            N_("{path} cannot be changed as {format}: line {line}: {why}. It is as it was."),
            remedy=remedy,
            code="client_file",
            line=fault.line,
            **values,
        )
    return InvalidValue(
        N_("{path} cannot be changed as {format}: {why}. It is as it was."),
        remedy=remedy,
        code="client_file",
        **values,
    )
