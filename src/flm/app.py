"""The composition root: the only place that knows everybody.

`open_services` wires what the command line uses, `build_controller` what a controller needs.
Everything dear is imported where it is first needed: a command pays only for what it uses.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import msgspec

from flm import __version__
from flm.domain.engines import Engine, EngineDefinition, serves
from flm.domain.models import GgufFile, Model
from flm.errors import N_, Conflict, InternalError, UserError
from flm.paths import DataPaths, data_paths, default_data_dir, prepare
from flm.ports.clock import SystemClock
from flm.ports.processes import Processes, current
from flm.services.proxies import START_SECONDS, ProxyService
from flm.setting_kinds import Value
from flm.settings import Settings, resolve
from flm.wire.control import Status

if TYPE_CHECKING:
    from flm.control.controller import Controller
    from flm.control.publisher import Read
    from flm.control.world import Opened
    from flm.engines.embedded.process import EmbeddedLauncher
    from flm.ports.engines import Sighting
    from flm.ports.repositories import Store
    from flm.services.detection import Detector
    from flm.services.engines import EngineService
    from flm.services.keys import KeyService
    from flm.services.logs import LogService
    from flm.services.models import ModelService
    from flm.services.settings import SettingsService
    from flm.store import FileSecrets
    from flm.wire.snapshot import EngineDialect

FIRST_KEY_LABEL = "first key"
DEMO_SECONDS = 60.0


class Found(NamedTuple):
    """Engines, and the models that can be asked for."""

    engines: tuple[Engine, ...]
    models: tuple[Model, ...]


class FirstKey(NamedTuple):
    """A key that was made at a start, in clear."""

    id: str
    clear: str


class Quiet:
    """Tells nobody: for changes that are made before anything serves."""

    def poke(self) -> None:
        """Nothing runs that could be told."""


@dataclass(frozen=True)
class Services:
    """The use cases of one data directory, each made when it is first used. Close it after use."""

    paths: DataPaths
    environ: Mapping[str, str]
    overrides: Mapping[str, Value]
    processes: Processes
    clock: SystemClock = field(default_factory=SystemClock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store if it was opened."""
        if "store" in self.__dict__:
            self.store.close()

    @cached_property
    def proxies(self) -> ProxyService:
        """What runs for this data directory."""
        return ProxyService(self.paths, self.processes, self.clock)

    @cached_property
    def store(self) -> Store:
        """The databases, migrated unless a controller has them: that has migrated them itself.

        Raises `Conflict` when the controller that runs is of another version.
        """
        from flm.store import migrate, open_store

        prepare(self.paths)
        status = self.proxies.status()
        if status is not None and status.state == "starting":
            status = self.proxies.status(wait=START_SECONDS)
        if status is None:
            migrate(self.paths)
        elif status.version != __version__:
            raise Conflict(
                N_("FLM {theirs} serves this data directory, this is FLM {ours}."),
                remedy=N_("Stop it with `flm proxy stop` and start it again."),
                code="version_mismatch",
                theirs=status.version,
                ours=__version__,
            )
        return open_store(self.paths)

    @cached_property
    def secrets(self) -> FileSecrets:
        """The installation's pepper and master key."""
        from flm.store import FileSecrets

        prepare(self.paths)
        return FileSecrets(self.paths)

    @cached_property
    def launcher(self) -> EmbeddedLauncher:
        """The embedded engine."""
        from flm.engines.embedded.process import EmbeddedLauncher
        from flm.engines.prober import HttpProber

        return EmbeddedLauncher(
            self.processes,
            HttpProber(self.clock),
            self.paths.engine_logs,
            lambda: secrets.token_hex(16),
        )

    @cached_property
    def keys(self) -> KeyService:
        """API keys."""
        from flm.services.keys import KeyService

        return KeyService(self.store.keys, self.secrets, self.clock, secrets.choice, self.proxies)

    @cached_property
    def settings(self) -> SettingsService:
        """Settings."""
        from flm.services.settings import SettingsService

        return SettingsService(self.store.settings, self.environ, self.overrides, self.proxies)

    @cached_property
    def engines(self) -> EngineService:
        """Engines the user added."""
        from flm.services.engines import EngineService

        return EngineService(self.store.engines, self.secrets, self.proxies)

    @cached_property
    def models(self) -> ModelService:
        """GGUF files for the embedded engine."""
        from flm.services.models import ModelService

        return ModelService(self.store.files, self.launcher, self.clock, self.proxies)

    @cached_property
    def logs(self) -> LogService:
        """Request records."""
        from flm.services.logs import LogService

        return LogService(self.store.records, self.clock)

    @cached_property
    def detection(self) -> DetectionService:
        """Which engines are here."""
        return DetectionService(self)


