"""Models taken into memory and out of it because somebody asked, not because a request came."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flm.control.engine_process import EngineMeans
from flm.control.models import EmbeddedModels
from flm.control.operations import Ongoing, Operations
from flm.control.publisher import Publisher
from flm.domain.engines import EMBEDDED, Address, serves
from flm.errors import N_, Conflict, NotFound, NotPermitted
from flm.ports.engines import ModelKeeper, Sighting, Step


class ModelLoads:
    """The verbs `load_model` and `unload_model`, of the embedded engine and of those that let
    others do it. ``look_again`` has the engines looked at, who then know it."""

    def __init__(
        self,
        operations: Operations,
        models: EmbeddedModels,
        publisher: Publisher,
        means: EngineMeans,
        look_again: Callable[[], None],
    ) -> None:
        self._operations = operations
        self._models = models
        self._publisher = publisher
        self._means = means
        self._look_again = look_again

    def load(self, target: str) -> Ongoing:
        """Have `engine/name` in memory. Raises `NotFound`, `NotPermitted`."""
        engine, _, name = target.partition("/")
        if engine == EMBEDDED:
            self._check_embedded(name)
            return self._operations.run(f"load {target}", partial(self._load_embedded, name))
        seen = self._engine(engine)
        work = partial(self._load, seen, self._keeper(seen), name)
        return self._operations.run(f"load {target}", work)

    def unload(self, target: str) -> Ongoing:
        """Have `engine/name` out of memory. Raises `NotFound`, `NotPermitted`."""
        engine, _, name = target.partition("/")
        if engine == EMBEDDED:
            self._check_embedded(name)
            return self._operations.run(f"unload {target}", partial(self._unload_embedded, name))
        seen = self._engine(engine)
        work = partial(self._unload, seen, self._keeper(seen), name)
        return self._operations.run(f"unload {target}", work)

    def _check_embedded(self, name: str) -> None:
        if all(model.name != name for model in self._publisher.read.embedded):
            raise NotFound(
                N_("The embedded engine has no model {name}."),
                remedy=N_("`flm models list` shows what there is."),
                name=name,
            )

    def _engine(self, engine: str) -> Sighting:
        for seen in self._publisher.sightings():
            if seen.engine.id == engine and serves(seen.engine.state):
                return seen
        raise NotFound(
            N_("There is no engine {engine} that runs."),
            remedy=N_("`flm engines list` shows how the engines are."),
            engine=engine,
        )

    def _keeper(self, seen: Sighting) -> ModelKeeper:
        adapter = self._means.adapters.get(seen.engine.kind)
        keeper = adapter.keeper if adapter is not None else None
        if keeper is None:
            raise NotPermitted(
                N_("Engines of the kind {kind} let nobody load or unload their models."),
                kind=seen.engine.kind,
            )
        return keeper

    def _place(self, seen: Sighting) -> tuple[Address, str | None]:
        address = seen.engine.address
        assert address is not None, "what serves has an address"
        return address, self._publisher.engine_keys().get(seen.engine.id)

    async def _load(self, seen: Sighting, keeper: ModelKeeper, name: str, ongoing: Ongoing) -> None:
        address, key = self._place(seen)
        context = self._publisher.read.settings.num_ctx(seen.engine.id)

        def progress(step: Step) -> None:
            ongoing.step(step.doing, **step.values)

        ongoing.step(N_("{name} is loading"), name=name)
        await keeper.load(address, key, name, context.get(name, context.get("")), progress)
        self._look_again()

    async def _unload(
        self, seen: Sighting, keeper: ModelKeeper, name: str, ongoing: Ongoing
    ) -> None:
        address, key = self._place(seen)
        ongoing.step(N_("{name} is unloading"), name=name)
        await keeper.unload(address, key, name)
        self._look_again()

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
