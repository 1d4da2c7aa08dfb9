"""API keys: ``flm_<id>_<secret><checksum>``.

The id is 10 base-62 characters and looks the key up; the secret is 43 base-62 characters
(256 bits); the checksum is the CRC-32 of everything before it as 6 base-62 characters, so that
scanners and typing errors are told from guesses offline (GitHub's token format). A key is stored
as its HMAC-SHA256 under the installation's pepper: 256 random bits need no slow hash, and a slow
hash on every request would be a denial of service against ourselves.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Callable
from typing import Literal, NewType

import msgspec

KeyId = NewType("KeyId", str)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "flm_"
ID_LENGTH = 10
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
KEY_PATTERN = r"flm_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}"
"""For secret scanners: every key of ours, and nothing else of that length, matches."""

OWNER_ID = KeyId("owner")
"""The id under which requests with the in-memory owner key are journalled."""

OWNER_LOOKUP_ID = KeyId("FLM0owner0")
"""The id inside the owner key's text, and its place in a snapshot: it has a key id's form."""

ID_START = len(PREFIX)
ID_END = ID_START + ID_LENGTH
"""Where the id lies in a key's text."""

_FORM = re.compile(KEY_PATTERN.encode())

KeyState = Literal["active", "revoked", "expired"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key. Times are UTC seconds since the epoch; ``digest`` is 32 bytes.

    ``instance``: which FLM made it (`flm.domain.instance`), by its pepper; '' where that was not
    noted. ``keyless_from``: the address or network whose requests count as this key's without
    naming it (`addresses.near_text`), '' for none.
    """

    id: KeyId
    label: str
    digest: bytes
    last4: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    rotated_to: KeyId | None = None
    instance: str = ""
    keyless_from: str = ""

    def state(self, now: float) -> KeyState:
        """What the key is at `now`: a revoked key stays revoked after its expiry."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits


def checksum(stem: str) -> str:
    """The 6 base-62 characters of the CRC-32 of `stem` (everything before the checksum)."""
    return _base62(zlib.crc32(stem.encode()), CHECKSUM_LENGTH)


def new_key(choice: Callable[[str], str], key_id: KeyId | None = None) -> tuple[KeyId, str]:
    """A new key's id and its full text; `choice` picks one character (`secrets.choice`).

    ``key_id`` is given for the owner key only (`OWNER_LOOKUP_ID`).
    """
    key_id = key_id or KeyId("".join(choice(ALPHABET) for _ in range(ID_LENGTH)))
    stem = f"{PREFIX}{key_id}_" + "".join(choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return key_id, stem + checksum(stem)


def has_form(text: bytes) -> bool:
    """Whether `text` has FLM's form; says nothing about its checksum."""
    return _FORM.fullmatch(text) is not None


def id_of(text: bytes) -> KeyId:
    """The key id inside a text of FLM's form."""
    return KeyId(text[ID_START:ID_END].decode("ascii"))


def digest(pepper: bytes, text: bytes) -> bytes:
    """The 32 bytes under which a key is stored and compared."""
    return hmac.digest(pepper, text, "sha256")
