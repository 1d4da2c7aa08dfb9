"""API keys, over a real store."""

from __future__ import annotations

import secrets

import pytest

from flm.domain.keys import checksum, digest, has_form, id_of
from flm.errors import Conflict, InvalidValue, NotFound
from flm.paths import DataPaths
from flm.ports.clock import Clock
from flm.ports.notify import Notify
from flm.ports.repositories import Store
from flm.services.keys import KeyService, parse_expiry
from flm.store import FileSecrets

NOW = 1_767_225_600.0


@pytest.fixture
def keys(store: Store, paths: DataPaths, clock: Clock, bell: Notify) -> KeyService:
    """The service as the CLI has it."""
    return KeyService(store.keys, FileSecrets(paths), clock, secrets.choice, bell)


def test_a_new_key_has_the_form_and_its_digest_is_kept(keys: KeyService, paths: DataPaths):
    """The clear text is checked by its digest under the pepper, and is stored nowhere."""
    key, clear = keys.create("laptop", NOW + 60)
    text = clear.encode()
    assert has_form(text)
    assert text[-6:] == checksum(text[:-6].decode()).encode()
    assert id_of(text) == key.id
    assert key.digest == digest(FileSecrets(paths).pepper(), text)
    assert (key.label, key.last4, key.created_at, key.expires_at) == (
        "laptop",
        clear[-4:],
        NOW,
        NOW + 60,
    )
    assert keys.get(key.id) == key
    files = [path.read_bytes() for path in paths.root.iterdir() if path.is_file()]
    assert [data for data in files if text in data or text[15:] in data] == []


def test_what_runs_is_told_of_every_change(keys: KeyService, bell):
    """Create, rotate, revoke; a refusal tells nobody."""
    key, _ = keys.create("a")
    new, _ = keys.rotate(key.id)
    keys.revoke(new.id)
    with pytest.raises(Conflict):
        keys.revoke(new.id)
    assert bell.pokes == 3


@pytest.mark.parametrize("label", ["", "   ", "a\nb", "\x1b[2J", "x" * 101])
def test_a_label_is_printable_and_short(keys: KeyService, label: str):
    """It is shown on terminals."""
    with pytest.raises(InvalidValue):
        keys.create(label)
    assert keys.all() == []


def test_a_label_may_be_japanese(keys: KeyService):
    """And is trimmed."""
    key, _ = keys.create("  山田のノート ")
    assert key.label == "山田のノート"


def test_an_expiry_in_the_past_is_refused(keys: KeyService):
    """Such a key would never work."""
    with pytest.raises(InvalidValue):
        keys.create("a", NOW)


def test_a_revoked_key_is_revoked_from_now_on(keys: KeyService, clock):
    """Not from its creation, not from the next restart."""
    key, _ = keys.create("a")
    clock.time += 10
    revoked = keys.revoke(key.id)
    assert (revoked.revoked_at, revoked.state(clock.time)) == (NOW + 10, "revoked")


def test_revoking_twice_says_so(keys: KeyService):
    """The message tells that nothing is left to do."""
    key, _ = keys.create("a")
    keys.revoke(key.id)
    with pytest.raises(Conflict) as caught:
        keys.revoke(key.id)
    assert caught.value.message == f"The key {key.id} was revoked before."


def test_an_unknown_key_names_the_nearest_and_how_to_list(keys: KeyService):
    """A typing error is answered with what was meant."""
    with pytest.raises(NotFound) as caught:
        keys.get("abc")
    assert caught.value.remedy == "`flm api-keys list` shows all of them."
    key, _ = keys.create("a")
    with pytest.raises(NotFound) as caught:
        keys.revoke(key.id[:-1])
    assert caught.value.remedy == f"Did you mean {key.id}? `flm api-keys list` shows all of them."


def test_rotation_gives_a_successor_and_ends_the_old_one_after_its_grace(keys: KeyService, clock):
    """Both work meanwhile; label and expiry go over."""
    old, old_clear = keys.create("a", NOW + 1_000_000)
    new, clear = keys.rotate(old.id, 3_600)
    rotated = keys.get(old.id)
    assert clear != old_clear
    assert (new.label, new.expires_at) == ("a", NOW + 1_000_000)
    assert (rotated.rotated_to, rotated.revoked_at) == (new.id, NOW + 3_600)
    assert [rotated.state(NOW + at) for at in (3_599, 3_600)] == ["active", "revoked"]


def test_a_rotation_without_grace_ends_the_old_one_at_once(keys: KeyService):
    """The default."""
    old, _ = keys.create("a")
    keys.rotate(old.id)
    assert keys.get(old.id).state(NOW) == "revoked"


def test_a_rotated_key_can_be_revoked_in_its_grace_period(keys: KeyService):
    """It leaked: it ends now."""
    old, _ = keys.create("a")
    keys.rotate(old.id, 3_600)
    assert keys.revoke(old.id).state(NOW) == "revoked"


def test_a_key_is_rotated_once(keys: KeyService):
    """The message names the successor."""
    old, _ = keys.create("a")
    new, _ = keys.rotate(old.id, 3_600)
    with pytest.raises(Conflict) as caught:
        keys.rotate(old.id)
    assert caught.value.remedy == f"Rotate {new.id} instead."


def test_revoked_and_expired_keys_are_not_rotated(keys: KeyService, clock):
    """Rotation is no way back."""
    revoked, _ = keys.create("a")
    expiring, _ = keys.create("b", NOW + 10)
    keys.revoke(revoked.id)
    clock.time += 10
    for key, word in ((revoked, "is revoked"), (expiring, "has expired")):
        with pytest.raises(Conflict) as caught:
            keys.rotate(key.id)
        assert word in caught.value.message
    assert len(keys.all()) == 2


@pytest.mark.parametrize("grace", [-1.0, 31_536_001.0, float("nan"), float("inf")])
def test_a_grace_period_has_bounds(keys: KeyService, grace: float):
    """An endless one would be no rotation."""
    key, _ = keys.create("a")
    with pytest.raises(InvalidValue):
        keys.rotate(key.id, grace)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30d", NOW + 2_592_000),
        ("12h", NOW + 43_200),
        ("2026-01-01", NOW + 86_400),
        ("2026-01-02T00:00:00+09:00", NOW + 54_000),
        (" Never ", None),
    ],
)
def test_an_expiry_is_a_span_a_moment_or_never(text: str, at: float | None):
    """A date includes its day."""
    assert parse_expiry(text, NOW) == at


@pytest.mark.parametrize("text", ["0d", "2025-12-31", "2026-01-01T00:00", "1970-01-01"])
def test_an_expiry_to_come_is_asked_for(text: str):
    """What is past is refused with examples."""
    with pytest.raises(InvalidValue) as caught:
        parse_expiry(text, NOW)
    assert caught.value.message == "The expiry lies in the past."


@pytest.mark.parametrize("text", ["", "soon", "999999999d", "9999-12-31", "9998-12-31"])
def test_what_is_no_expiry_is_refused(text: str):
    """More than a hundred years is a typing error."""
    with pytest.raises(InvalidValue) as caught:
        parse_expiry(text, NOW)
    assert "is no expiry" in caught.value.message
