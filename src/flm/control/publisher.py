"""Brings together what is stored, seen and loaded, and publishes the snapshot made of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import msgspec

from flm.control.compiler import Running, Sources, compile_snapshot
from flm.control.local_names import LocalNames
from flm.control.supervisor import Supervisor
from flm.domain.engines import (
    EMBEDDED,
    Engine,
    EngineDefinition,
    EngineId,
    EngineKind,
    KnownEngine,
    serves,
)
from flm.domain.models import GgufFile, Model, ModelState
from flm.domain.traits import Api
from flm.errors import FlmError
from flm.ports.clock import Clock
from flm.ports.engines import ModelLauncher, Sighting
from flm.ports.repositories import Everything, Store
from flm.services.embedded_models import offered
from flm.settings import EngineSettings, Settings
from flm.wire.snapshot import EngineDialect, Rules, Snapshot

logger = logging.getLogger("flm.control.publisher")


class Read(msgspec.Struct, frozen=True):
    """What one look into the store gave: the engines' own keys are in clear."""

    everything: Everything
    settings: Settings
    engine_keys: dict[str, str]
    embedded: tuple[Model, ...]


class Identity(NamedTuple):
    """What keys are hashed under, and the owner key's hash."""

    pepper: bytes
    owner_digest: bytes


