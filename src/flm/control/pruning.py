"""Takes out of the store what has lain there long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flm.control.response_keeping import ResponseKeeping
from flm.ports.clock import Clock
from flm.ports.repositories import Store
from flm.settings import Settings

logger = logging.getLogger("flm.control")

DAY = 86_400.0
USAGE_DAYS = 3_653
"""Ten years, in which a day's usage is kept."""


class Pruning:
    """Records, usage, the engines' history and responses, by the settings of the moment."""

    def __init__(
        self,
        store: Store,
        responses: ResponseKeeping,
        clock: Clock,
        settings: Callable[[], Settings],
    ) -> None:
        self._store = store
        self._responses = responses
        self._clock = clock
        self._settings = settings

    async def turn(self) -> None:
        """Prune everything once."""
        settings, store, now = self._settings(), self._store, self._clock.now()
        before = now - settings.logs_keep_days * DAY
        # Not in the store thread: removing a million records must not keep a revocation waiting.
        removed = await asyncio.to_thread(store.records.prune, before, settings.logs_keep_records)
        if removed:
            logger.info("%d old records were removed", removed)
        hours, days = settings.usage_keep_days * DAY, USAGE_DAYS * DAY
        await asyncio.to_thread(store.usage.prune, now - hours, now - days)
        await asyncio.to_thread(store.health.prune, now - settings.engine_history_days * DAY)
        await self._responses.prune()
