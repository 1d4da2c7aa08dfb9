"""The controller keeps responses: sealed, for their key alone, over restarts, within bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from control_support import until

from flm.control.publisher import Read
from flm.control.response_keeping import ResponseKeeping
from flm.control.worker import StoreThread
from flm.domain.keys import ApiKey, KeyId
from flm.domain.policy import Policy
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.repositories import Everything, Revisions, Store
from flm.setting_kinds import Value
from flm.settings import resolve
from flm.store import FileSecrets, migrate, open_store
from flm.wire.channel import Forget, Keep, Recall, Told

DAY = 86_400.0
SECRET = b"the prompt nobody may read"


class StillClock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def key(name: str, **changes: object) -> ApiKey:
    """A key that is usable unless something else is said."""
    plain = ApiKey(id=KeyId(name), label=name, digest=b"d" * 32, last4="abcd", created_at=0.0)
    return msgspec.structs.replace(plain, **changes)


class Desk:
    """A controller's keeping over a real store, asked as a gateway asks."""

    def __init__(self, paths: DataPaths) -> None:
        self.paths = paths
        self.clock = StillClock()
        self.keys: list[ApiKey] = [key("k1"), key("k2")]
        self.settings: dict[str, Value] = {}
        self.seq = 0
        self.told: dict[int, Told] = {}
        self.open()

    def open(self) -> None:
        """As a controller that starts."""
        self.store: Store = open_store(self.paths)
        self.thread = StoreThread()
        self.keeping = ResponseKeeping(
            self.store.responses, FileSecrets(self.paths), self.thread, self.clock, self.read
        )

    async def close(self) -> None:
        """As one that ends."""
        await self.keeping.stop()
        self.thread.close()
        self.store.close()

    def read(self) -> Read:
        """Settings and keys in force."""
        everything = Everything(Revisions(0, 0), {}, [], [], self.keys, Policy())
        return Read(
            everything=everything,
            settings=resolve({}, {}, self.settings),
            engine_keys={},
            embedded=(),
        )

    async def ask(self, message: Keep | Recall | Forget) -> Told:
        """What is told about it."""
        self.keeping.asked(message, lambda told: self.told.update({told.seq: told}))
        await until(lambda: message.seq in self.told)
        return self.told[message.seq]

    def next(self) -> int:
        """A number nobody has."""
        self.seq += 1
        return self.seq

    async def keep(
        self, name: str, key_id: str = "k1", previous: str = "", body: bytes = SECRET
    ) -> Told:
        """Have it kept."""
        return await self.ask(
            Keep(
                seq=self.next(), id=name, key_id=key_id, model="m",
                created_at=self.clock.now(), body=body, previous=previous,
            )
        )  # fmt: skip

    async def recall(self, name: str, key_id: str = "k1", chain: bool = False) -> Told:
        """What was kept under this name."""
        return await self.ask(Recall(seq=self.next(), id=name, key_id=key_id, chain=chain))

    async def trouble(self, name: str, key_id: str = "k1") -> str:
        """Why it is not there; '' when it is."""
        return (await self.recall(name, key_id)).trouble


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A fresh data directory."""
    paths = data_paths(tmp_path / "data")
    prepare(paths)
    migrate(paths)
    made = Desk(paths)
    yield made
    await made.close()


async def test_what_was_kept_is_told_to_its_key_alone(desk: Desk):
    """With how long it stays; another key is told the same as about nothing."""
    told = await desk.keep("resp_1")
    assert (told.trouble, told.expires_at) == ("", 1_000_000.0 + 30 * DAY)
    assert (await desk.recall("resp_1")).bodies == (SECRET,)
    assert await desk.trouble("resp_1", "k2") == "missing"
    assert await desk.trouble("resp_2") == "missing"


async def test_a_chain_is_told_newest_first(desk: Desk):
    """As far as it is there."""
    for number in range(1, 4):
        previous = f"resp_{number - 1}" if number > 1 else ""
        await desk.keep(f"resp_{number}", previous=previous, body=b"%d" % number)
    assert (await desk.recall("resp_3", chain=True)).bodies == (b"3", b"2", b"1")
    assert (await desk.recall("resp_3")).bodies == (b"3",)


async def test_nothing_can_be_read_in_the_files(desk: Desk):
    """Neither in the database nor in what lies beside it."""
    await desk.keep("resp_1")
    files = [path for path in desk.paths.root.rglob("*") if path.is_file()]
    assert [path.name for path in files if SECRET in path.read_bytes()] == []


async def test_a_controller_that_starts_again_has_it_still(desk: Desk):
    """Kept is kept."""
    await desk.keep("resp_1")
    await desk.close()
    desk.open()
    assert (await desk.recall("resp_1")).bodies == (SECRET,)


async def test_what_has_expired_is_gone_before_it_is_removed(desk: Desk):
    """To the second."""
    await desk.keep("resp_1")
    desk.clock.time += 30 * DAY - 1
    assert await desk.trouble("resp_1") == ""
    desk.clock.time += 1
    assert await desk.trouble("resp_1") == "missing"
    await desk.keeping.prune()
    assert desk.store.responses.totals().count == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE responses SET sealed = zeroblob(60)",
        "UPDATE responses SET sealed = x'00'",
        "UPDATE responses SET key_id = 'k2'",
        "UPDATE responses SET id = 'resp_9'",
    ],
)
async def test_a_damaged_or_moved_response_is_not_told(desk: Desk, change: str):
    """The seal holds the id and the key it was made for."""
    await desk.keep("resp_1")
    with closing(sqlite3.connect(desk.paths.telemetry_db)) as database, database:
        database.execute(change)
        row = database.execute("SELECT id, key_id FROM responses").fetchone()
    told = await desk.recall(*row)
    assert (told.trouble, told.bodies) == ("unreadable", ())


async def test_forgetting_is_for_good_and_for_the_key_alone(desk: Desk):
    """It says whether there was one."""
    await desk.keep("resp_1")
    other = await desk.ask(Forget(seq=desk.next(), id="resp_1", key_id="k2"))
    own = await desk.ask(Forget(seq=desk.next(), id="resp_1", key_id="k1"))
    again = await desk.ask(Forget(seq=desk.next(), id="resp_1", key_id="k1"))
    assert (other.trouble, own.trouble, again.trouble) == ("missing", "", "missing")


async def test_a_rotated_key_s_successor_has_its_responses(desk: Desk):
    """Also in the second generation; the old key still has its own."""
    await desk.keep("resp_1")
    desk.keys = [
        key("k1", rotated_to="k3", revoked_at=2e9), key("k3", rotated_to="k4"), key("k4"),
        key("k2"),
    ]  # fmt: skip
    assert [await desk.trouble("resp_1", one) for one in ("k1", "k3", "k4", "k2")] == [
        "", "", "", "missing",
    ]  # fmt: skip


async def test_responses_of_revoked_keys_are_removed(desk: Desk):
    """Not those of a rotated key whose successor lives, nor the owner's."""
    for number, key_id in enumerate(("k1", "k2", "old", "owner"), 1):
        await desk.keep(f"resp_{number}", key_id)
    desk.keys = [key("k1", revoked_at=1.0), key("k2"), key("old", revoked_at=1.0, rotated_to="new"),
                 key("new")]  # fmt: skip
    await desk.keeping.forget_revoked()
    assert desk.store.responses.keys() == {"k2", "old", "owner"}


