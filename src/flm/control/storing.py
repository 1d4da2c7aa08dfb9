"""Has the journal stored while it grows, and to its last record at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from flm.control.journal_reader import JournalReader
from flm.control.schedules import until_woken
from flm.control.worker import StoreThread
from flm.errors import StoreError
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.journal")

LOOK_SECONDS = 1.0
RETRY_SECONDS = 2.0


class Storing:
    """Drives a `JournalReader` in the store thread, a chunk at a time: others come in between."""

    def __init__(self, reader: JournalReader, thread: StoreThread) -> None:
        self._reader = reader
        self._thread = thread
        self._grew = asyncio.Event()
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin with what is there."""
        self._grew.set()
        self._tasks.start("store journal", self._run())

    def grew(self) -> None:
        """There are new records."""
        self._grew.set()

    async def _run(self) -> None:
        while True:
            await until_woken(self._grew, LOOK_SECONDS)
            try:
                await self._drain()
            except (StoreError, OSError) as error:
                logger.warning("records stay in the journal: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _drain(self) -> None:
        while await self._thread.run(self._reader.step):
            pass

    async def finish(self, seconds: float) -> None:
        """Store what is left; what cannot be stored in time stays for the next controller."""
        await self._tasks.cancel()
        with contextlib.suppress(StoreError, OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._drain()
