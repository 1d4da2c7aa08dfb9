"""Models taken into memory and out of it because somebody asked, not because a request came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from flm.control.engine_process import EngineMeans
from flm.control.models import EmbeddedModels
from flm.control.operations import Ongoing, Operations
from flm.control.publisher import Publisher
from flm.control.traffic import Traffic
from flm.domain.engines import EMBEDDED, Address, Engine, serves
from flm.errors import N_, Conflict, NotFound, NotPermitted
from flm.ports.engines import ModelKeeper, Step
from flm.services.model_homes import Home, unknown_model
from flm.services.model_overrides import context_wanted


class ModelLoads:
    """The verbs `load_model` and `unload_model`, of the embedded engine and of those that let
    others do it. ``look`` has the engines looked at, which then know it."""

    def __init__(
        self,
        operations: Operations,
        models: EmbeddedModels,
        publisher: Publisher,
        means: EngineMeans,
        traffic: Traffic,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._operations = operations
        self._models = models
        self._publisher = publisher
        self._means = means
        self._traffic = traffic
        self._look = look

    def load(self, target: str) -> Ongoing:
        """Have `engine/name` in memory. Raises `NotFound`, `NotPermitted`."""
        engine, _, name = target.partition("/")
        if engine == EMBEDDED:
            self._check_embedded(name)
            return self._operations.run(f"load {target}", partial(self._load_embedded, name))
        home = self._home(engine, name)
        work = partial(self._load, home, self._keeper(home.engine))
        return self._operations.run(f"load {target}", work)

    def unload(self, target: str) -> Ongoing:
        """Have `engine/name` out of memory. Raises `NotFound`, `NotPermitted`."""
        engine, _, name = target.partition("/")
        if engine == EMBEDDED:
            self._check_embedded(name)
            return self._operations.run(f"unload {target}", partial(self._unload_embedded, name))
        home = self._home(engine, name)
        work = partial(self._unload, home, self._keeper(home.engine))
        return self._operations.run(f"unload {target}", work)

    def _check_embedded(self, name: str) -> None:
        if all(model.name != name for model in self._publisher.read.embedded):
            raise NotFound(
                N_("The embedded engine has no model {name}."),
                remedy=N_("`flm models list` shows what there is."),
                name=name,
            )

    def _home(self, engine: str, name: str) -> Home:
        for seen in self._publisher.sightings():
            if seen.engine.id != engine or not serves(seen.engine.state):
                continue
            for model in seen.models:
                if model.name == name:
                    return Home(seen.engine, model)
            raise unknown_model(name, seen.models)
        raise NotFound(
            N_("There is no engine {engine} that runs."),
            remedy=N_("`flm engines list` shows how the engines are."),
            engine=engine,
        )

    def _keeper(self, engine: Engine) -> ModelKeeper:
        adapter = self._means.adapters.get(engine.kind)
        keeper = adapter.keeper if adapter is not None else None
        if keeper is None:
            raise NotPermitted(
                N_("Engines of the kind {kind} let nobody load or unload their models."),
                kind=engine.kind,
            )
        return keeper

    def _place(self, home: Home) -> tuple[Address, str | None]:
        address = home.engine.address
        assert address is not None, "what serves has an address"
        return address, self._publisher.engine_keys().get(home.engine.id)

    async def _load(self, home: Home, keeper: ModelKeeper, ongoing: Ongoing) -> None:
        """What it takes the place of is drained first: another model, or itself with another
        context length."""
        address, key = self._place(home)
        context = context_wanted(self._publisher.read.settings, home)
        name = home.model.name

        def progress(step: Step) -> None:
            ongoing.step(step.doing, **step.values)

        going = self._replaced(home)
        if home.model.loaded and context not in (None, home.model.context_length):
            going.append(home.model.target)
        async with self._drained(going, name, ongoing):
            ongoing.step(N_("{name} is loading"), name=name)
            await keeper.load(address, key, home.own_name, context, progress)
            await self._look()

    def _replaced(self, home: Home) -> list[str]:
        """The loaded models that go when this one comes."""
        adapter = self._means.adapters.get(home.engine.kind)
        if adapter is None or not adapter.traits.one_model:
            return []
        return [
            model.target
            for seen in self._publisher.sightings()
            if seen.engine.id == home.engine.id
            for model in seen.models
            if model.loaded and model.name != home.model.name
        ]

    async def _unload(self, home: Home, keeper: ModelKeeper, ongoing: Ongoing) -> None:
        address, key = self._place(home)
        name = home.model.name
        async with self._drained([home.model.target], name, ongoing):
            ongoing.step(N_("{name} is unloading"), name=name)
            await keeper.unload(address, key, home.own_name)
            await self._look()

    @asynccontextmanager
    async def _drained(
        self, targets: Sequence[str], name: str, ongoing: Ongoing
    ) -> AsyncIterator[None]:
        """Nothing runs on these targets meanwhile: some engines would cut it, and others answer
        with another model. Raises `Conflict` when what runs does not end in time.
        """
        async with AsyncExitStack() as withheld:
            for target in targets:
                ongoing.step(N_("{name} ends its requests"), name=target.partition("/")[2])
                await withheld.enter_async_context(self._publisher.withheld(target))
            try:
                async with asyncio.timeout(self._patience()):
                    await self._traffic.until(
                        lambda: not any(self._traffic.of(each).in_flight for each in targets)
                    )
            except TimeoutError as error:
                raise _busy(name) from error
            yield

    def _patience(self) -> float:
        return float(self._publisher.read.settings.server_drain_seconds)

    async def _load_embedded(self, name: str, ongoing: Ongoing) -> None:
        ongoing.step(N_("{name} is loading"), name=name)
        try:
            await self._models.load(name, self._patience())
        except TimeoutError as error:
            raise _busy(name) from error

    async def _unload_embedded(self, name: str, ongoing: Ongoing) -> None:
        ongoing.step(N_("{name} ends its requests"), name=name)
        try:
            await self._models.unload(name, self._patience())
        except TimeoutError as error:
            raise _busy(name) from error


def _busy(name: str) -> Conflict:
    return Conflict(
        N_("{name} cannot be loaded or unloaded now: requests are still running."),
        remedy=N_("Try again when they have ended."),
        code="model_busy",
        name=name,
    )
