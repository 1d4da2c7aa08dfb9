"""Runs an exchange's coroutine without a task until it needs one.

Most exchanges wait once, for the engine's whole answer: they are stepped by the connections'
own callbacks. A task for each would cost a tenth of the request (measured: 3 µs of 50). What
needs asyncio itself (a new connection, a sleeping model, a stream) asks for a task first.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from inspect import CORO_RUNNING, getcoroutinestate
from typing import Any

PARKED = object()
"""What a coroutine yields that waits until somebody calls its run's `step`."""

_TASK = object()


@types.coroutine
def parked() -> Generator[object, None, None]:
    """Wait until somebody calls the run's `step`; only outside a task."""
    yield PARKED


@types.coroutine
def in_task() -> Generator[object, None, None]:
    """From here on the exchange runs in a task of its own."""
    if asyncio.current_task() is None:
        yield _TASK


@types.coroutine
def _rest(coroutine: Coroutine[object, None, None]) -> Generator[Any, None, None]:
    yield from coroutine  # it has started: `await` would refuse it


class Run:
    """The running coroutine of one exchange. ``task`` is None until it asked for one."""

    __slots__ = ("_begun", "_coroutine", "over", "task")

    def __init__(self, coroutine: Coroutine[object, None, None]) -> None:
        self._coroutine = coroutine
        self._begun = False
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def step(self) -> None:
        """Go on to the next wait or to the end; too late when it has ended or has a task."""
        if self.over or self.task is not None:
            return
        try:
            if self._coroutine.send(None) is _TASK:
                self._hand_over()
        except StopIteration:
            self.over = True

    def _hand_over(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._as_task())

    async def _as_task(self) -> None:
        self._begun = True
        try:
            await _rest(self._coroutine)
        finally:
            self.over = True

    def cancel(self) -> None:
        """Raise `CancelledError` where the coroutine waits."""
        if self.over:
            return
        inside = self.task is None and getcoroutinestate(self._coroutine) == CORO_RUNNING
        if inside or (self.task is not None and not self._begun):
            # Not from inside itself, and not before its task's first step: that would end it
            # without a record or an answer.
            asyncio.get_running_loop().call_soon(self.cancel)
        elif self.task is not None:
            self.task.cancel()
        else:
            self._throw()

    def _throw(self) -> None:
        try:
            if self._coroutine.throw(asyncio.CancelledError()) is _TASK:
                self._hand_over()
        except StopIteration:
            self.over = True
