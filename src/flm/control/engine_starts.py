"""How one engine is brought up: with which program, where, and until it answers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from flm.control.engine_process import EngineMeans, EngineProcess, Started, ending
from flm.control.operations import Ongoing
from flm.control.publisher import Read
from flm.domain.engines import (
    KINDS,
    STARTING,
    Address,
    Degraded,
    Engine,
    EngineId,
    EngineKind,
    NetworkError,
    serves,
)
from flm.errors import N_, Conflict, FlmError, InvalidValue, NotFound, NotPermitted, StartError
from flm.ports.engines import NO_ANSWER, Installation, LaunchPlan, Sighting, Starter, Wishes
from flm.ports.processes import Processes
from flm.settings import Settings
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.engines")

LOOK_SECONDS = 4.0
FIRST_LOOK_SECONDS = 0.05
SLOWEST_LOOK_SECONDS = 1.0
PORTS = 100
ANY_PORT = 8000
LAST_LINES = 12


class EngineStarts:
    """Plans, starts and awaits engines. ``token`` makes a random text for an engine's key."""

    def __init__(self, means: EngineMeans, processes: Processes, token: Callable[[], str]) -> None:
        self._means = means
        self._processes = processes
        self._token = token
        self._tasks = Tasks()

    def starter(self, kind: EngineKind) -> Starter:
        """What starts engines of that kind. Raises `NotPermitted` where FLM cannot."""
        adapter = self._means.adapters.get(kind)
        starter = adapter.starter if adapter is not None else None
        if starter is None:
            raise NotPermitted(
                N_("FLM cannot start engines of the kind {kind}."),
                remedy=N_("Start it yourself: FLM finds it, or `flm engines add` tells it where."),
                kind=kind,
            )
        return starter

    def check(self, kind: EngineKind, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for arguments that no start of that kind would take.

        Where FLM can start none, there is nothing to refuse.
        """
        adapter = self._means.adapters.get(kind)
        if adapter is not None and adapter.starter is not None:
            adapter.starter.check(arguments)

    def plan(
        self, engine: EngineId, kind: EngineKind, read: Read, arguments: Sequence[str]
    ) -> LaunchPlan:
        """How to start it, on a port that is free. Blocking: it looks at files and ports.

        Raises `NotFound` when it is not installed, and what `Starter.plan` raises.
        """
        starter = self.starter(kind)
        installation = self._installation(engine, kind, read.settings)
        port = self._port(engine, kind, read)
        return starter.plan(installation, arguments, port, self._token())

    def obstacle(
        self, engine: EngineId, kind: EngineKind, read: Read, arguments: Sequence[str]
    ) -> FlmError | None:
        """Why it could not be started, as far as that is known without trying. Blocking."""
        try:
            installation = self._installation(engine, kind, read.settings)
            self.starter(kind).plan(installation, arguments, 1, "")
        except FlmError as error:
            return error
        return None

    def _installation(self, engine: EngineId, kind: EngineKind, settings: Settings) -> Installation:
        given = settings.engine(engine).path or settings.engine(kind).path
        if given:
            path = Path(given).expanduser()
            if not path.exists():
                raise InvalidValue(
                    N_("There is no {path}, which engines.{engine}.path names."),
                    remedy=N_("Set it to the engine's program or folder."),
                    path=path,
                    engine=engine,
                )
            return Installation(program=str(path))
        found = self._means.adapters[kind].installed(self._means.machine)
        if found is None:
            raise NotFound(
                N_("{kind} is not installed here, as far as FLM can see."),
                remedy=N_("Say where it is: `flm config set engines.{engine}.path PATH`; "
                          "`flm engines install` can install Ollama."),
                kind=kind,
                engine=engine,
            )  # fmt: skip
        return found

    def _port(self, engine: EngineId, kind: EngineKind, read: Read) -> int:
        """Its own port, else the usual one, else the next that is free and nobody else's."""
        homes = {id_: address for id_, (_, address) in _noted(read).items()}
        own = homes.pop(engine, None)
        others = {address.port for address in homes.values() if address.is_loopback}
        usual = self._means.adapters[kind].places(self._means.machine)
        places = [each for each in (own, *usual) if each is not None and each.is_loopback]
        first = places[0].port if places else ANY_PORT
        if own is not None and own.is_loopback:
            others.discard(own.port)
        for port in range(first, min(first + PORTS, 65_536)):
            if port not in others and self._is_free(port):
                return port
        raise Conflict(
            N_("No port from {first} on is free."),
            code="port_taken",
            remedy=N_("End what listens there."),
            first=first,
        )

    def _is_free(self, port: int) -> bool:
        try:
            self._processes.listen("127.0.0.1", port, 1).close()
        except OSError:
            return False
        return True

    async def launch(self, engine: EngineId, plan: LaunchPlan) -> EngineProcess:
        """Start it under a guard. Raises `StartError`."""
        try:
            return await self._means.launcher.launch(engine, plan)
        except OSError as error:
            raise StartError(
                N_("{engine} cannot be started: {why}."),
                engine=engine,
                why=error.strerror or str(error),
            ) from error

    async def until_ready(self, started: Started, read: Read, ongoing: Ongoing) -> Sighting:
        """Wait until it answers as its kind does; what it is like then.

        Raises `StartError` with its own last words when it ends before, or takes too long.
        """
        ended = self._tasks.start(f"end of {started.engine}", started.process.exited())
        pause = FIRST_LOOK_SECONDS
        try:
            async with asyncio.timeout(started.plan.ready_seconds):
                while not ended.done():
                    seen = await self._look_where_it_says(started, read)
                    if serves(seen.engine.state) and not _is_starting(seen.engine):
                        return seen
                    self._tell(started, ongoing)
                    await asyncio.wait([ended], timeout=pause)
                    pause = min(pause * 1.3, SLOWEST_LOOK_SECONDS)
        except TimeoutError as error:
            raise self._failed(started, ongoing, None) from error
        finally:
            if not ended.done():
                ended.cancel()
        raise self._failed(started, ongoing, ended.result())

    async def _look_where_it_says(self, started: Started, read: Read) -> Sighting:
        announced = started.plan.announced
        if announced:
            told = re.findall(announced, started.process.text())
            if not told:
                return _silent(started)
            started.address = Address(started.plan.address.host, int(told[-1]))
        return await self.describe(started, read)

    def _tell(self, started: Started, ongoing: Ongoing) -> None:
        ongoing.step(
            N_("{engine} is starting at {url}"),
            engine=started.engine,
            url=started.address.url,
        )
        ongoing.hear(started.process.lines(1))

    def _failed(self, started: Started, ongoing: Ongoing, code: int | None) -> StartError:
        lines = started.process.lines(LAST_LINES)
        ongoing.hear(lines)
        words = lines[-1] if lines else "-"
        if code is None:
            return StartError(
                N_("{engine} was not ready within {seconds} s. Its last words: {words}"),
                remedy=N_("`flm engines start {engine}` tries again; its log is {log}."),
                engine=started.engine,
                seconds=round(started.plan.ready_seconds),
                words=words,
                log=f"engine-logs/{started.engine}.log",
            )
        return StartError(
            N_("{engine} did not start: {why}. Its last words: {words}"),
            remedy=N_("Its log is {log} in the data directory."),
            engine=started.engine,
            why=ending(code),
            words=words,
            log=f"engine-logs/{started.engine}.log",
        )

    async def describe(self, started: Started, read: Read) -> Sighting:
        """How it is now, asked with its key; silence after 4 s. Never raises."""
        adapter = self._means.adapters[started.kind]
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await adapter.describe(
                    self._means.prober,
                    started.engine,
                    started.address,
                    started.plan.key,
                    wishes(read.settings, started.engine),
                )
        except TimeoutError:
            return _silent(started)


def wishes(settings: Settings, engine: EngineId) -> Wishes:
    """What the user set for an engine."""
    of = settings.engine(engine)
    return Wishes(
        contexts=of.num_ctx, capabilities=of.capabilities, cloud=settings.engines_ollama_cloud
    )


def kind_of(engine: str, read: Read, seen: Iterable[Sighting]) -> EngineKind | None:
    """The kind of the engine of that id: as seen, added or known, else as its name begins
    (`vllm-small` is a vLLM). None when nothing tells."""
    for sighting in seen:
        if sighting.engine.id == engine:
            return sighting.engine.kind
    noted = _noted(read).get(EngineId(engine))
    if noted is not None and noted[0] != "auto":
        return noted[0]
    for kind in KINDS:
        if engine == kind or engine.startswith(f"{kind}-"):
            return kind
    return None


def _noted(read: Read) -> dict[EngineId, tuple[EngineKind | Literal["auto"], Address]]:
    """The engines that were added or found once: what and where they are."""
    noted: dict[EngineId, tuple[EngineKind | Literal["auto"], Address]] = {}
    for known in read.everything.known:
        noted[known.id] = (known.kind, known.address)
    for added in read.everything.definitions:
        noted[added.id] = (added.kind, added.address)
    return noted


def _silent(started: Started) -> Sighting:
    state = NetworkError(NO_ANSWER, 1)
    return Sighting(
        Engine(id=started.engine, kind=started.kind, state=state, address=started.address)
    )


def _is_starting(engine: Engine) -> bool:
    return isinstance(engine.state, Degraded) and engine.state.reason == STARTING
