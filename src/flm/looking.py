"""Looking for engines: by asking what runs, or by oneself.

Part of the composition root (`flm.app`), apart because it is about one thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from flm.domain.engines import Engine, EngineId, serves
from flm.domain.instance import instance_of
from flm.domain.models import Model
from flm.errors import StoreError
from flm.opening import make_detector, wanted

if TYPE_CHECKING:
    from flm.app import Services
    from flm.domain.engines import EngineDefinition, KnownEngine
    from flm.ports.engines import Sighting
    from flm.ports.integrity import Stored
    from flm.services.check_secrets import Sealed


class Found(NamedTuple):
    """Engines, and the models that can be asked for.

    ``stale``: engines of which is only known how they were when they were last seen.
    """

    engines: tuple[Engine, ...]
    models: tuple[Model, ...]
    stale: frozenset[EngineId] = frozenset()


class DetectionService:
    """Asks what runs to look for engines, or looks itself when nothing runs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def seen(self, *, fresh: bool = False) -> Found:
        """What is known; with `fresh` what a look tells now."""
        return self.detect() if fresh else self.known()

    def detect(self) -> Found:
        """Look now; what is found is remembered for the next start."""
        from flm.services.detection_settling import believed

        services = self._services
        if services.proxies.status() is not None:
            status = services.proxies.detect()
            return Found(status.engines, status.models)
        store = services.store
        everything = store.everything()
        settings = services.settings.settings()
        detector = make_detector(services, settings)
        oldest = services.clock.now() - settings.engine_cache_ttl_seconds
        detector.remember(believed(store.engines.cached(), oldest))
        with_keys: list[EngineDefinition | KnownEngine] = [*everything.known]
        with_keys += everything.definitions
        opened = {each.id: services.engines.key_of(each) for each in with_keys}
        keys: dict[str, str] = {id_: key for id_, key in opened.items() if key is not None}
        instance = instance_of(services.secrets.pepper())
        seen = asyncio.run(detector.look(wanted(everything, settings, keys, instance)))
        store.engines.note(detector.named())
        store.engines.cache([(sighting.engine, sighting.models) for sighting in seen])
        return _found(seen)

    def known(self) -> Found:
        """The last word of the controller that runs; else what was seen last, marked as stale
        where that is too long ago, or was an engine that a controller started."""
        services = self._services
        status = services.proxies.status()
        if status is not None and status.state == "started":
            return Found(status.engines, status.models)
        cached = services.store.engines.cached()
        oldest = services.clock.now() - services.settings.settings().engine_cache_ttl_seconds
        stale = frozenset(
            engine.id for engine, _ in cached if engine.owned or engine.checked_at < oldest
        )
        return Found(
            tuple(engine for engine, _ in cached),
            tuple(model for engine, models in cached for model in models
                  if engine.id not in stale and serves(engine.state)),
            stale,
        )  # fmt: skip


def glance(services: Services, stored: Stored) -> Sequence[Engine]:
    """Look at the engines without the store; nothing is remembered of it."""
    from flm.services.check_secrets import sealed_in
    from flm.services.detection import Added, Wanted
    from flm.settings import resolve

    clear = {each.engine: opened(services, each) for each in sealed_in(stored)}
    keys: dict[str, str] = {id_: key for id_, key in clear.items() if key is not None}
    pepper = services.paths.pepper
    wanted_now = Wanted(
        added=[Added(each, keys.get(each.id)) for each in stored.added],
        known=stored.known,
        keys=keys,
        instance=instance_of(pepper.read_bytes()) if pepper.exists() else "",
    )
    seen = asyncio.run(make_detector(services, resolve()).look(wanted_now))
    return [sighting.engine for sighting in seen]


def opened(services: Services, sealed: Sealed) -> str | None:
    """An engine's key, None where it cannot be opened. No master key is made for that."""
    from flm.services.engines import purpose_of
    from flm.store import FileSecrets

    if not services.paths.master_key.exists():
        return None
    try:
        secret = FileSecrets(services.paths).open(sealed.text, purpose_of(sealed.engine))
    except StoreError:
        return None
    return secret.decode()


def _found(seen: Sequence[Sighting]) -> Found:
    return Found(
        tuple(sighting.engine for sighting in seen),
        tuple(
            model for sighting in seen if serves(sighting.engine.state) for model in sighting.models
        ),
    )
