"""`flm check` on data directories that are well, broken, half gone; it changes none of them."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Flm

from flm.domain.keys import KeyId
from flm.domain.records import JournalRecord
from flm.wire.journal import pack, segment_name
from support.fakes.vllm import VllmFake
from support.replay import ReplayServer


def record(number: int) -> bytes:
    """One record as the gateway appends it."""
    return pack(
        JournalRecord(
            id=f"req_{number}", time=1.0, key_id=KeyId("k"), model="m", engine="e", route="/",
            status=200, error="", latency_ms=1.0, first_token_ms=None, tokens_in=None,
            tokens_out=None, client="127.0.0.1", streamed=False,
        )
    )  # fmt: skip


def checked(flm: Flm) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """What the exit code is by what was found, by area, of all but this machine's engines."""
    ran = flm("check", "--format", "json")
    found = {area["name"]: area["findings"] for area in ran.data["areas"]}
    bad = {name for name in found if {level for level, _ in codes(found, name)} - {"note"}}
    assert ran.data["fine"] == (not bad)
    assert ran.code == int(bool(bad))
    return int(bool(bad - {"engines"})), found


def codes(found: dict[str, list[dict[str, str]]], *areas: str) -> list[tuple[str, str]]:
    """Level and code of what was found there."""
    return [(each["level"], each["code"]) for area in areas for each in found[area]]


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Everything in a folder: contents and modes."""
    return {
        str(path): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def used(flm: Flm, data_dir: Path) -> Path:
    """A data directory with a key and an engine that has one."""
    assert flm("api-keys", "create", "--label", "phone").code == 0
    return data_dir


def test_a_data_directory_that_is_not_there_is_not_made(flm: Flm, data_dir: Path) -> None:
    """There is nothing to mend."""
    code, found = checked(flm)
    assert (code, codes(found, "files")) == (0, [("note", "no_data_directory")])
    assert not data_dir.exists()


def test_what_is_well_is_said_to_be_and_stays_as_it_is(flm: Flm, used: Path) -> None:
    """Not a byte, not a mode, no new file."""
    before = state_of(used)
    code, found = checked(flm)
    assert state_of(used) == before
    assert code == 0
    assert codes(found, "process") == [("note", "not_running")]
    assert codes(found, "files", "databases", "secrets", "journal") == []


def test_people_are_told_area_by_area(flm: Flm, used: Path) -> None:
    """What is well in a word, what is not with what to do."""
    (used / "pepper").unlink()
    ran = flm("check")
    assert ran.code == 1
    assert "Databases: all is well" in ran.out
    assert "  error: " in ran.out
    assert "without which 1 keys cannot be verified" in ran.out
    assert "    Put the file back from a backup" in ran.out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"this is no database, " * 400, "database_unreadable"),
        (b"SQLite format 3\x00" + b"\xff" * 8000, "database_unreadable"),
    ],
)
def test_a_damaged_database_is_a_finding_and_no_traceback(
    flm: Flm, used: Path, content: bytes, code: str
) -> None:
    """The rest is looked at all the same."""
    (used / "security.db").write_bytes(content)
    (used / "config.db").write_bytes(content)
    ended, found = checked(flm)
    assert ended == 1
    assert codes(found, "databases") == [("error", code), ("error", code)]
    assert set(found) == {
        "process",
        "files",
        "databases",
        "secrets",
        "access",
        "journal",
        "engines",
    }


def test_a_page_that_was_overwritten_is_found(flm: Flm, used: Path) -> None:
    """SQLite's own check tells."""
    data = bytearray((used / "telemetry.db").read_bytes())
    page = 2 * int.from_bytes(data[16:18], "big")  # the third one; its size stands in the head
    data[page + 8 : page + 400] = b"\xff" * 392
    (used / "telemetry.db").write_bytes(data)
    code, found = checked(flm)
    assert code == 1
    assert [each["level"] for each in found["databases"]] == ["error"]


def test_a_missing_database_is_a_loss(flm: Flm, used: Path) -> None:
    """It is not made anew in silence."""
    (used / "config.db").unlink()
    code, found = checked(flm)
    assert (code, codes(found, "databases")) == (1, [("error", "database_missing")])
    assert not (used / "config.db").exists()


