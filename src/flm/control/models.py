"""The embedded models: loaded when a request wants one, unloaded when nobody does.

A model goes in this order, so that no request is lost: its target is withdrawn (acknowledged by
the gateway), what is in flight ends, the child is stopped. A request that comes meanwhile finds
the target asleep and wakes it; that waits its turn here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from flm.control.backoff import Backoff
from flm.control.compiler import Running
from flm.control.traffic import Traffic
from flm.domain.engines import EMBEDDED
from flm.domain.models import GgufFile
from flm.errors import FlmError, InvalidValue
from flm.ports.clock import Clock
from flm.ports.engines import ModelLauncher, ModelServer
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.models")

LOAD_SECONDS = 600.0
"""How long a load may take in all; who waits for it may give up before."""

BRIEF_SECONDS = 2.0
"""How long an idle model may stay withdrawn for a request that slipped in."""

STEADY_SECONDS = 60.0
"""A model that ran for so long may be started again at once when it crashes."""

_PREFIX = f"{EMBEDDED}/"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the embedded engine. ``contexts``: by model, '' for all of them."""

    max_loaded: int = 1
    idle_seconds: float = 900.0
    threads: int = 0
    parallel: int = 2
    contexts: Mapping[str, int] = {}

    def context(self, name: str) -> int:
        """The context length to ask for; 0: the model's own."""
        return self.contexts.get(name, self.contexts.get("", 0))


class _Loaded:
    """A running child, since when, and what it was started with."""

    def __init__(self, server: ModelServer, file: GgufFile, context: int, since: float) -> None:
        self.server = server
        self.file = file
        self.context = context
        self.since = since
        self.withdrawn = False


