"""What the repositories keep, against real databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineDefinition,
    EngineId,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.domain.keys import ApiKey, KeyId
from flm.domain.models import GgufFile, Model
from flm.domain.policy import Policy
from flm.errors import Conflict, StoreError
from flm.paths import DataPaths
from flm.ports.repositories import Everything, Revisions, Store


def key(name: str, created_at: float = 1.0) -> ApiKey:
    return ApiKey(
        id=KeyId(name), label="a label", digest=b"\x00\xff" * 16, last4="abcd",
        created_at=created_at, expires_at=9.5,
    )  # fmt: skip


def engine(name: str, sealed: bytes | None = None) -> EngineDefinition:
    return EngineDefinition(
        id=EngineId(name), kind="custom", address=Address("127.0.0.1", 80, "/p"), sealed_key=sealed
    )


def gguf(name: str) -> GgufFile:
    return GgufFile(name=name, path="/m/日本 語.gguf", added_at=1.5, demo=True)


def test_a_fresh_store_holds_nothing_but_the_default_policy(store: Store):
    """First use: revisions at their start and the default rules."""
    assert store.everything() == Everything(Revisions(0, 0), {}, [], [], [], Policy(), [])


def test_settings_are_kept_replaced_and_forgotten(store: Store):
    """The text comes back as it was given."""
    store.settings.set("server.port", "1")
    store.settings.set("server.port", "2")
    store.settings.set("engines.ollama.num_ctx[a'b\"c]", "300")
    assert store.settings.all() == {"server.port": "2", "engines.ollama.num_ctx[a'b\"c]": "300"}
    store.settings.set("server.port", None)
    assert store.settings.all() == {"engines.ollama.num_ctx[a'b\"c]": "300"}


def test_engine_definitions_come_back_whole_by_id(store: Store):
    """Address and sealed key included."""
    store.engines.add(engine("b", b"\x01sealed"))
    store.engines.add(engine("a"))
    assert store.engines.definitions() == [engine("a"), engine("b", b"\x01sealed")]


def test_an_engine_name_is_taken_once(store: Store):
    """The second is refused, the first stays, and nothing is bumped."""
    store.engines.add(engine("a"))
    with pytest.raises(Conflict) as caught:
        store.engines.add(engine("a", b"other"))
    assert caught.value.message == "There is an engine called a already."
    assert (store.engines.definitions(), store.revisions()) == ([engine("a")], Revisions(1, 0))


def test_a_removed_engine_is_out_of_the_cache_too(store: Store):
    """It does not come back as "last seen"."""
    store.engines.add(engine("a"))
    seen = Engine(id=EngineId("a"), kind="custom", state=Healthy(1.0))
    store.engines.cache([(seen, [])])
    assert store.engines.remove(EngineId("a")) is True
    assert (store.engines.definitions(), store.engines.cached()) == ([], [])
    assert store.engines.remove(EngineId("a")) is False


def test_the_cache_comes_back_as_it_was_seen(store: Store):
    """Every state, every field, in the order of detection; and it is no change of the user's."""
    states = [
        InstalledOnly(),
        Healthy(1.5),
        Degraded(2000.0, "slow"),
        NetworkError("refused", 2),
        ApiError("HTML"),
    ]
    seen = [
        (
            Engine(
                id=EngineId(f"e{9 - number}"), kind="ollama", state=state, version="0.1",
                address=Address("::1", 11434), detail="CPU", checked_at=5.25,
            ),
            [Model(name="q:8b", engine=EngineId("x"), capabilities=("chat",), context_length=4096)],
        )
        for number, state in enumerate(states)
    ]  # fmt: skip
    store.engines.cache(seen)
    assert (store.engines.cached(), store.revisions()) == (seen, Revisions(0, 0))
    store.engines.cache([])
    assert store.engines.cached() == []


def test_a_look_that_ended_earlier_does_not_overwrite_a_later_one(store: Store):
    """Two processes may look at once; a clock that was put back stops no cache."""

    def seen(at: float) -> list[tuple[Engine, list[Model]]]:
        made = Engine(id=EngineId("a"), kind="custom", state=Healthy(at), checked_at=at)
        return [(made, [])]

    store.engines.cache(seen(1000.0))
    store.engines.cache(seen(996.0))
    assert store.engines.cached() == seen(1000.0)
    store.engines.cache(seen(1001.0))
    assert store.engines.cached() == seen(1001.0)
    store.engines.cache(seen(5.0))
    assert store.engines.cached() == seen(5.0)


def test_a_cache_row_of_another_version_is_skipped(store: Store, paths: DataPaths):
    """The cache is only a cache: what cannot be read is looked for again."""
    store.engines.cache([(Engine(id=EngineId("a"), kind="custom", state=Healthy(1.0)), [])])
    with sqlite3.connect(paths.config_db) as other:
        other.execute("UPDATE engines_cache SET seen = '{\"engine\": 1}'")
    other.close()
    assert store.engines.cached() == []