@pytest.mark.parametrize(
    ("version", "expected", "code"),
    [
        ("config_99", [("error", "schema_newer")], 1),
        ("config_1", [("note", "schema_older")], 0),
    ],
)
def test_the_schema_of_another_version_is_told(
    flm: Flm, used: Path, version: str, expected: list[tuple[str, str]], code: int
) -> None:
    """An older one is brought up to date by the next start."""
    with sqlite3.connect(used / "config.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()
    ended, found = checked(flm)
    assert (ended, codes(found, "databases")) == (code, expected)


def test_a_database_without_its_revision_row_is_told(flm: Flm, used: Path) -> None:
    """Nobody would hear of changes."""
    with sqlite3.connect(used / "security.db") as connection:
        connection.execute("DELETE FROM revision")
    connection.close()
    code, found = checked(flm)
    assert (code, codes(found, "databases")) == (1, [("error", "revision_missing")])


def test_a_lost_or_changed_pepper_is_told_with_the_keys_it_costs(flm: Flm, used: Path) -> None:
    """Missing, cut short, another one; the one that is right is none of these."""
    pepper = (used / "pepper").read_bytes()
    told = []
    for content in (None, b"short", b"x" * 32, pepper):
        (used / "pepper").unlink(missing_ok=True)
        if content is not None:
            (used / "pepper").write_bytes(content)
            (used / "pepper").chmod(0o600)
        told.append(codes(checked(flm)[1], "secrets"))
    assert told == [
        [("error", "secret_missing")],
        [("error", "secret_damaged")],
        [("error", "pepper_changed")],
        [],
    ]


def test_a_lost_or_changed_master_key_is_told_with_the_engines_it_costs(
    flm: Flm, used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none is made by looking."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sk-1")))
    flm("engines", "add", "mine", "--url", "http://127.0.0.1:1", "--api-key-stdin")
    assert codes(checked(flm)[1], "secrets") == []
    (used / "master.key").write_bytes(b"y" * 32)
    _, changed = checked(flm)
    (used / "master.key").unlink()
    _, missing = checked(flm)
    assert not (used / "master.key").exists()
    assert codes(changed, "secrets") == [("error", "master_key_changed")]
    assert "mine" in changed["secrets"][0]["message"]
    assert codes(missing, "secrets") == [("error", "secret_missing")]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_what_others_may_read_is_told_with_the_command_that_closes_it(flm: Flm, used: Path) -> None:
    """The directory, and files in it."""
    used.chmod(0o755)
    (used / "pepper").chmod(0o644)
    code, found = checked(flm)
    assert (code, codes(found, "files")) == (1, [("warning", "readable_by_others")] * 2)
    assert f"chmod 700 {used}" in found["files"][0]["remedy"]
    assert f"chmod 600 {used / 'pepper'}" in found["files"][1]["remedy"]


def test_what_waits_in_the_journal_is_counted(flm: Flm, used: Path) -> None:
    """A torn tail is what a killed gateway leaves."""
    folder = used / "journal" / "instance"
    folder.mkdir(mode=0o700)
    segment = folder / segment_name(1)
    segment.write_bytes(b"".join(record(number) for number in range(3)) + record(4)[:10])
    segment.chmod(0o600)
    code, found = checked(flm)
    assert (code, codes(found, "journal")) == (
        0, [("note", "journal_waiting"), ("note", "journal_torn")],
    )  # fmt: skip
    assert found["journal"][0]["message"].startswith("3 records wait")
    assert "10 bytes" in found["journal"][1]["message"]


def test_a_journal_with_a_hole_is_damaged(flm: Flm, used: Path) -> None:
    """More is lost than one record that was being written."""
    folder = used / "journal" / "instance"
    folder.mkdir(mode=0o700)
    segment = folder / segment_name(1)
    segment.write_bytes(record(1) + b"\x00" * 10 + record(2) * 2000)
    segment.chmod(0o600)
    code, found = checked(flm)
    assert (code, codes(found, "journal")) == (
        1, [("note", "journal_waiting"), ("warning", "journal_damaged")],
    )  # fmt: skip


def test_engines_are_looked_at_when_nothing_serves(flm: Flm, used: Path) -> None:
    """One that is down, one with a known hole; nothing is remembered of it."""
    with VllmFake() as fake, ReplayServer({}) as gone:
        fake.routes["GET", "/version"] = _version("0.19.0")
        flm("engines", "add", "old", "--url", fake.address.url, "--kind", "vllm")
        flm("engines", "add", "down", "--url", gone.address.url)
        gone.close()
        before = state_of(used)
        code, found = checked(flm)
        assert state_of(used) == before
    told = {each["code"]: each["message"] for each in found["engines"]}
    assert code == 0
    assert told["known_hole"] == ("old is version 0.19.0, which has known holes: CVE-2026-48746.")
    assert told["engine_unreachable"] == "down does not answer: connection refused."


def _version(text: str) -> bytes:
    body = f'{{"version":"{text}"}}'
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        f"\r\n\r\n{body}"
    ).encode()
