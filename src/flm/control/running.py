"""A controller from its start to its end, with the signals that end it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Iterator

from flm.control.controller import Controller
from flm.tasks import Tasks
from flm.wire.control import Status

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


async def run(controller: Controller, on_started: Callable[[Status], None]) -> None:
    """Start, tell `on_started` what serves, and stay until asked to leave.

    SIGINT, SIGTERM and SIGHUP drain, also during the start; a second SIGINT ends at once. Raises
    what `Controller.start` and `Controller.until_stopped` raise, when everything has ended.
    """
    tasks = Tasks()
    with _signals(controller):
        try:
            leaving = tasks.start("until stopped", controller.until_stopped())
            starting = tasks.start("start", _quietly(controller, on_started))
            await asyncio.wait([starting, leaving], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                error = starting.result()
                if error is not None:
                    raise error
                leaving.cancel()
                await controller.until_stopped()
        finally:
            await tasks.cancel()
            await controller.stop()


async def _quietly(
    controller: Controller, on_started: Callable[[Status], None]
) -> Exception | None:
    """What went wrong in the start, as a value: whoever waits raises it, nobody logs it twice."""
    try:
        status = await controller.start()
    except Exception as error:  # noqa: BLE001 - handed to `run`, which raises it
        return error
    # What is here now stays. Storing thousands of records a second sets the collector to work, and
    # without this it would look through all modules, tables and settings again and again.
    gc.freeze()
    on_started(status)
    return None


@contextlib.contextmanager
def _signals(controller: Controller) -> Iterator[None]:
    asked = 0

    def received(number: int) -> None:
        nonlocal asked
        asked += number == signal.SIGINT
        if asked > 1:
            controller.end_at_once()
        else:
            controller.ask_to_stop()

    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        try:
            loop.add_signal_handler(number, received, number)
        except NotImplementedError:  # Windows: Python's own handlers, which wake the loop
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(received, got))
    try:
        yield
    finally:
        for number in numbers:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, before[number])
