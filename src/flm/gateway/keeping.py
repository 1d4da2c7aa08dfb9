"""Responses that clients may ask for again: kept by the controller, the newest at hand here.

The gateway has no database. It gives the controller what is to be kept before the client has it
whole, and asks for what it does not remember itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection

from flm.dialects.client_responses.kept import KeptResponse, readable
from flm.errors import Refusal
from flm.gateway.running import LARGE, in_task, others_first
from flm.ports.clock import Clock
from flm.wire.channel import (
    MAX_CHAIN,
    MAX_CHAIN_BYTES,
    MAX_KEPT,
    Forget,
    Keep,
    Keeping,
    Recall,
    Told,
)

KEEP_SECONDS = 2.0
"""How long an answer that is ready waits to be kept; it goes out unkept then, and says so."""

RECALL_SECONDS = 5.0
REMEMBERED = 64 << 20
"""Bytes of responses that are at hand without asking."""

UNDER_WAY = 64 << 20
"""Bytes that may be on their way to the controller; what comes on top is not kept."""

_Place = tuple[str, str]


class ResponseKeeping:
    """What is kept, for each key its own. Bounded by `REMEMBERED` and `UNDER_WAY`."""

    def __init__(self, clock: Clock, send: Callable[[Keeping], None]) -> None:
        self._clock = clock
        self._send = send
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._under_way = 0
        self._remembered: OrderedDict[_Place, tuple[KeptResponse, int, float]] = OrderedDict()
        self._size = 0

    async def keep(self, key_id: str, response: str, model: str, kept: KeptResponse) -> bool:
        """Have it kept; whether it is. Returns within `KEEP_SECONDS`, never raises `Refusal`."""
        body = kept.pack()
        size = len(body)
        if size > MAX_KEPT or self._under_way + size > UNDER_WAY:
            return False
        await in_task()
        if size > LARGE:
            await others_first()  # it was just packed, and is copied again
        self._under_way += size
        try:
            told = await self._told(
                Keep(
                    seq=self._next(),
                    id=response,
                    key_id=key_id,
                    model=model,
                    created_at=self._clock.now(),
                    body=body,
                    previous=kept.previous,
                ),
                KEEP_SECONDS,
            )
        except TimeoutError:
            return False
        finally:
            self._under_way -= size
        if told.trouble:
            return False
        self._remember((key_id, response), kept, size, told.expires_at)
        return True

    async def recall(self, key_id: str, response: str) -> KeptResponse | None:
        """What was kept under this id by this key, None when there is no such response.

        Raises `Refusal` 503 `responses_unavailable` when the controller does not answer in time
        or cannot, 500 `response_unreadable` for one that is damaged.
        """
        found = self._at_hand((key_id, response))
        if found is not None:
            return found
        bodies = await self._recalled(key_id, response, chain=False)
        return bodies[0] if bodies else None

    async def history(self, key_id: str, response: str) -> tuple[KeptResponse, ...]:
        """The chain that ends with this response, oldest first.

        Raises as `recall` does, and `Refusal` 400: `previous_response_not_found` when one of it
        is missing, `previous_response_too_long` when there are more than may be read back.
        """
        chain: list[KeptResponse] = []
        wanted = response
        size = 0
        while wanted:
            found = self._at_hand((key_id, wanted))
            more = [found] if found else await self._recalled(key_id, wanted, chain=True)
            if not more:
                raise _not_found(wanted)
            chain += more
            size += sum(len(one.response) + len(one.items) for one in more)
            if len(chain) > MAX_CHAIN or size > MAX_CHAIN_BYTES:
                raise _too_long()
            wanted = more[-1].previous
        chain.reverse()
        return tuple(chain)

    async def forget(self, key_id: str, response: str) -> bool:
        """Remove it here and for good; False when there is none. Raises 503 as `recall` does."""
        self._drop((key_id, response))
        told = await self._asked(Forget(seq=self._next(), id=response, key_id=key_id))
        return told.trouble == ""

    def told(self, message: Told) -> None:
        """The controller's answer to one of the questions."""
        waiting = self._waiting.pop(message.seq, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def revoke(self, keys: Collection[str]) -> None:
        """Forget what is at hand of these keys."""
        for place in [place for place in self._remembered if place[0] in keys]:
            self._drop(place)

    async def _recalled(self, key_id: str, response: str, *, chain: bool) -> list[KeptResponse]:
        recall = Recall(seq=self._next(), id=response, key_id=key_id, chain=chain)
        told = await self._asked(recall)
        if told.trouble == "too_long":
            raise _too_long()
        if told.trouble == "missing":
            return []
        found = [readable(body) for body in told.bodies]
        whole = [one for one in found if one is not None]
        if len(whole) != len(found) or told.trouble == "unreadable":
            raise Refusal(
                500,
                "response_unreadable",
                "What was kept of this response cannot be read any more.",
                kind="server_error",
                should_retry=False,
            )
        wanted = response
        for one, body in zip(whole, told.bodies, strict=True):
            self._remember((key_id, wanted), one, len(body), told.expires_at)
            wanted = one.previous
        return whole

    async def _asked(self, message: Recall | Forget) -> Told:
        await in_task()
        try:
            told = await self._told(message, RECALL_SECONDS)
        except TimeoutError:
            raise _unavailable() from None
        if told.trouble == "unavailable":
            raise _unavailable()
        return told

    async def _told(self, message: Keeping, seconds: float) -> Told:
        waiting: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting[message.seq] = waiting
        self._send(message)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        finally:
            self._waiting.pop(message.seq, None)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    # What is at hand.

    def _at_hand(self, place: _Place) -> KeptResponse | None:
        found = self._remembered.get(place)
        if found is None:
            return None
        if found[2] <= self._clock.now():
            self._drop(place)
            return None
        self._remembered.move_to_end(place)
        return found[0]

    def _remember(self, place: _Place, kept: KeptResponse, size: int, expires_at: float) -> None:
        self._drop(place)
        self._remembered[place] = (kept, size, expires_at)
        self._size += size
        while self._size > REMEMBERED:
            self._drop(next(iter(self._remembered)))

    def _drop(self, place: _Place) -> None:
        found = self._remembered.pop(place, None)
        if found is not None:
            self._size -= found[1]


def _not_found(response: str) -> Refusal:
    return Refusal(
        400,
        "previous_response_not_found",
        f"Previous response with id '{response}' not found.",
        param="previous_response_id",
    )


def _too_long() -> Refusal:
    return Refusal(
        400,
        "previous_response_too_long",
        f"The chain of previous responses has more than {MAX_CHAIN} turns or"
        f" {MAX_CHAIN_BYTES >> 20} MB: begin a new one with what matters in 'input'.",
        param="previous_response_id",
    )


def _unavailable() -> Refusal:
    return Refusal(
        503,
        "responses_unavailable",
        "What was kept cannot be read just now; try again.",
        kind="server_error",
        retry_after=2,
    )
