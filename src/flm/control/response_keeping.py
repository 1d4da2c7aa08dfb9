"""Keeps responses for clients that ask for them again: sealed, each key's own, for a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from flm.control.publisher import Read
from flm.control.worker import StoreThread
from flm.domain.keys import OWNER_ID, ApiKey
from flm.errors import StoreError
from flm.ports.clock import Clock
from flm.ports.repositories import Secrets
from flm.ports.telemetry import ResponseRepository, ResponseTotals, StoredResponse
from flm.tasks import Tasks
from flm.wire.channel import (
    MAX_CHAIN,
    MAX_CHAIN_BYTES,
    Forget,
    Keep,
    Keeping,
    Recall,
    Told,
    Trouble,
)

logger = logging.getLogger("flm.control.responses")

DAY = 86_400.0
QUEUED = 64 << 20
"""Bytes that may wait to be stored; what comes on top is not kept."""

BATCH = 100
"""Responses that are stored in one transaction."""

LEEWAY = 20
"""A twentieth more than `responses.max_stored` and they are counted anew and pruned."""

Tell = Callable[[Told], None]


class ResponseKeeping:
    """Answers the gateway's `Keep`, `Recall` and `Forget`; all work is done in the store thread.

    ``read`` gives the settings and keys in force.
    """

    def __init__(
        self,
        repository: ResponseRepository,
        secrets: Secrets,
        thread: StoreThread,
        clock: Clock,
        read: Callable[[], Read],
    ) -> None:
        self._repository = repository
        self._secrets = secrets
        self._thread = thread
        self._clock = clock
        self._read = read
        self._tasks = Tasks()
        self._queue: list[tuple[Keep, Tell]] = []
        self._queued = 0
        self._storing = False
        self._pruning = False
        self._stored: int | None = None
        self._size = 0

    def asked(self, message: Keeping, tell: Tell) -> None:
        """A gateway asks; it is told the answer, whatever happens."""
        if isinstance(message, Keep):
            self._enqueue(message, tell)
        elif isinstance(message, Recall):
            self._tasks.start("recall response", self._answer(self._recall, message, tell))
        else:
            self._tasks.start("forget response", self._answer(self._forget, message, tell))

    async def stop(self) -> None:
        """Store nothing any more; call it when the gateways have left."""
        await self._tasks.cancel()

    # Keeping: what comes while one transaction runs is stored in the next.

    def _enqueue(self, message: Keep, tell: Tell) -> None:
        size = len(message.body)
        if not self._read().settings.responses_max_stored or self._queued + size > QUEUED:
            tell(Told(seq=message.seq, trouble="unavailable"))
            return
        self._queue.append((message, tell))
        self._queued += size
        if not self._storing:
            self._storing = True
            self._tasks.start("keep responses", self._store())

    async def _store(self) -> None:
        try:
            while self._queue:
                some, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                await self._store_some(some)
        finally:
            self._storing = False

    async def _store_some(self, some: Sequence[tuple[Keep, Tell]]) -> None:
        lasting = self._read().settings.responses_keep_days * DAY
        messages = [message for message, _ in some]
        try:
            kept = await self._thread.run(self._keep, messages, lasting)
        except (StoreError, OSError) as error:
            logger.warning("responses are not kept: %s", error)
            kept = [False] * len(some)
        finally:
            self._queued -= sum(len(message.body) for message in messages)
        for (message, tell), is_kept in zip(some, kept, strict=True):
            tell(
                Told(
                    seq=message.seq,
                    trouble="" if is_kept else "unavailable",
                    expires_at=message.created_at + lasting,
                )
            )
        if self._too_many() and not self._pruning:
            # Beside it: removing thousands must not keep those waiting who want theirs kept.
            self._tasks.start("prune responses", self.prune())

    def _keep(self, messages: Sequence[Keep], lasting: float) -> list[bool]:
        """Seal and store. Synchronous: store thread."""
        rows = [
            StoredResponse(
                id=message.id,
                key_id=message.key_id,
                model=message.model,
                previous=message.previous,
                created_at=message.created_at,
                expires_at=message.created_at + lasting,
                sealed=self._secrets.seal(message.body, _purpose(message.id, message.key_id)),
            )
            for message in messages
        ]
        kept = self._repository.keep(rows)
        if self._stored is None:
            self._counted(self._repository.totals())
        else:
            self._stored += len(rows)
            self._size += sum(len(row.sealed) for row in rows)
        return kept

    def _counted(self, totals: ResponseTotals) -> None:
        self._stored, self._size = totals.count, totals.size

    def _too_many(self) -> bool:
        settings = self._read().settings
        most = settings.responses_max_stored
        too_many = (self._stored or 0) > most + most // LEEWAY
        return too_many or self._size > settings.responses_max_bytes

    # Recalling and forgetting.

    async def _answer(
        self, work: Callable[[Recall | Forget], Told], message: Recall | Forget, tell: Tell
    ) -> None:
        try:
            told = await self._thread.run(work, message)
        except (StoreError, OSError) as error:
            logger.warning("kept responses cannot be reached: %s", error)
            told = Told(seq=message.seq, trouble="unavailable")
        tell(told)

    def _recall(self, message: Recall | Forget) -> Told:
        depth = MAX_CHAIN + 1 if isinstance(message, Recall) and message.chain else 1
        keys = _line(self._read().everything.keys, message.key_id)
        rows = self._repository.chain(message.id, keys, self._clock.now(), depth)
        trouble: Trouble = ""
        if not rows:
            trouble = "missing"
        elif len(rows) > MAX_CHAIN or sum(len(row.sealed) for row in rows) > MAX_CHAIN_BYTES:
            trouble = "too_long"
        if trouble:
            return Told(seq=message.seq, trouble=trouble)
        try:
            bodies = tuple(
                self._secrets.open(row.sealed, _purpose(row.id, row.key_id)) for row in rows
            )
        except StoreError as error:
            logger.error("a kept response is damaged: %s", error)
            return Told(seq=message.seq, trouble="unreadable")
        return Told(seq=message.seq, bodies=bodies, expires_at=min(row.expires_at for row in rows))

    def _forget(self, message: Recall | Forget) -> Told:
        keys = _line(self._read().everything.keys, message.key_id)
        there = self._repository.forget(message.id, keys)
        return Told(seq=message.seq, trouble="" if there else "missing")

    # What is kept no longer.

    async def prune(self) -> None:
        """Remove what has expired, what is too much, and what belongs to revoked keys."""
        self._pruning = True
        try:
            settings = self._read().settings
            removed = await asyncio.to_thread(
                self._repository.prune,
                self._clock.now(),
                settings.responses_max_stored,
                settings.responses_max_bytes,
            )
            self._counted(await asyncio.to_thread(self._repository.totals))
        finally:
            self._pruning = False
        if removed:
            logger.info("%d kept responses were removed", removed)
        await self.forget_revoked()

    async def forget_revoked(self) -> None:
        """Remove the responses of keys that are revoked, and whose successors are too."""
        living = _living(self._read().everything.keys, self._clock.now()) | {OWNER_ID}
        there = await self._thread.run(self._repository.keys)
        if gone := there - living:
            removed = await self._thread.run(self._repository.forget_keys, gone)
            logger.info("%d responses of revoked keys were removed", removed)


def _purpose(response: str, key_id: str) -> str:
    """What a response is sealed for: in another row, or for another key, it does not open."""
    return f"response {response} of {key_id}"


def _line(keys: Iterable[ApiKey], key_id: str) -> frozenset[str]:
    """The key and those it was rotated from: their responses are its own."""
    return _with_forebears({key_id}, keys)


def _living(keys: Sequence[ApiKey], now: float) -> frozenset[str]:
    """Keys that are not revoked, and those they were rotated from."""
    return _with_forebears({key.id for key in keys if key.state(now) != "revoked"}, keys)


def _with_forebears(some: Iterable[str], keys: Iterable[ApiKey]) -> frozenset[str]:
    before: dict[str, list[str]] = {}
    for key in keys:
        if key.rotated_to is not None:
            before.setdefault(key.rotated_to, []).append(key.id)
    found = set(some)
    left = list(found)
    while left:
        for one in before.get(left.pop(), ()):
            if one not in found:
                found.add(one)
                left.append(one)
    return frozenset(found)
