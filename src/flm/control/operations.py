"""What takes long and was asked for over the control socket: told turn by turn until it is over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine

import msgspec

from flm.control.socket import failure
from flm.errors import N_, Conflict, FlmError, InternalError, NotFound
from flm.tasks import Tasks
from flm.wire.control import Operation

KEPT = 64
"""Operations that are remembered, running ones included."""

LONGEST_WAIT = 30.0


def _nothing() -> None:
    """Nobody does it: there is nothing to give up."""


class Ongoing:
    """One operation, for whoever does it. `give_up` cancels the work."""

    def __init__(self, id_: str) -> None:
        self._now = Operation(id=id_, turn=1, over=False)
        self._changed = asyncio.Event()
        self.give_up: Callable[[], object] = _nothing

    @property
    def now(self) -> Operation:
        """As it is."""
        return self._now

    def step(self, doing: str, /, **values: object) -> None:
        """It is at `doing`, an `N_` template filled by `values`; the same again is no turn."""
        texts = {name: str(value) for name, value in values.items()}
        self._turn(msgspec.structs.replace(self._now, doing=doing, values=texts))

    def hear(self, lines: tuple[str, ...]) -> None:
        """The engine's own last lines."""
        self._turn(msgspec.structs.replace(self._now, lines=lines))

    def started_with(self, arguments: tuple[str, ...]) -> None:
        """An engine serves by it that was started with these."""
        self._turn(msgspec.structs.replace(self._now, arguments=arguments))

    def end(self, error: FlmError | None = None) -> None:
        """It is over, by `error` or well; a second end is none."""
        if not self._now.over:
            failed = None if error is None else failure(error)
            self._turn(msgspec.structs.replace(self._now, over=True, failure=failed))

    def _turn(self, then: Operation) -> None:
        if then != self._now:
            self._now = msgspec.structs.replace(then, turn=self._now.turn + 1)
            self._changed.set()
            self._changed = asyncio.Event()

    async def after(self, seen: int, seconds: float) -> Operation:
        """As it is once its turn is another than `seen`, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._now.turn == seen and not self._now.over:
                    await self._changed.wait()
        return self._now

    async def over(self) -> Operation:
        """How it ended, when it has."""
        while not self._now.over:
            await self._changed.wait()
        return self._now


class Operations:
    """The operations of one controller. ``salt`` keeps ids of another run from meaning anything."""

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._numbers = itertools.count(1)
        self._known: dict[str, Ongoing] = {}
        self._tasks = Tasks()

    def begin(self) -> Ongoing:
        """A new one. Raises `Conflict` when too many are under way."""
        for id_, known in list(self._known.items()):
            if len(self._known) >= KEPT and known.now.over:
                del self._known[id_]
        if len(self._known) >= KEPT:
            raise Conflict(
                N_("FLM does too many things at once already."), remedy=N_("Try again later.")
            )
        made = Ongoing(f"{self._salt}-{next(self._numbers)}")
        self._known[made.now.id] = made
        return made

    def run(self, name: str, work: Callable[[Ongoing], Coroutine[None, None, None]]) -> Ongoing:
        """Have `work` done in a task of its own; how it ends is how the operation ends."""
        ongoing = self.begin()
        task = self._tasks.start(name, _seen_through(ongoing, work))
        ongoing.give_up = task.cancel
        task.add_done_callback(lambda _: ongoing.end(_given_up()))  # cancelled before it began
        return ongoing

    async def told(self, id_: str, seen: int, seconds: float) -> Operation:
        """How that operation is, once it is at another turn than `seen`. Raises `NotFound`."""
        known = self._known.get(id_)
        if known is None:
            raise NotFound(
                N_("FLM knows nothing of the operation {id}: it was started again meanwhile."),
                remedy=N_("`flm engines list` shows how the engines are."),
                id=id_,
            )
        return await known.after(seen, min(seconds, LONGEST_WAIT))

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._tasks.cancel()


async def _seen_through(
    ongoing: Ongoing, work: Callable[[Ongoing], Coroutine[None, None, None]]
) -> None:
    try:
        await work(ongoing)
    except FlmError as error:
        ongoing.end(error)
    except asyncio.CancelledError:
        ongoing.end(_given_up())
        raise
    except Exception as error:  # one operation: whoever follows it is told
        ongoing.end(InternalError(N_("The controller failed: {why}."), why=error))
        raise
    else:
        ongoing.end()


def _given_up() -> Conflict:
    return Conflict(N_("It was given up: FLM stops, or was asked for the opposite."))
