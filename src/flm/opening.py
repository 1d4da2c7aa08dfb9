"""What opens a data directory for its controller: migrations, first use, the demo, detection.

Part of the composition root (`flm.app`), apart because only a controller needs it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flm.domain.engines import Engine, EngineId
from flm.domain.instance import instance_of
from flm.domain.models import GgufFile, Model
from flm.errors import N_, InternalError, StoreError, UserError
from flm.settings import Settings, resolve

if TYPE_CHECKING:
    from flm.app import Services
    from flm.control.publisher import Read
    from flm.control.world import Opened
    from flm.ports.engines import Sighting
    from flm.ports.repositories import EngineRepository, Everything, Store
    from flm.services.detection import Again, Detector, Wanted
    from flm.services.engine_states import Thresholds

logger = logging.getLogger("flm.opening")

FIRST_KEY_LABEL = "first key"
DEMO_SECONDS = 60.0


class FirstKey(NamedTuple):
    """A key that was made at a start, in clear."""

    id: str
    clear: str


class Quiet:
    """Tells nobody: for changes that are made before anything serves."""

    def poke(self) -> None:
        """Nothing runs that could be told."""


class Opening:
    """Opens the store of a controller, and makes what first use and `--demo` (``demo``) need.

    ``first_key`` is the key made on first use in the foreground: a detached controller has nobody
    to show it to and makes none.
    """

    def __init__(self, services: Services, *, foreground: bool, demo: bool) -> None:
        self._services = services
        self._foreground = foreground
        self._demo = demo
        self.first_key: FirstKey | None = None

    def open(self) -> Opened:
        """Migrate and open. Synchronous: store thread."""
        from flm.control.publisher import StoreReader
        from flm.control.world import Opened
        from flm.services.engines import EngineService
        from flm.store import migrate, open_store

        services = self._services
        logging.getLogger("alembic").setLevel(logging.WARNING)
        migrate(services.paths)
        store = open_store(services.paths)
        engines = EngineService(store.engines, services.secrets, Quiet(), store.settings)
        if self._foreground:
            self._make_first_key(store)
        if self._demo:
            self._add_demo(store)
        reader = StoreReader(
            store,
            services.launcher,
            lambda stored: resolve(stored, services.environ, services.overrides),
            engines.key_of,
            demo=self._demo,
        )
        settings = resolve(store.settings.all(), services.environ, services.overrides)
        pepper = services.secrets.pepper()
        watching = _Watching(make_detector(services, settings), store.engines, pepper)
        return Opened(store, reader, watching, pepper, services.secrets)

    def _make_first_key(self, store: Store) -> None:
        from flm.services.keys import KeyService

        if store.keys.all():
            return
        services = self._services
        keys = KeyService(store.keys, services.secrets, services.clock, secrets.choice, Quiet())
        key, clear = keys.create(FIRST_KEY_LABEL)
        self.first_key = FirstKey(key.id, clear)

    def _add_demo(self, store: Store) -> None:
        """Write the demo model if it is not there and give it to the embedded engine."""
        from flm.engines.embedded.demo import DEMO_NAME

        services = self._services
        missing = services.launcher.missing()
        if missing is not None:
            raise UserError(missing, code="engine_missing")
        path = services.paths.models / f"{DEMO_NAME}.gguf"
        if not path.exists():
            _write_demo(path)
        if all(file.name != DEMO_NAME for file in store.files.all()):
            now = services.clock.now()
            store.files.add(GgufFile(name=DEMO_NAME, path=str(path), added_at=now, demo=True))


_WRITE_DEMO = (
    "import sys, pathlib; from flm.engines.embedded.demo import write_demo; "
    "write_demo(pathlib.Path(sys.argv[1]))"
)


def _write_demo(path: Path) -> None:
    """Write the demo model in a child: what writes it needs 30 MB that would stay with us."""
    draft = path.with_name(f"{path.name}.new")
    try:
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-P", "-c", _WRITE_DEMO, str(draft)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=DEMO_SECONDS,
        )
    except subprocess.SubprocessError as error:
        words = getattr(error, "stderr", None) or b""
        raise InternalError(
            N_("The demo model cannot be written: {why}."),
            why=words.decode(errors="replace").strip().splitlines()[-1:] or error,
        ) from error
    draft.replace(path)


class _Watching:
    """A `Detector` as the controller uses it: the ids it gives are kept."""

    def __init__(self, detector: Detector, engines: EngineRepository, pepper: bytes) -> None:
        self._detector = detector
        self._engines = engines
        self._instance = instance_of(pepper)

    def remember(self, cached: Iterable[tuple[Engine, Sequence[Model]]]) -> None:
        """Take what was seen by an earlier process for what was seen before."""
        self._detector.remember(cached)

    async def look(self, read: Read) -> Sequence[Sighting]:
        """Every engine that is here, or was added, as it is now."""
        seen = await self._detector.look(self._wanted(read))
        named = self._detector.named()
        if named:
            try:
                await asyncio.to_thread(self._engines.note, named)
            except StoreError as error:
                logger.warning("the ids of found engines are not kept: %s", error)
        return seen

    async def again(self, read: Read, engines: Collection[EngineId]) -> Again:
        """How these are now, of those the last look saw."""
        return await self._detector.again(self._wanted(read), engines)

    def _wanted(self, read: Read) -> Wanted:
        return wanted(read.everything, read.settings, read.engine_keys, self._instance)


def thresholds(settings: Settings) -> Thresholds:
    """What these settings say of an engine's states."""
    from flm.services.engine_states import Thresholds

    return Thresholds(
        latency_ms=float(settings.engine_health_latency_threshold_ms),
        network_failures=settings.engine_max_network_failures,
    )


def make_detector(services: Services, settings: Settings) -> Detector:
    """A detector with the thresholds of these settings, which has seen nothing yet."""
    from flm.engines.fingerprint import identify
    from flm.engines.prober import HttpProber
    from flm.engines.registry import adapters
    from flm.ports.processes.machine import LocalMachine
    from flm.services.detection import Detector

    return Detector(
        adapters(),
        HttpProber(services.clock, services.names),
        services.clock,
        identify,
        LocalMachine(services.environ),
        services.launcher,
        thresholds(settings),
    )


def wanted(
    everything: Everything, settings: Settings, keys: Mapping[str, str], instance: str
) -> Wanted:
    """What a look is told. ``keys``: the engines' own keys in clear, by id.

    The one place where settings become an engine's `Wishes`. Cloud models are wanted of every
    Ollama or of none.
    """
    from flm.ports.engines import Wishes
    from flm.services.detection import Added, Wanted

    cloud = settings.engines_ollama_cloud
    return Wanted(
        added=[Added(each, keys.get(each.id)) for each in everything.definitions],
        known=everything.known,
        keys=keys,
        files=everything.files,
        wishes={
            engine: Wishes(contexts=of.num_ctx, capabilities=of.capabilities, cloud=cloud)
            for engine, of in settings.engines.items()
        },
        otherwise=Wishes(cloud=cloud),
        paths={engine: of.path for engine, of in settings.engines.items() if of.path},
        instance=instance,
        thresholds=thresholds(settings),
    )