def test_gguf_files_come_back_whole_and_names_are_taken_once(store: Store):
    """Japanese paths too."""
    store.files.add(gguf("b"))
    store.files.add(gguf("a"))
    with pytest.raises(Conflict):
        store.files.add(gguf("a"))
    assert store.files.all() == [gguf("a"), gguf("b")]
    assert (store.files.remove("a"), store.files.remove("a")) == (True, False)
    assert store.files.all() == [gguf("b")]


def test_keys_come_back_whole_oldest_first(store: Store):
    """Digests are bytes."""
    store.keys.add(key("young", 2.0))
    store.keys.add(key("old", 1.0))
    assert store.keys.all() == [key("old", 1.0), key("young", 2.0)]
    assert (store.keys.get(KeyId("old")), store.keys.get(KeyId("none"))) == (key("old", 1.0), None)


def test_a_key_id_is_taken_once(store: Store):
    """No key can be replaced by adding one."""
    store.keys.add(key("a"))
    with pytest.raises(Conflict):
        store.keys.add(key("a", 7.0))
    assert store.keys.all() == [key("a")]


def test_revoking_works_once(store: Store):
    """The first time counts and stays."""
    store.keys.add(key("a"))
    assert [store.keys.revoke(KeyId("a"), at) for at in (5.0, 6.0)] == [True, False]
    assert store.keys.revoke(KeyId("none"), 5.0) is False
    assert [known.revoked_at for known in store.keys.all()] == [5.0]


def test_a_rotated_key_in_its_grace_period_can_be_revoked_at_once(store: Store):
    """A leaked key does not run on because it was rotated."""
    store.keys.add(key("old"))
    store.keys.rotate(KeyId("old"), key("new"), 100.0)
    assert store.keys.revoke(KeyId("old"), 50.0) is True
    old = store.keys.get(KeyId("old"))
    assert old is not None
    assert (old.revoked_at, old.rotated_to) == (50.0, "new")


@pytest.mark.parametrize("before", ["rotated", "revoked", "missing"])
def test_a_rotation_that_comes_too_late_adds_nothing(store: Store, before: str):
    """Of two rotations one wins; a revoked key gets no successor."""
    store.keys.add(key("other"))
    prepare: dict[str, Callable[[], object]] = {
        "rotated": lambda: (
            store.keys.add(key("old")),
            store.keys.rotate(KeyId("old"), key("first"), 9.0),
        ),
        "revoked": lambda: (store.keys.add(key("old")), store.keys.revoke(KeyId("old"), 1.0)),
        "missing": lambda: None,
    }
    prepare[before]()
    known, revisions = store.keys.all(), store.revisions()
    with pytest.raises(Conflict):
        store.keys.rotate(KeyId("old"), key("late"), 9.0)
    assert (store.keys.all(), store.revisions()) == (known, revisions)


def test_the_policy_is_replaced_whole(store: Store):
    """What was set is what is judged by."""
    strict = Policy(unknown_parameters="reject", allow_chat_template_kwargs=True)
    store.policy.set(strict)
    assert (store.policy.get(), store.everything().policy) == (strict, strict)


@pytest.mark.parametrize("document", ['{"deny": true}', "{", '{"unknown_parameters": "maybe"}'])
def test_a_policy_that_is_not_understood_is_an_error(store: Store, paths: DataPaths, document: str):
    """It fails closed: a rule of a newer version is never taken for no rule."""
    with sqlite3.connect(paths.security_db) as other:
        other.execute("UPDATE policy SET document = ?", (document,))
    other.close()
    with pytest.raises(StoreError) as caught:
        store.everything()
    assert str(paths.security_db) in caught.value.message


@pytest.mark.parametrize(
    ("change", "revisions"),
    [
        (lambda store: store.settings.set("a", "1"), Revisions(1, 0)),
        (lambda store: store.engines.add(engine("a")), Revisions(1, 0)),
        (lambda store: store.files.add(gguf("a")), Revisions(1, 0)),
        (lambda store: store.keys.add(key("a")), Revisions(0, 1)),
        (lambda store: store.policy.set(Policy()), Revisions(0, 1)),
        (lambda store: store.keys.revoke(KeyId("none"), 1.0), Revisions(0, 0)),
        (lambda store: store.files.remove("none"), Revisions(0, 0)),
        (lambda store: store.engines.remove(EngineId("none")), Revisions(0, 0)),
    ],
)
def test_a_change_moves_the_revision_of_its_database(
    store: Store, change: Callable[[Store], object], revisions: Revisions
):
    """By one for each change, and not for what changed nothing."""
    change(store)
    assert store.revisions() == revisions
    assert store.everything().revisions == revisions
