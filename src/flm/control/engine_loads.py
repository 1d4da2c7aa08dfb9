"""How busy the engines are: asked in the background, told to people and to the gateway.

The figures go to the gateway in a message of their own. In the routes they would make a delta of
every change, which every gateway would have to acknowledge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from flm.control.engine_process import EngineMeans
from flm.control.traffic import Traffic
from flm.domain.engines import EMBEDDED, Engine, EngineId, EngineLoad, serves
from flm.ports.engines import Sighting
from flm.tasks import Tasks
from flm.wire.channel import Loads

LOAD_SECONDS = 5.0
"""About how often the engines are asked."""

ANSWER_SECONDS = 2.0
AT_ONCE = 8


class EngineLoads:
    """What the engines last said of themselves.

    ``seen``: the engines as they are; ``keys``: their own keys, by id; ``tell`` sends to the
    gateway that serves.
    """

    def __init__(
        self,
        means: EngineMeans,
        traffic: Traffic,
        seen: Callable[[], Sequence[Sighting]],
        keys: Callable[[], Mapping[str, str]],
        tell: Callable[[Loads], None],
    ) -> None:
        self._means = means
        self._traffic = traffic
        self._seen = seen
        self._keys = keys
        self._tell = tell
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._loads: dict[EngineId, EngineLoad] = {}

    async def turn(self) -> None:
        """Ask every engine that serves. What does not answer in time has no figures any more."""
        keys = self._keys()
        tasks = Tasks()
        engines = [each.engine for each in self._seen() if self._is_asked(each.engine)]
        asked = {
            engine.id: tasks.start(f"load:{engine.id}", self._ask(engine, keys.get(engine.id)))
            for engine in engines
        }
        try:
            if asked:
                await asyncio.wait(asked.values())
        finally:
            await tasks.cancel()
        before = self._loads
        self._loads = {
            engine: load
            for engine, task in asked.items()
            if task.exception() is None and (load := task.result()) is not None
        }
        if self._loads or before:
            self._tell(Loads({str(engine): load for engine, load in self._loads.items()}))

    def _is_asked(self, engine: Engine) -> bool:
        here = engine.address is not None and engine.kind in self._means.adapters
        return here and engine.id != EMBEDDED and serves(engine.state)

    async def _ask(self, engine: Engine, key: str | None) -> EngineLoad | None:
        assert engine.address is not None
        adapter = self._means.adapters[engine.kind]
        async with self._turns:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await adapter.load(self._means.prober, engine.address, key)
            except TimeoutError:
                return None

    def completed(self, engines: Iterable[Engine]) -> tuple[Engine, ...]:
        """The engines with what they said of themselves, and FLM's own requests on them."""
        return tuple(
            msgspec.structs.replace(
                engine,
                load=self._loads.get(engine.id) if serves(engine.state) else None,
                in_flight=self._traffic.of_engine(engine.id).in_flight,
            )
            for engine in engines
        )
