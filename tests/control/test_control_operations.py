"""Operations: told turn by turn, to whoever asks, for as long as they are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flm.control.operations import Ongoing, Operations
from flm.errors import Conflict, InvalidValue, NotFound
from flm.wire.control import Failure


@pytest.fixture
async def operations() -> AsyncIterator[Operations]:
    """Those of one controller."""
    made = Operations("salt")
    yield made
    await made.stop()


async def waits(ongoing: Ongoing) -> None:
    """Work that takes for ever."""
    ongoing.step("{it} is at it", it="work")
    await asyncio.Event().wait()


async def test_each_change_is_a_turn_and_the_same_again_is_none(operations: Operations) -> None:
    """Whoever has seen a turn waits for the next one."""
    ongoing = operations.begin()
    ongoing.step("{name} starts", name="vllm")
    ongoing.step("{name} starts", name="vllm")
    ongoing.hear(("a line",))
    assert (ongoing.now.turn, ongoing.now.doing) == (3, "{name} starts")
    assert ongoing.now.values == {"name": "vllm"}
    waiting = asyncio.ensure_future(operations.told(ongoing.now.id, 3, 20.0))
    await asyncio.sleep(0)
    ongoing.end()
    told = await waiting
    assert (told.turn, told.over, told.lines, told.failure) == (4, True, ("a line",), None)
    assert await operations.told(ongoing.now.id, 4, 20.0) == told


async def test_a_wait_ends_without_a_turn(operations: Operations) -> None:
    """The answer is how it is."""
    ongoing = operations.run("wait", waits)
    await asyncio.sleep(0)
    assert (await operations.told(ongoing.now.id, 2, 0.01)).turn == 2


async def test_how_work_ends_is_how_its_operation_ends(operations: Operations) -> None:
    """An error of FLM's keeps its code and remedy."""

    async def fails(ongoing: Ongoing) -> None:
        raise InvalidValue("No {thing}.", remedy="Give {thing}.", thing="model")

    told = await operations.run("fail", fails).over()
    assert told.failure == Failure(
        code="invalid_value", message="No model.", remedy="Give model.", template="No {thing}.",
        remedy_template="Give {thing}.", values={"thing": "model"}, exit_code=1,
    )  # fmt: skip


async def test_work_that_is_given_up_is_over(operations: Operations) -> None:
    """Before it began as well as in the middle."""
    early = operations.run("early", waits)
    early.give_up()
    late = operations.run("late", waits)
    await asyncio.sleep(0)
    late.give_up()
    ends = [await each.over() for each in (early, late)]
    assert [each.failure is not None and each.failure.code for each in ends] == ["conflict"] * 2


async def test_what_is_over_is_forgotten_for_what_is_new(operations: Operations) -> None:
    """At most 64 are remembered; when all of them run, no more are begun."""
    first = operations.begin()
    first.end()
    running = [operations.begin() for _ in range(64)]
    with pytest.raises(NotFound):
        await operations.told(first.now.id, 0, 0.0)
    with pytest.raises(Conflict):
        operations.begin()
    running[0].end()
    operations.begin()


async def test_an_id_of_another_run_means_nothing() -> None:
    """The controller was started again meanwhile: nobody is told of somebody else's work."""
    id_ = Operations("one").begin().now.id
    other = Operations("two")
    other.begin()
    with pytest.raises(NotFound):
        await other.told(id_, 0, 0.0)