class DetectionService:
    """Asks what runs to look for engines, or looks itself when nothing runs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def detect(self) -> Found:
        """Look now; what is found is remembered for the next start."""
        services = self._services
        if services.proxies.status() is not None:
            status = services.proxies.detect()
            return Found(status.engines, status.models)
        store = services.store
        everything = store.everything()
        settings = services.settings.settings()
        detector = _detector(services, settings)
        detector.remember(store.engines.cached())
        added = [
            (definition, services.engines.key_of(definition))
            for definition in everything.definitions
        ]
        seen = asyncio.run(_look(detector, added, services.environ, settings, everything.files))
        store.engines.cache([(sighting.engine, sighting.models) for sighting in seen])
        return _found(seen)

    def known(self) -> Found:
        """What was seen last, without looking again."""
        status = self._services.proxies.status()
        if status is not None and status.state == "started":
            return Found(status.engines, status.models)
        cached = self._services.store.engines.cached()
        return Found(
            tuple(engine for engine, _ in cached),
            tuple(model for _, models in cached for model in models),
        )


def _found(seen: Sequence[Sighting]) -> Found:
    return Found(
        tuple(sighting.engine for sighting in seen),
        tuple(
            model for sighting in seen if serves(sighting.engine.state) for model in sighting.models
        ),
    )


def open_services(
    data_dir: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Value] | None = None,
) -> Services:
    """The services of a data directory (None: the user's own). Touches nothing yet."""
    environ = environ or {}
    root = default_data_dir(environ) if data_dir is None else Path(data_dir)
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Services(
        paths=data_paths(root),
        environ=environ,
        overrides=overrides or {},
        processes=current(Path(runtime) if runtime else None),
    )


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a controller. ``overrides``: settings the command line gave, by name."""

    data_dir: str | None = None
    environ: Mapping[str, str] = {}
    overrides: Mapping[str, Value] = {}
    demo: bool = False
    foreground: bool = True


OnStarted = Callable[[Status, FirstKey | None], None]


def run_foreground(options: RunOptions, on_started: OnStarted | None = None) -> int:
    """Serve in this process until asked to stop; 0 when it ended as asked.

    `on_started` is called once requests are answered, with the key that was made on first use.
    Raises `Conflict` (`already_running`, `port_taken`) and what else a start can end with.
    """
    from flm.control.running import run

    controller, opening = build_controller(options)

    def started(status: Status) -> None:
        if on_started is not None:
            on_started(status, opening.first_key)

    asyncio.run(run(controller, started))
    return 0


def build_controller(options: RunOptions) -> tuple[Controller, Opening]:
    """A controller that is not started yet, and what will open its store.

    Call it in a running loop or before one. Makes the data directory.
    """
    from flm.control.controller import Controller
    from flm.control.world import World
    from flm.engines.registry import adapters

    services = open_services(options.data_dir, options.environ, options.overrides)
    prepare(services.paths)
    opening = Opening(services, options)
    random = secrets.SystemRandom()
    world = World(
        paths=services.paths,
        processes=services.processes,
        clock=services.clock,
        open_store=opening.open,
        launcher=services.launcher,
        dialects={each.kind: cast("EngineDialect", each.dialect) for each in adapters()},
        choice=secrets.choice,
        spread=lambda seconds: seconds * random.uniform(0.9, 1.1),
        gateway=(sys.executable, "-P", "-m", "flm.gateway"),
        version=__version__,
        foreground=options.foreground,
        demo=options.demo,
    )
    return Controller(world), opening


class Opening:
    """Opens the store of a controller, and makes what first use and `--demo` need.

    ``first_key`` is the key made on first use in the foreground: a detached controller has nobody
    to show it to and makes none.
    """

    def __init__(self, services: Services, options: RunOptions) -> None:
        self._services = services
        self._options = options
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
        engines = EngineService(store.engines, services.secrets, Quiet())
        if self._options.foreground:
            self._make_first_key(store)
        if self._options.demo:
            self._add_demo(store)
        reader = StoreReader(
            store,
            services.launcher,
            lambda stored: resolve(stored, services.environ, services.overrides),
            engines.key_of,
            demo=self._options.demo,
        )
        settings = resolve(store.settings.all(), services.environ, services.overrides)
        watching = _Watching(_detector(services, settings), services.environ)
        return Opened(store, reader, watching, services.secrets.pepper())

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
    """A `Detector` as the controller uses it."""

    def __init__(self, detector: Detector, environ: Mapping[str, str]) -> None:
        self._detector = detector
        self._environ = environ

    def remember(self, cached: Iterable[tuple[Engine, Sequence[Model]]]) -> None:
        """Take what was seen by an earlier process for what was seen before."""
        self._detector.remember(cached)

    async def look(self, read: Read) -> Sequence[Sighting]:
        """Every engine that is here, or was added, as it is now."""
        everything = read.everything
        added = [(each, read.engine_keys.get(each.id)) for each in everything.definitions]
        return await _look(self._detector, added, self._environ, read.settings, everything.files)


def _detector(services: Services, settings: Settings) -> Detector:
    from flm.engines.prober import HttpProber
    from flm.engines.registry import adapters
    from flm.services.detection import Detector
    from flm.services.engine_states import Thresholds

    return Detector(
        adapters(),
        HttpProber(services.clock),
        services.clock,
        services.launcher,
        Thresholds(
            latency_ms=float(settings.engine_health_latency_threshold_ms),
            network_failures=settings.engine_max_network_failures,
        ),
    )


async def _look(
    detector: Detector,
    added: Sequence[tuple[EngineDefinition, str | None]],
    environ: Mapping[str, str],
    settings: Settings,
    files: Sequence[GgufFile],
) -> list[Sighting]:
    from flm.services.detection import Added

    return await detector.look(
        [Added(definition, key) for definition, key in added], environ, settings.contexts, files
    )
