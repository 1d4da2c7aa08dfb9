"""Writing a client's files and taking it back: byte for byte, whatever was in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flm.errors import Conflict, InvalidValue, StoreError
from flm.services.connect.keeping import Connection, Keeping, Kept
from flm.services.connect.registry import REGISTRY
from flm.services.connect.situation import ClientName, FileSettings
from flm.services.connect.writing import Writing, Written
from services.conftest import OwnClock
from services.connect_support import KEY, OwnFiles, PlainSecrets, situation

WRITTEN: tuple[ClientName, ...] = ("claude", "codex", "continue", "aider", "zed")
SUFFIX = "flm-backup-20260101T000000Z"


def settings(client: ClientName, model: str = "qwen3:8b") -> FileSettings:
    """The first file of a client, with a key in it where it keeps one."""
    here = situation(key=KEY)
    chosen = here.model._replace(name=model)
    return REGISTRY[client].settings(situation(model=chosen, key=KEY)).files[0]


class Desk:
    """Files in memory, and what was written to one of them."""

    def __init__(self, folder: Path) -> None:
        self.files = OwnFiles()
        keeping = Keeping(folder / "connect.json", PlainSecrets)
        self.writing = Writing(self.files, keeping, OwnClock(1_767_225_600.0))

    def write(self, file: FileSettings, known: Kept | None = None) -> tuple[Written, Kept]:
        """Plan and do."""
        plan = self.writing.plan(file, known)
        done = self.writing.write(plan, private=True)
        return done, self.writing.remembered(plan, done)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Nothing is written yet."""
    return Desk(tmp_path)


@pytest.mark.parametrize("client", WRITTEN)
def test_what_flm_made_is_removed_again(desk: Desk, client: ClientName) -> None:
    """A file that was not there is not there."""
    done, kept = desk.write(settings(client))

    assert (done.changed, done.backup) == (True, None)
    assert desk.files.files[settings(client).path][1] == 0o600
    assert desk.writing.undo(kept).removed
    assert desk.files.files == {}


@pytest.mark.parametrize("client", WRITTEN)
def test_a_second_run_changes_nothing(desk: Desk, client: ClientName) -> None:
    """No second backup either, and undo still knows the first state."""
    desk.files.files[settings(client).path] = (b"", 0o644)
    _, kept = desk.write(settings(client))
    before = dict(desk.files.files)

    again, kept = desk.write(settings(client), kept)

    assert (again.changed, again.backup) == (False, None)
    assert desk.files.files == before
    desk.writing.undo(kept)
    assert desk.files.files[settings(client).path] == (b"", 0o644)


def test_another_model_takes_the_place_of_the_one_before(desk: Desk) -> None:
    """And what was before both comes back."""
    path = settings("codex").path
    desk.files.files[path] = (b'model = "gpt-5" # mine\n', 0o644)
    _, kept = desk.write(settings("codex"))
    done, kept = desk.write(settings("codex", "other"), kept)

    assert done.changed
    assert desk.files.files[path][0].startswith(b'model = "other" # mine\n')
    desk.writing.undo(kept)
    assert desk.files.files[path] == (b'model = "gpt-5" # mine\n', 0o644)


def test_a_key_in_a_file_is_for_its_owner_only(desk: Desk) -> None:
    """The backup too; other modes come back with the text."""
    path = settings("codex").path
    desk.files.files[path] = (b"", 0o644)

    done, _ = desk.write(settings("codex"))

    assert (done.tightened, done.backup) == (True, f"{path}.{SUFFIX}")
    assert desk.files.files[path][1] == 0o600
    assert desk.files.files[f"{path}.{SUFFIX}"] == (b"", 0o600)


@pytest.mark.parametrize("client", WRITTEN)
def test_marks_and_line_ends_of_windows_stay(desk: Desk, client: ClientName) -> None:
    """A byte order mark, and a carriage return on every line, FLM's lines included."""
    text = {"json": b"{\r\n}\r\n", "toml": b"a = 1\r\n", "yaml": b"a: 1\r\n"}
    file = settings(client)
    before = b"\xef\xbb\xbf" + text[file.format]
    desk.files.files[file.path] = (before, 0o600)

    _, kept = desk.write(file)
    written = desk.files.files[file.path][0]

    assert written.startswith(b"\xef\xbb\xbf")
    assert written.count(b"\r\n") == written.count(b"\n") > 2
    desk.writing.undo(kept)
    assert desk.files.files[file.path][0] == before


