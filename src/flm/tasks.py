"""The one place where tasks are made: named, kept, and seen to their end.

A task nobody keeps can be collected while it runs, and one nobody awaits loses its exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger("flm.tasks")

Result = TypeVar("Result")


class Tasks:
    """The running tasks of one owner.

    An exception that ends a task is logged with its name and handed to `on_error`, if there is
    one; cancellation is silent. `cancel` ends them all and waits until they have ended.
    """

    def __init__(self, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._on_error = on_error

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` as a task called `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            logger.error("task %s failed", task.get_name(), exc_info=error)
            if self._on_error is not None:
                self._on_error(task.get_name(), error)

    def __len__(self) -> int:
        return len(self._running)

    async def cancel(self) -> None:
        """Cancel what still runs and wait for its end."""
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def in_thread(work: Callable[[], Result], stop: Callable[[], None] | None = None) -> Result:
    """Blocking work in a thread, whose end is awaited even when this is cancelled.

    So nothing that the work has open is closed under it. ``stop`` is called then, to have it end
    sooner.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # nobody else asks for it any more
        raise
