"""Keys that an address counts as, and what can be changed of a key; over a real store."""

from __future__ import annotations

import secrets

import pytest
from msgspec import UNSET

from flm.domain.keys import ApiKey, KeyId
from flm.errors import Conflict, InvalidValue, NotFound
from flm.paths import DataPaths
from flm.ports.clock import Clock
from flm.ports.notify import Notify
from flm.ports.repositories import Store
from flm.services.exposure import keyless
from flm.services.keys import KeyService
from flm.store import FileSecrets

NOW = 1_767_225_600.0


@pytest.fixture
def keys(store: Store, paths: DataPaths, clock: Clock, bell: Notify) -> KeyService:
    """The service as the CLI has it."""
    return KeyService(store.keys, FileSecrets(paths), clock, secrets.choice, bell)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.0.0.1/32", "127.0.0.1"), ("::1", "::1"),
        (" 192.168.1.7 ", "192.168.1.7"), ("192.168.1.0/24", "192.168.1.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"), ("172.16.0.0/12", "172.16.0.0/12"),
        ("100.101.102.103", "100.101.102.103"), ("169.254.1.1", "169.254.1.1"),
        ("FD00::1", "fd00::1"), ("fe80::/10", "fe80::/10"), ("127.0.0.0/8", "127.0.0.0/8"),
    ],
)  # fmt: skip
def test_an_address_near_by_is_kept_in_its_one_form(
    keys: KeyService, given: str, kept: str
) -> None:
    """This machine, private networks, the same cable, Tailscale."""
    made, _ = keys.create("a", keyless_from=given)
    assert keys.get(made.id).keyless_from == kept


@pytest.mark.parametrize(
    "given",
    [
        "8.8.8.8", "0.0.0.0", "0.0.0.0/0", "::/0", "::", "2001:db8::1", "172.16.0.0/11",
        "10.0.0.0/7",
        "192.168.1.5/24", "localhost", "192.168.1", "*", "any", "fe80::1%eth0", "::ffff:127.0.0.1",
        "100.0.0.0/8", "224.0.0.1", "127.0.0.1:80", "256.1.1.1", "١٢٧.٠.٠.١",
    ],
)  # fmt: skip
def test_an_address_that_strangers_can_have_is_refused(keys: KeyService, given: str) -> None:
    """And what is no address; nothing is made."""
    with pytest.raises(InvalidValue):
        keys.create("a", keyless_from=given)
    assert keys.all() == []


def test_an_address_is_one_key_s(keys: KeyService, bell) -> None:
    """A network that holds it is it too; the other key is named with what to do."""
    first, _ = keys.create("shed", keyless_from="192.168.1.0/24")
    second, _ = keys.create("laptop", keyless_from="127.0.0.1")
    pokes = bell.pokes
    for wanted in ("192.168.1.0/24", "192.168.1.9", "192.168.0.0/16", "127.0.0.0/8"):
        with pytest.raises(Conflict):
            keys.create("b", keyless_from=wanted)
    with pytest.raises(Conflict) as caught:
        keys.update(second.id, keyless_from="192.168.1.9")
    assert first.id in caught.value.message
    assert f"flm api-keys update {first.id} --keyless-from none" in caught.value.remedy
    assert keys.get(second.id).keyless_from == "127.0.0.1"
    assert bell.pokes == pokes
    keys.create("c", keyless_from="192.168.2.0/24")
    keys.create("d", keyless_from="::1")


def test_an_address_is_free_when_its_key_lets_go(keys: KeyService) -> None:
    """By an update or a revocation."""
    first, _ = keys.create("a", keyless_from="127.0.0.1")
    keys.update(first.id, keyless_from="")
    second, _ = keys.create("b", keyless_from="127.0.0.1")
    keys.revoke(second.id)
    assert keys.create("c", keyless_from="127.0.0.1")[0].keyless_from == "127.0.0.1"


def test_a_rotated_key_hands_its_address_on(keys: KeyService) -> None:
    """At once, also when it may be used for a while itself."""
    old, _ = keys.create("a", keyless_from="127.0.0.1")
    new, _ = keys.rotate(old.id, 3600)
    assert (keys.get(old.id).keyless_from, keys.get(new.id).keyless_from) == ("", "127.0.0.1")


def test_an_update_changes_what_is_given_and_nothing_else(keys: KeyService, bell) -> None:
    """What runs is told; the digest, and so the key itself, stays."""
    made, _ = keys.create("a", NOW + 60, "127.0.0.1")
    pokes = bell.pokes
    changed = keys.update(made.id, label=" b ")
    assert (changed.label, changed.expires_at, changed.keyless_from) == ("b", NOW + 60, "127.0.0.1")
    assert keys.update(made.id, expires_at=NOW + 90).expires_at == NOW + 90
    assert keys.update(made.id, expires_at=None).expires_at is None
    again = keys.update(made.id, expires_at=UNSET, keyless_from="127.0.0.0/8")
    assert (again.expires_at, again.keyless_from, again.label) == (None, "127.0.0.0/8", "b")
    assert (again.digest, again.last4, again.created_at) == (made.digest, made.last4, NOW)
    assert bell.pokes == pokes + 4


def test_what_is_wrong_changes_nothing(keys: KeyService) -> None:
    """A label, a past, an address, a key that is revoked or unknown."""
    made, _ = keys.create("a")
    for wrong in ({"label": ""}, {"expires_at": NOW - 1.0}, {"keyless_from": "8.8.8.8"}):
        with pytest.raises(InvalidValue):
            keys.update(made.id, **wrong)
    assert keys.get(made.id) == made
    keys.revoke(made.id)
    with pytest.raises(Conflict):
        keys.update(made.id, label="b")
    with pytest.raises(NotFound):
        keys.update("nobody", label="b")


def test_open_addresses_are_noted_by_the_check(keys: KeyService) -> None:
    """A note: it was somebody's choice, and may have been forgotten."""
    keys.create("a")
    made, _ = keys.create("b", keyless_from="10.0.0.0/8")
    (found,) = keyless(keys.all())
    assert (found.code, found.level, found.values["address"], found.values["key"]) == (
        "keyless", "note", "10.0.0.0/8", made.id,
    )  # fmt: skip
    gone = ApiKey(id=KeyId("x"), label="x", digest=b"", last4="", created_at=0.0, revoked_at=1.0,
                  keyless_from="127.0.0.1")  # fmt: skip
    assert keyless([gone]) == ()
