"""API keys: their form, their checksum, their state."""

from __future__ import annotations

import re
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.domain.keys import (
    KEY_PATTERN,
    OWNER_LOOKUP_ID,
    ApiKey,
    KeyId,
    checksum,
    digest,
    has_form,
    id_of,
    new_key,
)


def test_a_new_key_has_the_form_that_scanners_look_for():
    """`flm_`, ten characters of id, forty-three of secret, six of checksum."""
    key_id, text = new_key(secrets.choice)
    assert re.fullmatch(KEY_PATTERN, text)
    assert len(text) == 64
    assert text[4:14] == key_id


def test_a_known_key_is_made_of_known_parts():
    """The same choices make the same key: id, secret and CRC-32 in base 62."""
    key_id, text = new_key(lambda alphabet: alphabet[0])
    assert key_id == "0000000000"
    assert text == "flm_0000000000_" + "0" * 43 + checksum("flm_0000000000_" + "0" * 43)
    assert text[-6:] == "2SZwAF"


def test_the_owner_key_can_be_looked_up_by_its_own_id():
    """The owner key's text holds the id under which a snapshot lists it."""
    _, text = new_key(secrets.choice, OWNER_LOOKUP_ID)
    assert id_of(text.encode()) == OWNER_LOOKUP_ID


def test_a_key_with_one_wrong_character_fails_its_checksum():
    """Typing errors are told from guesses without a look-up."""
    _, text = new_key(secrets.choice)
    wrong = text[:20] + ("a" if text[20] != "a" else "b") + text[21:]
    assert text[-6:] == checksum(text[:-6])
    assert has_form(wrong.encode())
    assert wrong[-6:] != checksum(wrong[:-6])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"flm_",
        b"sk-1234567890",
        b"flm_0000000000_" + b"0" * 48,
        b"flm_0000000000_" + b"0" * 50,
        b"flm_000000000-_" + b"0" * 49,
        b"FLM_0000000000_" + b"0" * 49,
        b"flm_0000000000_" + b"0" * 48 + b"\n",
        b"flm_0000000000_" + b"0" * 49 + b"\n",
    ],
)
def test_what_is_no_key_has_not_the_form(text: bytes):
    """Length, prefix and alphabet must all be right; a line end is not part of a key."""
    assert not has_form(text)


@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=80))
def test_a_checksum_is_always_six_characters_of_base_62(stem: str):
    """So that every key has one length."""
    assert re.fullmatch("[0-9A-Za-z]{6}", checksum(stem))


def test_a_digest_depends_on_the_pepper():
    """A stolen table of digests cannot be tried against without the pepper."""
    assert digest(b"a" * 32, b"key") != digest(b"b" * 32, b"key")
    assert len(digest(b"a" * 32, b"key")) == 32


def test_a_key_expires_at_its_moment_and_revocation_outlives_it():
    """Active before, expired from the moment on; a revoked key stays revoked."""
    key = ApiKey(
        id=KeyId("x"), label="l", digest=b"", last4="abcd", created_at=0.0, expires_at=10.0
    )
    revoked = ApiKey(
        id=KeyId("x"), label="l", digest=b"", last4="abcd", created_at=0.0, expires_at=10.0,
        revoked_at=5.0,
    )  # fmt: skip
    assert [key.state(9.9), key.state(10.0)] == ["active", "expired"]
    assert [revoked.state(4.9), revoked.state(5.0), revoked.state(11.0)] == [
        "active", "revoked", "revoked",
    ]  # fmt: skip
