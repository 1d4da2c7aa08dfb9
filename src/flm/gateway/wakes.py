"""Targets that are asleep: asked for once, waited for by everybody who needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flm.errors import Refusal
from flm.gateway.live import Live, LiveTarget
from flm.gateway.running import in_task
from flm.wire.channel import Wake, Woken

_HOPELESS = frozenset({"model_not_found", "port_taken"})
"""Reasons for which the next wake fails too, until somebody has changed something."""


class Wakes:
    """The wakes under way. Bounded by the number of targets."""

    def __init__(self, live: Callable[[], Live], send: Callable[[Wake], None]) -> None:
        self._live = live
        self._send = send
        self._waiting: dict[str, asyncio.Future[Woken]] = {}

    async def awake(self, target_id: str, seconds: float) -> LiveTarget:
        """The target, awake. Returns without a suspension once it is.

        Raises `Refusal` 503 `model_not_loaded` with what the controller says when it cannot be
        woken, 503 `model_load_timeout` after `seconds`, 404 when it is gone.
        """
        await in_task()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            live = self._live().target(target_id)
            if live is None:
                raise self._live().unknown_model(target_id)
            if live.pool is not None:
                return live
            waiting = self._waiting.get(target_id)
            if waiting is None:
                waiting = self._waiting[target_id] = loop.create_future()
                self._send(Wake(target_id, max(1.0, deadline - loop.time())))
            try:
                async with asyncio.timeout_at(deadline):
                    woken = await asyncio.shield(waiting)
            except TimeoutError:
                if self._waiting.get(target_id) is waiting:
                    del self._waiting[target_id]  # no word came: the next request asks again
                raise Refusal(
                    503, "model_load_timeout", "The model took too long to load.",
                    kind="server_error", param="model", retry_after=10,
                ) from None  # fmt: skip
            if woken.error:
                hopeless = woken.code in _HOPELESS
                raise Refusal(
                    503,
                    woken.code or "model_not_loaded",
                    woken.error,
                    kind="server_error",
                    param="model",
                    retry_after=None if hopeless else 5,
                    should_retry=False if hopeless else None,
                )

    def woken(self, message: Woken) -> None:
        """A wake ended, well or not."""
        waiting = self._waiting.pop(message.target, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
