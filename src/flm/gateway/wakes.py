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


class _Wake:
    """One wake under way: the word that ends it, and how many requests wait for it.

    ``asked``: whether the controller is to be waited for; ``live``: the target that came of it,
    on which each of them counts as in flight until it has gone on.
    """

    __slots__ = ("asked", "live", "waiting", "word")

    def __init__(self) -> None:
        self.word: asyncio.Future[Woken] = asyncio.get_running_loop().create_future()
        self.asked = False
        self.live: LiveTarget | None = None
        self.waiting = 0

    async def wait(self, deadline: float) -> Woken:
        """The word, by `deadline` (the loop's time). Raises `TimeoutError`."""
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self.word)
        finally:
            self.waiting -= 1
            if self.live is not None:
                self.live.in_flight -= 1

    def end(self, message: Woken, live: LiveTarget | None) -> None:
        """Everybody who waits may go on; to `live` if that is awake.

        They are counted there in this step and not in the one in which they go on: the controller
        may withdraw a target right after it has woken it, because another one is wanted as well,
        and would unload what nobody seems to use.
        """
        if not message.error and live is not None and live.pool is not None:
            self.live = live
            live.in_flight += self.waiting
        self.word.set_result(message)


class Wakes:
    """The wakes under way. Bounded by the number of targets."""

    def __init__(self, live: Callable[[], Live], send: Callable[[Wake], None]) -> None:
        self._live = live
        self._send = send
        self._under_way: dict[str, _Wake] = {}

    async def awake(self, target_id: str, seconds: float) -> LiveTarget:
        """The target, awake; its caller counts itself as in flight there before it waits again.

        Returns without a suspension once it is. Raises `Refusal` 503 `model_not_loaded` with what
        the controller says when it cannot be woken, 503 `model_load_timeout` after `seconds`, 404
        when it is gone.
        """
        await in_task()
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            live = self._live().target(target_id)
            if live is None:
                raise self._live().unknown_model(target_id)
            if live.pool is not None:
                return live
            wake = self._wake(target_id, deadline)
            try:
                woken = await wake.wait(deadline)
            except TimeoutError:
                self._give_up(target_id, wake)
                raise Refusal(
                    503, "model_load_timeout", "The model took too long to load.",
                    kind="server_error", param="model", retry_after=10,
                ) from None  # fmt: skip
            if woken.error:
                raise _refusal(woken)
            if wake.live is not None:
                return wake.live

    def _wake(self, target_id: str, deadline: float) -> _Wake:
        wake = self._under_way.get(target_id)
        if wake is None:
            wake = self._under_way[target_id] = _Wake()
        if not wake.asked:
            wake.asked = True
            left = deadline - asyncio.get_running_loop().time()
            self._send(Wake(target_id, max(1.0, left)))
        return wake

    def _give_up(self, target_id: str, wake: _Wake) -> None:
        """No word came in time: the next request asks again. Those who wait longer do so."""
        wake.asked = False
        if not wake.waiting and self._under_way.get(target_id) is wake:
            del self._under_way[target_id]

    def woken(self, message: Woken) -> None:
        """A wake ended, well or not."""
        wake = self._under_way.pop(message.target, None)
        if wake is not None:
            wake.end(message, self._live().target(message.target))


def _refusal(woken: Woken) -> Refusal:
    hopeless = woken.code in _HOPELESS
    return Refusal(
        503,
        woken.code or "model_not_loaded",
        woken.error,
        kind="server_error",
        param="model",
        retry_after=None if hopeless else 5,
        should_retry=False if hopeless else None,
    )
