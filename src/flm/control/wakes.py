"""Answers the gateway's `Wake`s: what sleeps is woken once, however many requests wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from flm.errors import FlmError
from flm.tasks import Tasks
from flm.wire.channel import Wake, Woken

logger = logging.getLogger("flm.control.wakes")


class Told(Protocol):
    """Who is told how a `Wake` ended."""

    def woken(self, message: Woken) -> None:
        """A `Wake` ended like this."""
        ...


class Wakes:
    """The wakes under way, by target; bounded by the targets there are.

    ``awaken`` returns when the target is awake and the gateway knows. What it raises is told to
    clients: errors of FLM's tree with their message and code, which must not hold what clients
    have no business to know.
    """

    def __init__(self, gateway: Told, awaken: Callable[[Wake], Awaitable[None]]) -> None:
        self._gateway = gateway
        self._awaken = awaken
        self._tasks = Tasks()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    def wake(self, message: Wake) -> None:
        """A request waits for `message.target`; `Woken` tells the gateway how that ended."""
        target = message.target
        if self._stopped or target in self._under_way:
            return
        self._under_way[target] = self._tasks.start(f"wake {target}", self._wake(message))

    async def _wake(self, message: Wake) -> None:
        try:
            answer = await self._woken(message)
        finally:
            # Before the answer: what the gateway asks when it has it is a new question.
            self._under_way.pop(message.target, None)
        self._gateway.woken(answer)

    async def _woken(self, message: Wake) -> Woken:
        target = message.target
        name = target.partition("/")[2]
        try:
            await self._awaken(message)
        except FlmError as error:
            logger.warning("%s was not woken: %s", target, error)
            return Woken(target, error.message, error.code)
        except TimeoutError:
            sentence = f"The model {name!r} could not be loaded in time."
            return Woken(target, sentence, "model_load_timeout")
        except Exception as error:  # one target: the others go on
            logger.exception("waking %s failed", target)
            sentence = f"The model {name!r} could not be loaded: {error}"
            return Woken(target, sentence, "model_load_failed")
        return Woken(target)

    async def stop(self) -> None:
        """Wake nothing any more; what is under way is given up."""
        self._stopped = True
        await self._tasks.cancel()
