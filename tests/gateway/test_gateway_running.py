"""An exchange's coroutine runs without a task until it asks for one, and can always be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flm.gateway.running import PARKED, Run, in_task


class Story:
    """Notes what a coroutine goes through; `then` runs between its two waits."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.told: list[str] = []
        self.then = then

    async def waiting(self) -> None:
        """Waits once for a step."""
        await self._around(PARKED)

    async def tasked(self) -> None:
        """Asks for a task, then waits for the loop."""
        await self._around(self._in_task())

    async def _in_task(self) -> None:
        await in_task()
        self.told.append("task" if asyncio.current_task() else "no task")
        async with asyncio.timeout(10):
            await asyncio.sleep(0)

    async def _around(self, wait: Awaitable[None]) -> None:
        self.told.append("begun")
        try:
            self.then()
            await wait
            self.told.append("ended")
        except asyncio.CancelledError:
            self.told.append("cancelled")


async def turns(count: int = 5) -> None:
    """Let the loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_step_goes_to_the_next_wait_and_the_next_to_the_end() -> None:
    """No task is made; a step too many does nothing."""
    story = Story()
    run = Run(story.waiting())
    run.step()
    assert (story.told, run.over, run.task) == (["begun"], False, None)
    run.step()
    assert (story.told, run.over, run.task) == (["begun", "ended"], True, None)
    run.step()
    assert story.told == ["begun", "ended"]


async def test_a_coroutine_that_never_waits_is_over_at_once() -> None:
    """Most refusals are."""

    async def nothing() -> None:
        return

    run = Run(nothing())
    run.step()
    assert run.over


async def test_who_asks_for_a_task_goes_on_in_one() -> None:
    """With all that asyncio has for tasks; steps of a connection do nothing from then on."""
    story = Story()
    run = Run(story.tasked())
    asyncio.get_running_loop().call_soon(run.step)
    await turns(1)
    assert run.task is not None
    run.step()
    await turns()
    assert (story.told, run.over) == (["begun", "task", "ended"], True)


async def test_who_waits_can_be_cancelled() -> None:
    """At once, where it waits; its end is its own."""
    story = Story()
    run = Run(story.waiting())
    run.step()
    run.cancel()
    assert (story.told, run.over) == (["begun", "cancelled"], True)
    run.cancel()
    run.step()
    assert story.told == ["begun", "cancelled"]


async def test_who_is_cancelled_from_inside_itself_ends_at_its_next_wait() -> None:
    """A client that leaves while its own answer is being made."""
    story = Story()
    run = Run(story.waiting())
    story.then = run.cancel
    run.step()
    assert story.told == ["begun"]
    await turns()
    assert (story.told, run.over) == (["begun", "cancelled"], True)


async def test_who_is_cancelled_before_its_task_began_still_ends() -> None:
    """A task cancelled before its first step would leave no record and no answer."""
    story = Story()
    run = Run(story.tasked())

    def step_and_cancel() -> None:
        run.step()
        run.cancel()

    asyncio.get_running_loop().call_soon(step_and_cancel)
    await turns(10)
    assert story.told[-1] == "cancelled"
    assert run.over


async def test_who_is_in_a_task_can_be_cancelled() -> None:
    """Like any task."""
    story = Story()
    run = Run(story.tasked())
    asyncio.get_running_loop().call_soon(run.step)
    await turns(2)
    run.cancel()
    await turns()
    assert (story.told, run.over) == (["begun", "task", "cancelled"], True)


async def test_who_waits_may_ask_for_a_task_later() -> None:
    """A reused connection died: the fresh one needs a task."""
    told: list[bool] = []

    async def later() -> None:
        await PARKED
        await in_task()
        told.append(asyncio.current_task() is not None)

    run = Run(later())
    loop = asyncio.get_running_loop()
    loop.call_soon(run.step)
    loop.call_soon(run.step)
    await turns()
    assert (told, run.over) == ([True], True)


async def test_who_ends_well_after_all_is_not_cancelled_late() -> None:
    """A cancellation that was put off finds nothing to end."""
    story = Story()

    async def quick() -> None:
        story.then()

    run = Run(quick())
    story.then = run.cancel
    run.step()
    assert run.over
    await turns()
