"""The address of a key in security.db, and two processes that want the same one."""

from __future__ import annotations

import threading

import msgspec
import pytest

from flm.domain.keys import ApiKey, KeyId
from flm.errors import Conflict
from flm.paths import DataPaths
from flm.ports.repositories import Store
from flm.store import open_store


def key(name: str, place: str = "") -> ApiKey:
    """A key of that id."""
    return ApiKey(
        id=KeyId(name), label=name, digest=b"d" * 32, last4="abcd", created_at=1.0,
        instance="i", keyless_from=place,
    )  # fmt: skip


def test_a_key_comes_back_with_its_address(store: Store) -> None:
    """One by one, in the list, and in what a snapshot is made from."""
    one = key("one", "127.0.0.1")
    store.keys.add(one)
    assert store.keys.get(KeyId("one")) == one
    assert store.keys.all() == [one]
    assert store.everything().keys == [one]


def test_an_update_bumps_the_revision(store: Store) -> None:
    """The controller sees it; nothing is updated that is not there."""
    store.keys.add(key("one"))
    before = store.revisions().security
    assert store.keys.update(key("one", "::1")) is True
    assert store.revisions().security == before + 1
    assert store.keys.update(key("two", "127.0.0.1")) is False
    assert [each.id for each in store.keys.all()] == ["one"]


def test_a_key_keeps_its_own_address_in_an_update(store: Store) -> None:
    """It is in nobody's way."""
    store.keys.add(key("one", "127.0.0.1"))
    changed = msgspec.structs.replace(key("one", "127.0.0.0/8"), label="other")
    assert store.keys.update(changed) is True
    assert store.keys.get(KeyId("one")) == changed


def test_of_many_at_once_one_gets_the_address(paths: DataPaths) -> None:
    """Each looks and writes in one transaction."""
    refused: list[str] = []

    def add(name: str) -> None:
        store = open_store(paths)
        try:
            store.keys.add(key(name, "127.0.0.1"))
        except Conflict:
            refused.append(name)
        finally:
            store.close()

    threads = [threading.Thread(target=add, args=(f"k{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    store = open_store(paths)
    assert len(store.keys.all()) == 1
    with pytest.raises(Conflict):
        store.keys.add(key("last", "127.0.0.0/30"))
    store.close()
