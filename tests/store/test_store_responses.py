"""Kept responses: each key's own, chains that live together, what goes when there is too much."""

from __future__ import annotations

import pytest

from flm.ports.repositories import Store
from flm.ports.telemetry import ResponseTotals, StoredResponse


def response(
    number: int, *, key: str = "k1", previous: int = 0, **changes: object
) -> StoredResponse:
    """One of 100 bytes that ends at 1000 + its number."""
    fields: dict[str, object] = {
        "id": f"resp_{number}",
        "key_id": key,
        "model": "m",
        "previous": f"resp_{previous}" if previous else "",
        "created_at": float(number),
        "expires_at": 1000.0 + number,
        "sealed": b"s" * 100,
    }
    return StoredResponse(**{**fields, **changes})


def ids(found: list[StoredResponse]) -> list[str]:
    """Their ids, in their order."""
    return [one.id for one in found]


def left(store: Store, *numbers: int, now: float = 0.0) -> list[int]:
    """Which of these are there."""
    return [n for n in numbers if store.responses.chain(f"resp_{n}", ["k1", "k2"], now, 1)]


def test_what_was_kept_is_there_as_it_was(store: Store):
    """For its key, and for no other."""
    assert store.responses.keep([response(1)]) == [True]
    assert store.responses.chain("resp_1", ["k1"], 0.0, 1) == [response(1)]
    assert store.responses.chain("resp_1", ["k2"], 0.0, 1) == []


def test_an_id_is_kept_once(store: Store):
    """Nobody writes over what another key has."""
    store.responses.keep([response(1)])
    assert store.responses.keep([response(1, key="k2"), response(2)]) == [False, True]
    assert left(store, 1, 2) == [1, 2]
    assert store.responses.chain("resp_1", ["k2"], 0.0, 1) == []


def test_a_chain_comes_newest_first_and_ends_where_one_is_missing(store: Store):
    """Or belongs to somebody else, has expired, or is too far back."""
    store.responses.keep([response(1), response(2, previous=1), response(3, previous=2)])
    assert ids(store.responses.chain("resp_3", ["k1"], 0.0, 9)) == ["resp_3", "resp_2", "resp_1"]
    assert ids(store.responses.chain("resp_3", ["k1"], 0.0, 2)) == ["resp_3", "resp_2"]
    store.responses.forget("resp_2", ["k1"])
    assert ids(store.responses.chain("resp_3", ["k1"], 0.0, 9)) == ["resp_3"]
    store.responses.keep([response(4, key="k2", previous=3)])
    assert ids(store.responses.chain("resp_4", ["k2"], 0.0, 9)) == ["resp_4"]
    assert store.responses.chain("resp_3", ["k1"], 1004.0, 9) == []


def test_a_chain_lives_as_long_as_its_newest(store: Store):
    """Otherwise a long conversation would lose its beginning."""
    store.responses.keep([response(1), response(2, previous=1), response(9)])
    store.responses.keep([response(3, previous=2, expires_at=5000.0)])
    assert left(store, 1, 2, 3, 9, now=4000.0) == [1, 2, 3]


def test_a_circle_of_responses_ends(store: Store):
    """None is ever made, and none hangs anybody."""
    store.responses.keep([response(1, previous=2), response(2, previous=1)])
    assert len(store.responses.chain("resp_1", ["k1"], 0.0, 7)) == 7


def test_forgetting_needs_the_key(store: Store):
    """And says whether there was one."""
    store.responses.keep([response(1)])
    assert store.responses.forget("resp_1", ["k2"]) is False
    assert store.responses.forget("resp_1", ["k1", "k2"]) is True
    assert store.responses.forget("resp_1", ["k1"]) is False


def test_what_has_expired_goes_first(store: Store):
    """However much room there is."""
    store.responses.keep([response(n) for n in range(1, 6)])
    assert store.responses.prune(1003.0, 10, 10_000) == 3
    assert left(store, 1, 2, 3, 4, 5) == [4, 5]


@pytest.mark.parametrize(
    ("keep", "size", "stay"),
    [(2, 10_000, [4, 5]), (10, 300, [3, 4, 5]), (10, 299, [4, 5]), (0, 10_000, []), (10, 0, [])],
)
def test_what_is_too_much_goes_soonest_to_end_first(
    store: Store, keep: int, size: int, stay: list[int]
):
    """By number and by bytes."""
    store.responses.keep([response(n) for n in range(1, 6)])
    assert store.responses.prune(0.0, keep, size) == 5 - len(stay)
    assert left(store, 1, 2, 3, 4, 5) == stay
    assert store.responses.totals() == ResponseTotals(len(stay), 100 * len(stay))


def test_pruning_takes_more_than_one_transaction(store: Store):
    """As many as it needs."""
    store.responses.keep([response(n) for n in range(1, 501)])
    assert store.responses.prune(1250.0, 10, 1 << 30) == 490
    assert store.responses.totals().count == 10


def test_all_of_a_key_can_go(store: Store):
    """Those of others stay."""
    store.responses.keep([response(1), response(2, key="k2"), response(3)])
    assert store.responses.keys() == {"k1", "k2"}
    assert store.responses.forget_keys(["k1", "k9"]) == 2
    assert store.responses.keys() == {"k2"}
