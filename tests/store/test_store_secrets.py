"""The pepper, the master key, and what is sealed."""

from __future__ import annotations

import errno
import os
import stat
import sys

import pytest

from flm.errors import StoreError
from flm.paths import DataPaths
from flm.store import FileSecrets


def test_the_pepper_is_made_once_and_kept(paths: DataPaths):
    """32 bytes; another process reads the same."""
    first = FileSecrets(paths).pepper()
    assert (len(first), FileSecrets(paths).pepper()) == (32, first)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_the_key_files_are_private_whatever_the_umask(paths: DataPaths):
    """0600, and one that was opened up is closed again."""
    before = os.umask(0)
    try:
        secrets = FileSecrets(paths)
        secrets.pepper()
        secrets.seal(b"x", "p")
    finally:
        os.umask(before)
    paths.pepper.chmod(0o644)
    secrets.pepper()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (paths.pepper, paths.master_key)]
    assert modes == [0o600, 0o600]


@pytest.mark.parametrize("clear", [b"", b"sk-secret", bytes(range(256)) * 100])
def test_what_is_sealed_can_be_opened(paths: DataPaths, clear: bytes):
    """By another process too."""
    sealed = FileSecrets(paths).seal(clear, "engine:a")
    assert FileSecrets(paths).open(sealed, "engine:a") == clear


def test_sealing_twice_gives_two_texts(paths: DataPaths):
    """A nonce is never used again; the clear text is in neither."""
    secrets = FileSecrets(paths)
    one, two = secrets.seal(b"sk-secret", "p"), secrets.seal(b"sk-secret", "p")
    assert one != two
    assert b"sk-secret" not in one + two


def test_a_secret_opens_for_its_own_purpose_only(paths: DataPaths):
    """One engine's key moved into another engine's row stays closed."""
    secrets = FileSecrets(paths)
    sealed = secrets.seal(b"x", "engine:a")
    with pytest.raises(StoreError) as caught:
        secrets.open(sealed, "engine:b")
    assert caught.value.message == (
        f"The secret for engine:b cannot be opened with {paths.master_key}."
    )


@pytest.mark.parametrize("position", [0, 1, 12, 13, 20, -1])
def test_a_changed_byte_is_noticed(paths: DataPaths, position: int):
    """Version, nonce, text and tag are all authenticated."""
    secrets = FileSecrets(paths)
    sealed = bytearray(secrets.seal(b"a longer secret", "p"))
    sealed[position] ^= 1
    with pytest.raises(StoreError):
        secrets.open(bytes(sealed), "p")


@pytest.mark.parametrize("length", [0, 1, 12, 28])
def test_a_cut_secret_is_noticed(paths: DataPaths, length: int):
    """What is too short is damaged, not a crash."""
    secrets = FileSecrets(paths)
    with pytest.raises(StoreError):
        secrets.open(secrets.seal(b"x", "p")[:length], "p")


def test_another_master_key_opens_nothing(paths: DataPaths):
    """And says which file is meant."""
    secrets = FileSecrets(paths)
    sealed = secrets.seal(b"x", "p")
    paths.master_key.write_bytes(b"\x00" * 32)
    with pytest.raises(StoreError) as caught:
        secrets.open(sealed, "p")
    assert str(paths.master_key) in caught.value.message


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_key_file_of_another_length_is_damaged(paths: DataPaths, content: bytes):
    """It is never replaced in silence: every key ever made would be refused."""
    paths.pepper.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        FileSecrets(paths).pepper()
    assert "must hold 32 bytes" in caught.value.message
    assert paths.pepper.read_bytes() == content


def test_a_key_file_that_cannot_be_read_is_a_store_error(paths: DataPaths):
    """A directory in its place."""
    paths.pepper.mkdir()
    with pytest.raises(StoreError) as caught:
        FileSecrets(paths).pepper()
    assert str(paths.pepper) in caught.value.message


def test_a_file_system_without_hard_links_serves_too(
    paths: DataPaths, monkeypatch: pytest.MonkeyPatch
):
    """exFAT and some network shares."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    pepper = FileSecrets(paths).pepper()
    assert (pepper, len(pepper)) == (paths.pepper.read_bytes(), 32)
    assert [path.name for path in paths.root.glob(".pepper*")] == []