class EmbeddedModels:
    """The loaded models of the embedded engine; at most ``limits.max_loaded`` at once.

    ``publish`` makes a snapshot of what `running` says and returns when it is in force.
    """

    def __init__(
        self,
        launcher: ModelLauncher,
        clock: Clock,
        traffic: Traffic,
        publish: Callable[[], Awaitable[None]],
    ) -> None:
        self._launcher = launcher
        self._clock = clock
        self._traffic = traffic
        self._publish = publish
        self._tasks = Tasks()
        self._one_at_a_time = asyncio.Lock()
        self._files: dict[str, GgufFile] = {}
        self._limits = Limits()
        self._loaded: dict[str, _Loaded] = {}
        self._backoff = Backoff(clock)
        self._stopped = False

    def running(self) -> dict[str, Running]:
        """Where the models that may be asked now answer, by name."""
        return {
            name: Running(loaded.server.address.host, loaded.server.address.port, loaded.server.key)
            for name, loaded in self._loaded.items()
            if not loaded.withdrawn
        }

    def use(self, files: Sequence[GgufFile], limits: Limits) -> None:
        """Take the files and limits of now; what does not fit them any more is unloaded."""
        self._files = {file.name: file for file in files}
        self._limits = limits
        stale = [loaded for name, loaded in self._loaded.items() if self._is_stale(name, loaded)]
        for loaded in stale:
            loaded.withdrawn = True  # by the next snapshot: no request comes to it any more
        if stale:
            self._tasks.start("unload stale models", self.tidy())

    def _is_stale(self, name: str, loaded: _Loaded) -> bool:
        return self._files.get(name) != loaded.file or self._limits.context(name) != loaded.context

    async def load(self, name: str, patience: float) -> None:
        """Have a model in memory, published; at once when it is. ``patience``: how long models
        that must go before it may go on with what they do, in seconds.

        Raises `FlmError` with a message for clients, `TimeoutError`.
        """
        if self._stopped:
            raise FlmError("FLM is about to end.", code="model_load_failed")
        try:
            async with asyncio.timeout(LOAD_SECONDS), self._one_at_a_time:
                if name not in self.running():
                    await self._load(name, patience)
        except InvalidValue as error:  # the file is at fault, not the request; its path is not told
            logger.warning("%s was not loaded: %s", name, error)
            sentence = f"The file of the model {name!r} cannot be read; FLM's log says why."
            raise FlmError(sentence, code="model_load_failed") from error

    async def unload(self, name: str, patience: float) -> bool:
        """Withdraw a model, wait for what runs on it, end it; False when it is not loaded.

        Raises `TimeoutError` when it is still busy after `patience` seconds; it serves on then.
        """
        async with self._one_at_a_time:
            if name not in self._loaded:
                return False
            await self._unload(name, patience)
            return True

    async def _load(self, name: str, deadline: float) -> None:
        file = self._files.get(name)
        if file is None:
            raise FlmError(f"The model {name!r} is not there any more.", code="model_not_found")
        if name in self._loaded:  # started with what is not wanted any more
            await self._unload(name, deadline)
        while len(self._loaded) >= self._limits.max_loaded:
            await self._unload(self._victim(), deadline)
        await self._backoff.wait(name)
        limits = self._limits
        context = limits.context(name)
        try:
            server = await self._launcher.launch(
                file,
                context_length=context,
                parallel=limits.parallel,
                threads=limits.threads,
                seconds=LOAD_SECONDS,
            )
        except Exception:  # raised again: whatever it was, the next try comes later
            self._backoff.failed(name)
            raise
        loaded = _Loaded(server, file, context, self._clock.now())
        self._loaded[name] = loaded
        self._tasks.start(f"watch {name}", self._watch(name, loaded))
        logger.info("%s is loaded (process %d)", name, server.pid)
        await self._publish()

    async def _watch(self, name: str, loaded: _Loaded) -> None:
        """See the child's end: one that came unasked withdraws its target at once."""
        code = await loaded.server.exited()
        if self._loaded.get(name) is not loaded:
            return
        del self._loaded[name]
        if self._clock.now() - loaded.since >= STEADY_SECONDS:
            self._backoff.forget(name)
        self._backoff.failed(name)
        self._traffic.came()
        logger.warning("%s ended with %d", name, code)
        if not loaded.withdrawn:
            await self._publish()

    def _victim(self) -> str:
        """The model to unload: an idle one before a busy one, the one used longest ago first."""
        return min(self._loaded, key=lambda name: (self._in_flight(name) > 0, self._last_use(name)))

    async def _unload(self, name: str, seconds: float | None) -> None:
        """Withdraw a model, wait for what runs on it, stop it.

        Raises `TimeoutError` when it is still busy after `seconds`; it serves on then.
        """
        loaded = self._loaded[name]
        loaded.withdrawn = True
        await self._publish()
        try:
            async with asyncio.timeout(seconds):
                await self._until_idle(name, loaded)
        except TimeoutError:
            loaded.withdrawn = False
            await self._publish()
            raise
        if self._loaded.get(name) is loaded:
            del self._loaded[name]
        await loaded.server.stop()
        logger.info("%s is unloaded", name)

    async def _until_idle(self, name: str, loaded: _Loaded) -> None:
        await self._traffic.until(
            lambda: not self._in_flight(name) or self._loaded.get(name) is not loaded
        )

    def _in_flight(self, name: str) -> int:
        return self._traffic.of(_PREFIX + name).in_flight

    def _last_use(self, name: str) -> float:
        return max(self._loaded[name].since, self._traffic.of(_PREFIX + name).last_use)

    async def tidy(self) -> None:
        """Unload what nobody has asked for since ``limits.idle_seconds``, or is not to be served.

        What is busy goes on and is looked at again with the next call.
        """
        async with self._one_at_a_time:
            for name, loaded in list(self._loaded.items()):
                idle = self._clock.now() - self._last_use(name) >= self._limits.idle_seconds
                if self._in_flight(name) or not (idle or self._is_stale(name, loaded)):
                    continue
                with contextlib.suppress(TimeoutError):
                    await self._unload(name, BRIEF_SECONDS)

    async def stop(self) -> None:
        """End every child; nothing is loaded after this."""
        self._stopped = True
        await self._tasks.cancel()
        loaded, self._loaded = list(self._loaded.values()), {}
        for each in loaded:
            await each.server.stop()
