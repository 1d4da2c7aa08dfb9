"""Runs an exchange's coroutine without a task until it needs one.

Most exchanges wait once, for the engine's whole answer: they are stepped by the connections'
own callbacks. A task for each would cost a tenth of the request (measured: 3 µs of 50). What
needs asyncio itself (a new connection, a sleeping model, a stream) asks for a task first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Final


class Wish:
    """What a coroutine may ask of its run: `await` hands it over."""

    def __await__(self) -> Generator[object, None, None]:
        yield self


PARKED: Final = Wish()
"""Wait until somebody calls the run's `step`; only outside a task."""

OVER: Final = Wish()
"""Never go on; only outside a task, and as the last thing. To end a coroutine by an exception,
as coroutines end, costs a twentieth of a small request."""

_TASK: Final = Wish()


async def in_task() -> None:
    """From here on the exchange runs in a task of its own."""
    if asyncio.current_task() is None:
        await _TASK


LARGE: Final = 1 << 20
"""Bytes of a body that take milliseconds to be read, judged or copied."""


async def others_first() -> None:
    """Let everybody else who is ready go on: between two steps that each take milliseconds."""
    await in_task()
    await asyncio.sleep(0)


class _Rest:
    """A coroutine that has started, from where it is: itself, `await` would refuse it."""

    def __init__(self, coroutine: Coroutine[object, None, None]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, None]:
        return self._coroutine.__await__()


class Run:
    """The running coroutine of one exchange. ``task`` is None until it asked for one."""

    __slots__ = ("_begun", "_coroutine", "_inside", "over", "task")

    def __init__(self, coroutine: Coroutine[object, None, None]) -> None:
        self._coroutine = coroutine
        self._begun = False
        self._inside = False
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def step(self) -> None:
        """Go on to the next wait or to the end; too late when it has ended or has a task."""
        if self.over or self.task is not None:
            return
        self._advance(None)

    def _advance(self, error: BaseException | None) -> None:
        coroutine = self._coroutine
        self._inside = True
        try:
            asked = coroutine.send(None) if error is None else coroutine.throw(error)
            if asked is OVER:
                self.over = True
            elif asked is _TASK:
                self._hand_over()
        except StopIteration:
            self.over = True
        finally:
            self._inside = False

    def _hand_over(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._as_task())

    async def _as_task(self) -> None:
        self._begun = True
        try:
            await _Rest(self._coroutine)
        finally:
            self.over = True

    def cancel(self) -> None:
        """Raise `CancelledError` where the coroutine waits."""
        if self.over:
            return
        if self._inside or (self.task is not None and not self._begun):
            # Not from inside itself, and not before its task's first step: that would end it
            # without a record or an answer.
            asyncio.get_running_loop().call_soon(self.cancel)
        elif self.task is not None:
            self.task.cancel()
        else:
            self._advance(asyncio.CancelledError())