class StoreReader:
    """Reads the store for the publisher. Synchronous: store thread.

    ``settings`` makes typed settings of the stored ones; ``key_of`` opens an engine's own key;
    without ``demo`` the demo model is not offered, though it was once.
    """

    def __init__(
        self,
        store: Store,
        launcher: ModelLauncher,
        settings: Callable[[Mapping[str, str]], Settings],
        key_of: Callable[[EngineDefinition | KnownEngine], str | None],
        demo: bool = False,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._settings = settings
        self._key_of = key_of
        self._demo = demo
        self._inspected: dict[GgufFile, Model] = {}

    def read(self) -> Read:
        """Everything, with what must be opened or looked up for it.

        Raises `StoreError`, and `InvalidValue` for settings that do not compile.
        """
        everything = self._store.everything()
        files = [file for file in everything.files if self._demo or not file.demo]
        everything = everything._replace(files=files)
        settings = self._settings(everything.settings)
        found = {each.id: self._key_of(each) for each in everything.known}
        keys = found | {each.id: self._key_of(each) for each in everything.definitions}
        return Read(
            everything,
            settings,
            {engine: key for engine, key in keys.items() if key is not None},
            self._models(everything.files, settings.engine(EMBEDDED)),
        )

    def _models(self, files: Sequence[GgufFile], set_: EngineSettings) -> tuple[Model, ...]:
        """The files as models; one that cannot be read now is not offered."""
        if self._launcher.missing() is not None:
            return ()
        known: dict[GgufFile, Model] = {}
        for file in files:
            try:
                known[file] = self._inspected.get(file) or self._launcher.inspect(file.path)
            except (FlmError, OSError) as error:
                logger.warning("%s cannot be served: %s", file.path, error)
        self._inspected = known
        return tuple(
            offered(file, model, set_.num_ctx, set_.capabilities) for file, model in known.items()
        )


class Arrangement(NamedTuple):
    """Every engine once. ``held``: those whose models cannot be asked at once, and how they are
    offered all the same: `sleeping` where a request starts the engine."""

    sightings: tuple[Sighting, ...]
    held: Mapping[EngineId, ModelState] = {}


class Changing(Protocol):
    """What runs by our own doing. It is asked for each snapshot."""

    def running(self) -> Mapping[str, Running]:
        """The embedded models that are loaded, by name."""
        ...

    def arranged(self, seen: Sequence[Sighting]) -> Arrangement:
        """What was seen, with the engines that were started and those that can be."""
        ...

    def keys(self) -> Mapping[str, str]:
        """The keys of the engines that were started, by id."""
        ...

    def located(self) -> Mapping[str, str]:
        """Where the names of engines lead: name → IP address."""
        ...


class Publisher:
    """What was read, seen and loaded last, and the one place where it becomes a snapshot."""

    def __init__(
        self,
        supervisor: Supervisor,
        clock: Clock,
        dialects: Mapping[EngineKind, EngineDialect],
        changing: Changing,
        identity: Identity,
        read: Read,
        native: Mapping[EngineKind, tuple[Api, ...]],
    ) -> None:
        self._native = native
        self._supervisor = supervisor
        self._clock = clock
        self._dialects = dialects
        self._changing = changing
        self._identity = identity
        self._order = asyncio.Lock()
        self._sightings: tuple[Sighting, ...] = ()
        self._withheld: set[str] = set()
        self._local = LocalNames()
        self.read = read

    @asynccontextmanager
    async def withheld(self, target: str) -> AsyncIterator[None]:
        """No request is sent to `engine/name` meanwhile: its name is known and unavailable."""
        self._withheld.add(target)
        try:
            await self.publish()
            yield
        finally:
            self._withheld.discard(target)
            await self.publish()

    def take(self, read: Read) -> None:
        """Take what was read, unless it is older than what is known: looks may overtake."""
        if _newer(read.everything, self.read.everything):
            self.read = read

    def see(self, sightings: Sequence[Sighting]) -> None:
        """Take what detection found, in place of what it found before."""
        self._sightings = tuple(sightings)
        self._local.see(sightings)

    async def publish(self) -> None:
        """Publish what is known now; returns when it is in force."""
        async with self._order:
            await self._supervisor.publish(self._compiled())

    def _compiled(self) -> Snapshot:
        read = self.read
        now = self._clock.now()
        arranged = self._arranged()
        return compile_snapshot(
            Sources(
                config_revision=read.everything.revisions.config,
                security_revision=read.everything.revisions.security,
                pepper=self._identity.pepper,
                keys=read.everything.keys,
                owner_digest=self._identity.owner_digest,
                policy=read.everything.policy,
                sightings=tuple(map(self._without_withheld, arranged.sightings)),
                held=arranged.held,
                engine_keys=self.engine_keys(),
                embedded=read.embedded,
                running=self._changing.running(),
                dialects=self._dialects,
                contexts=read.settings.contexts,
                rules=rules(read.settings),
                located=self._changing.located(),
                native=self._native,
                lately=self._local.of(self._wanted()),
                publications=read.everything.publications,
                templates=read.everything.templates,
                profiles=read.everything.profiles,
                default=read.settings.models_default,
            ),
            now,
        )

    def _fresh(self, now: float) -> tuple[Sighting, ...]:
        """What was seen recently enough to be served, of engines that are still wanted."""
        oldest = now - self.read.settings.engine_cache_ttl_seconds
        added = {definition.id for definition in self.read.everything.definitions}
        return tuple(
            seen
            for seen in self._sightings
            if seen.engine.checked_at >= oldest
            and (seen.engine.source != "added" or seen.engine.id in added)
        )

    def _wanted(self) -> list[EngineId]:
        """The engines that the user added or has had, those that are gone for now included."""
        stored = self.read.everything
        return [*(each.id for each in stored.definitions), *(each.id for each in stored.known)]

    def hosts(self) -> set[str]:
        """Names and addresses of the engines that are wanted."""
        added = {each.address.host for each in self.read.everything.definitions}
        seen = (each.engine.address for each in self._sightings)
        return added | {each.host for each in seen if each is not None}

    def _arranged(self) -> Arrangement:
        """What is there, without what the user does not want to leave this machine: from now
        on, and not only from the next look at the engines on."""
        arranged = self._changing.arranged(self._fresh(self._clock.now()))
        if self.read.settings.engines_ollama_cloud:
            return arranged
        return arranged._replace(sightings=tuple(map(_without_cloud, arranged.sightings)))

    def _without_withheld(self, sighting: Sighting) -> Sighting:
        if not any(model.target in self._withheld for model in sighting.models):
            return sighting
        models = tuple(
            msgspec.structs.replace(model, by_hand=True, loaded=False)
            if model.target in self._withheld
            else model
            for model in sighting.models
        )
        return Sighting(sighting.engine, models)

    def engine_keys(self) -> dict[str, str]:
        """The engines' own keys, of those the user gave and of those that were started."""
        return {**self.read.engine_keys, **self._changing.keys()}

    def sightings(self) -> tuple[Sighting, ...]:
        """The engines and their models as they were seen last."""
        return self._arranged().sightings

    def engines(self) -> tuple[Engine, ...]:
        """The engines as they were seen last."""
        return tuple(seen.engine for seen in self.sightings())

    def models(self) -> tuple[Model, ...]:
        """Every model that can be asked for, the embedded ones with what is loaded."""
        running = self._changing.running()
        arranged = self._arranged()
        seen = [
            model
            for sighting in arranged.sightings
            if sighting.engine.kind != "embedded"
            and (
                arranged.held.get(sighting.engine.id) == "sleeping" or serves(sighting.engine.state)
            )
            for model in sighting.models
        ]
        own = [
            msgspec.structs.replace(model, loaded=model.name in running)
            for model in self.read.embedded
        ]
        return (*seen, *own)


def _without_cloud(sighting: Sighting) -> Sighting:
    """Without models that an engine of this machine runs elsewhere. An engine elsewhere was added
    by the user, who knows where it is."""
    if sighting.engine.remote or not any(model.remote for model in sighting.models):
        return sighting
    return Sighting(sighting.engine, tuple(m for m in sighting.models if not m.remote))


def _newer(read: Everything, known: Everything) -> bool:
    """Whether neither half of it is older."""
    return (
        read.revisions.config >= known.revisions.config
        and read.revisions.security >= known.revisions.security
    )


def rules(settings: Settings) -> Rules:
    """The settings the gateway works by; policy and revision are the compiler's."""
    return Rules(
        revision=0,
        allowed_hosts=settings.server_allowed_hosts,
        idle_seconds=float(settings.streams_idle_seconds),
        first_byte_seconds=float(settings.server_first_byte_seconds),
        wake_seconds=float(settings.engines_wake_seconds),
        ping_seconds=float(settings.streams_ping_seconds),
        breaker_failures=settings.breaker_failures,
        breaker_seconds=float(settings.breaker_open_seconds),
        slow_seconds=float(settings.breaker_slow_seconds),
        journal_cap_bytes=settings.journal_max_bytes,
        media_fetch=settings.media_fetch,
        media_max_bytes=settings.media_max_bytes,
    )