@pytest.mark.parametrize(
    ("client", "text", "message"),
    [
        ("claude", b'{"env": ', "JSON: line 1: a value is expected here"),
        ("codex", b"model = ", "TOML: Invalid value (at end of document)"),
        ("continue", b"models: [", "YAML: line 1: expected the node content"),
        ("zed", b"\xff\xfe{", "JSON: it is not UTF-8 (invalid start byte at byte 0)"),
    ],
)
def test_a_file_that_does_not_parse_is_left_alone(
    desk: Desk, client: ClientName, text: bytes, message: str
) -> None:
    """What is wrong with it is said."""
    path = settings(client).path
    desk.files.files[path] = (text, 0o644)

    with pytest.raises(InvalidValue) as caught:
        desk.write(settings(client))

    assert caught.value.message.startswith(f"{path} cannot be changed as {message}")
    assert desk.files.files == {path: (text, 0o644)}


def test_what_the_user_changed_since_stays(desk: Desk) -> None:
    """FLM's entries go, a backup is left, and the user's own token is told of."""
    file = settings("claude")
    desk.files.files[file.path] = (b'{\n  "model": "opus"\n}\n', 0o600)
    _, kept = desk.write(file)
    edited = desk.files.files[file.path][0].replace(b"opus", b"haiku").replace(
        KEY.encode(), b"their own"
    )  # fmt: skip
    desk.files.files[file.path] = (edited, 0o600)

    told = desk.writing.undo(kept)

    assert desk.files.files[file.path][0] == (
        b'{\n  "model": "haiku",\n  "env": {\n    "ANTHROPIC_AUTH_TOKEN": "their own"\n  }\n}\n'
    )
    assert told.kept == (("env", "ANTHROPIC_AUTH_TOKEN"),)
    assert desk.files.files[str(told.backup)][0] == edited


def test_a_file_that_is_gone_needs_no_undo(desk: Desk) -> None:
    """Nothing is made of it."""
    _, kept = desk.write(settings("zed"))
    desk.files.files.clear()

    assert not desk.writing.undo(kept).changed
    assert desk.files.files == {}


def test_a_file_that_changes_meanwhile_is_left_alone(desk: Desk) -> None:
    """Between reading and writing another program was there."""
    plan = desk.writing.plan(settings("zed"), None)
    desk.files.files[settings("zed").path] = (b"{}", 0o600)

    with pytest.raises(Conflict):
        desk.writing.write(plan, private=False)
    assert desk.files.files[settings("zed").path] == (b"{}", 0o600)


def test_a_broken_memory_names_the_backup(desk: Desk) -> None:
    """So that a person can go on."""
    path = settings("zed").path
    desk.files.files[path] = (b"{}", 0o600)
    _, kept = desk.write(settings("zed"))
    broken = Kept(
        path=kept.path, format=kept.format, digest=kept.digest, mode=None, folders=(),
        backup=kept.backup, sealed=b"connect?",
    )  # fmt: skip

    with pytest.raises(StoreError) as caught:
        desk.writing.undo(broken)
    assert f"{path}.{SUFFIX}" in caught.value.remedy


def test_connections_are_kept_in_a_private_file(tmp_path: Path) -> None:
    """And forgotten one by one."""
    keeping = Keeping(tmp_path / "connect.json", PlainSecrets)
    one = Connection(model="m", at=1.0, key="UDLTSGBbAF")
    keeping.set("zed", one)
    keeping.set("codex", Connection(model="m", at=2.0))
    keeping.set("codex", None)

    assert (tmp_path / "connect.json").stat().st_mode & 0o777 == 0o600
    assert Keeping(tmp_path / "connect.json", PlainSecrets).get("zed") == one
    assert keeping.get("codex") is None


def test_a_damaged_memory_is_told_of(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "connect.json").write_text("{")
    with pytest.raises(StoreError, match=r"connect\.json is damaged"):
        Keeping(tmp_path / "connect.json", PlainSecrets).get("zed")


text = some.lists(
    some.sampled_from(["# c", "", "model{}x", "a{}[1, 2]", "日本{}'y'", "  ", "b{}null"]),
    max_size=6,
)


@given(some.sampled_from(WRITTEN), text, some.sampled_from(["\n", "\r\n"]), some.booleans())
def test_undone_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    client: ClientName,
    lines: list[str],
    end: str,
    ended: bool,
) -> None:
    """Whatever was in the file, if it could be written at all: byte for byte, mode included."""
    file = settings(client)
    sign = {"json": "//", "toml": ' = "q" # ', "yaml": ": "}[file.format]
    form = "{{}} // {}" if file.format == "json" else "{}"
    body = [line.replace("{}", sign) for line in lines]
    data = (end.join(form.format(each) for each in body) + (end if ended else "")).encode()
    desk = Desk(tmp_path_factory.getbasetemp())
    desk.files.files[file.path] = (data, 0o640)
    try:
        _, kept = desk.write(file)
    except InvalidValue:
        assert desk.files.files == {file.path: (data, 0o640)}
        return
    desk.writing.undo(kept)
    assert desk.files.files[file.path] == (data, 0o640)
