"""The installation's own secrets: the pepper, the master key, and what is sealed under it.

Each key is 32 random bytes in a 0600 file of its own, outside the databases and their backups.
A sealed text is one byte of version, 12 bytes of nonce, and AES-256-GCM's ciphertext and tag;
version and purpose are authenticated with it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from flm.errors import N_, StoreError
from flm.paths import FILE_MODE, DataPaths, make_private

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = b"\x01"
_TAG_BYTES = 16


class FileSecrets:
    """`Secrets` in files of the data directory. ``random`` gives that many random bytes."""

    def __init__(
        self, paths: DataPaths, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._paths = paths
        self._random = random

    def pepper(self) -> bytes:
        """32 random bytes, made on first use; every caller ever gets the same."""
        return self._key(self._paths.pepper)

    def seal(self, clear: bytes, purpose: str) -> bytes:
        """AES-256-GCM under the master key; `purpose` is authenticated and needed to open."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = self._random(NONCE_BYTES)
        key = self._key(self._paths.master_key)
        return VERSION + nonce + AESGCM(key).encrypt(nonce, clear, VERSION + purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises `StoreError` when it was sealed under another key or purpose, or is damaged."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != VERSION or len(text) < _TAG_BYTES:
            raise self._unreadable(purpose)
        try:
            key = self._key(self._paths.master_key)
            return AESGCM(key).decrypt(nonce, text, VERSION + purpose.encode())
        except InvalidTag as error:
            raise self._unreadable(purpose) from error

    def _unreadable(self, purpose: str) -> StoreError:
        return StoreError(
            N_("The secret for {purpose} cannot be opened with {path}."),
            remedy=N_("Put that file back from a backup, or give the secret again."),
            purpose=purpose,
            path=self._paths.master_key,
        )

    def _key(self, path: Path) -> bytes:
        try:
            if not path.exists():
                self._make(path)
            make_private(path)
            key = path.read_bytes()
        except OSError as error:
            raise StoreError(
                N_("{path} cannot be read or written: {why}."),
                remedy=N_("Look at the free space and at who may write the data directory."),
                path=path,
                why=error.strerror or str(error),
            ) from error
        if len(key) != KEY_BYTES:
            raise StoreError(
                N_("{path} is damaged: it must hold {expected} bytes and holds {found}."),
                remedy=N_("Put the file back from a backup; without it the keys and secrets made "
                          "with it are lost."),
                path=path,
                expected=KEY_BYTES,
                found=len(key),
            )  # fmt: skip
        return key

    def _make(self, path: Path) -> None:
        """Write the key whole, then give it its name, if nobody was faster: no half key, ever."""
        draft = path.with_name(f".{path.name}.{os.getpid()}.{self._random(4).hex()}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._random(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                if not path.exists():
                    draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