async def test_there_is_never_much_more_than_may_be_stored(desk: Desk):
    """What ends first goes, without waiting for the daily round."""
    desk.settings = {"responses.max_stored": 20}
    for number in range(50):
        desk.clock.time += 1
        await desk.keep(f"resp_{number}")
    await until(lambda: desk.store.responses.totals().count <= 21)
    assert await desk.trouble("resp_49") == ""


async def test_the_bytes_are_bounded_too(desk: Desk):
    """All of them together."""
    desk.settings = {"responses.max_bytes": 1 << 20}
    for number in range(5):
        desk.clock.time += 1
        await desk.keep(f"resp_{number}", body=bytes(300_000))
    await until(lambda: desk.store.responses.totals().count == 3)


async def test_nothing_is_kept_where_the_owner_wants_none(desk: Desk):
    """The gateway is told at once."""
    desk.settings = {"responses.max_stored": 0}
    assert (await desk.keep("resp_1")).trouble == "unavailable"


async def test_a_database_that_is_gone_is_told_as_that(desk: Desk):
    """Keeping, recalling, forgetting; nothing hangs."""
    desk.store.close()
    desk.paths.telemetry_db.write_bytes(b"no database at all, but a hundred bytes of text" * 20)
    for path in desk.paths.root.glob("telemetry.db-*"):
        path.unlink()
    assert (await desk.keep("resp_1")).trouble == "unavailable"
    assert await desk.trouble("resp_1") == "unavailable"


async def test_what_comes_together_is_kept_together(desk: Desk):
    """Each is told for itself, in any number."""
    for number in range(250):
        desk.keeping.asked(
            Keep(
                seq=number, id=f"resp_{number}", key_id="k1", model="m", created_at=1e6, body=b"x"
            ),
            lambda told: desk.told.update({told.seq: told}),
        )
    await until(lambda: len(desk.told) == 250)
    assert {told.trouble for told in desk.told.values()} == {""}
    assert desk.store.responses.totals().count == 250


async def test_more_than_may_wait_is_refused_at_once(desk: Desk):
    """The gateway says in its answer that it was not kept."""
    for number in range(5):
        desk.keeping.asked(
            Keep(seq=number, id=f"resp_{number}", key_id="k1", model="m", created_at=1e6,
                 body=bytes(15 << 20)),
            lambda told: desk.told.update({told.seq: told}),
        )  # fmt: skip
    assert {seq: told.trouble for seq, told in desk.told.items()} == {4: "unavailable"}
    await until(lambda: len(desk.told) == 5)
