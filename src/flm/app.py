"""The composition root: the only place that knows everybody.

`open_services` wires what the command line uses, `build_controller` what a controller needs.
Everything dear is imported where it is first needed: a command pays only for what it uses.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import msgspec

from flm import __version__
from flm.domain.engines import Address, Engine, EngineId
from flm.domain.instance import instance_of
from flm.errors import N_, Conflict, StoreError
from flm.looking import DetectionService, Found
from flm.opening import FIRST_KEY_LABEL, FirstKey, Opening, make_detector
from flm.paths import DataPaths, data_paths, default_data_dir, prepare
from flm.ports.clock import SystemClock
from flm.ports.processes import Processes, current
from flm.services.proxies import START_SECONDS, ProxyService
from flm.setting_kinds import Value
from flm.wire.control import Status

if TYPE_CHECKING:
    from flm.control.controller import Controller
    from flm.control.engine_process import EngineMeans
    from flm.control.resolving import Resolving
    from flm.domain.engines import EngineDefinition, KnownEngine
    from flm.engines.download import Downloader
    from flm.engines.embedded.process import EmbeddedLauncher
    from flm.ports.integrity import Stored
    from flm.ports.processes import Lock
    from flm.ports.repositories import Store
    from flm.services.check import CheckService
    from flm.services.check_secrets import Sealed
    from flm.services.connect.service import ConnectService
    from flm.services.engine_health import EngineHealth
    from flm.services.engines import EngineService
    from flm.services.installing import Installer
    from flm.services.keys import KeyService
    from flm.services.logs import LogService
    from flm.services.model_keeping import ModelKeeping
    from flm.services.models import ModelService
    from flm.services.operations import OperationService
    from flm.services.profiles import ProfileService
    from flm.services.prompts import PromptService
    from flm.services.publications import PublicationService
    from flm.services.settings import SettingsService
    from flm.services.usage import UsageService
    from flm.store import FileSecrets
    from flm.wire.snapshot import EngineDialect

__all__ = [
    "FIRST_KEY_LABEL",
    "FirstKey",
    "Found",
    "RunOptions",
    "Services",
    "build_controller",
    "open_services",
    "run_foreground",
]


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
    def names(self) -> Resolving:
        """Where the names of engines lead."""
        from flm.control.resolving import Resolving

        return Resolving(self.clock)

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

        def owned() -> set[EngineId]:
            status = self.proxies.status()
            engines = status.engines if status is not None else ()
            return {engine.id for engine in engines if engine.owned}

        return EngineService(
            self.store.engines,
            self.secrets,
            self.proxies,
            self.store.settings,
            self._visited,
            owned,
        )

    def _visited(self, address: Address) -> str | None:
        from flm.engines.fingerprint import instance_at
        from flm.engines.prober import HttpProber

        return asyncio.run(instance_at(HttpProber(self.clock, self.names), address))

    @cached_property
    def downloads(self) -> Downloader:
        """Files from the web, through the proxies of the user's environment."""
        from flm.engines.download import Downloader
        from flm.engines.web import Web

        return Downloader(Web(self.environ), self.processes.lock, self.clock)

    @cached_property
    def installing(self) -> Installer:
        """The Ollama that FLM installs."""
        from flm.engines.archives import unpack
        from flm.engines.ollama.install import OllamaReleases
        from flm.engines.residents import running_from
        from flm.services.engine_path import EnginePath
        from flm.services.installing import Installer

        def releases() -> OllamaReleases:
            settings = self.settings.settings()
            return OllamaReleases(
                self.downloads,
                url=settings.engines_ollama_install_url,
                sha256=settings.engines_ollama_install_sha256,
                system=sys.platform,
                machine=platform.machine(),
                amd=Path("/dev/kfd").exists(),
            )

        def owned() -> bool:
            status = self.proxies.status()
            engines = status.engines if status is not None else ()
            return any(engine.owned and engine.kind == "ollama" for engine in engines)

        return Installer(
            EngineId("ollama"),
            self.paths.programs / "ollama",
            releases=releases,
            downloads=self.downloads,
            unpack=unpack,
            setting=EnginePath(self.settings, EngineId("ollama")),
            lock=self.processes.lock,
            owned=owned,
            running_from=running_from,
            clock=self.clock,
        )

    @cached_property
    def models(self) -> ModelService:
        """GGUF files for the embedded engine."""
        from flm.services.models import ModelService

        return ModelService(self.store.files, self.launcher, self.clock, self.proxies)

    @cached_property
    def operations(self) -> OperationService:
        """What the controller does that takes long."""
        from flm.services.operations import OperationService

        return OperationService(self.proxies)

    @cached_property
    def model_keeping(self) -> ModelKeeping:
        """Models over all engines."""
        from flm.engines.registry import adapters
        from flm.services.gguf_keeping import GgufKeeping
        from flm.services.gguf_sources import HUB
        from flm.services.model_keeping import ModelKeeping
        from flm.services.model_loading import RunningModels

        controller = RunningModels(self.proxies, self.operations)

        def key_of(engine: EngineId) -> str | None:
            if controller.serves():
                return controller.key(engine)
            stored: list[EngineDefinition | KnownEngine] = [*self.engines.known()]
            stored += self.engines.definitions()
            known = next((each for each in stored if each.id == engine), None)
            return None if known is None else self.engines.key_of(known)

        hub = self.environ.get("HF_ENDPOINT") or HUB
        files = GgufKeeping(self.models, self.downloads, self.paths.models, hub)
        return ModelKeeping(
            self.detection, adapters(), key_of, self.settings.settings, files, controller
        )

    @cached_property
    def publications(self) -> PublicationService:
        """APIs: models under names of the owner's."""
        from flm.services.publications import PublicationService

        return PublicationService(self.store, self.detection.known, self.clock, self.proxies)

    @cached_property
    def prompts(self) -> PromptService:
        """Prompt templates."""
        from flm.services.prompts import PromptService

        store = self.store
        return PromptService(store.prompts, store.publications, self.clock, self.proxies)

    @cached_property
    def profiles(self) -> ProfileService:
        """Model profiles."""
        from flm.services.profiles import ProfileService

        return ProfileService(self.store.profiles, self.store.publications, self.proxies)

    @cached_property
    def logs(self) -> LogService:
        """Request records."""
        from flm.services.logs import LogService

        return LogService(self.store.records, self.clock)

    @cached_property
    def usage(self) -> UsageService:
        """What was used."""
        from flm.services.usage import UsageService

        return UsageService(self.store.usage, self.store.keys, self.clock)

    @cached_property
    def engine_health(self) -> EngineHealth:
        """How the engines were."""
        from flm.services.engine_health import EngineHealth

        def names() -> set[str]:
            return {engine.id for engine in self.detection.known().engines}

        return EngineHealth(self.store.health, self.clock, names)

    @cached_property
    def connect(self) -> ConnectService:
        """Clients and their settings."""
        from flm.ports.processes.machine import LocalMachine
        from flm.ports.processes.user_files import LocalUserFiles
        from flm.services.connect.keeping import Keeping
        from flm.services.connect.service import ConnectService

        def lock() -> Lock | None:
            prepare(self.paths)
            return self.processes.lock(self.paths.connect.with_suffix(".lock"))

        return ConnectService(
            self.proxies,
            lambda: self.keys,
            LocalUserFiles(),
            Keeping(self.paths.connect, lambda: self.secrets),
            LocalMachine(self.environ),
            self.clock,
            lock,
        )

    @cached_property
    def check(self) -> CheckService:
        """Whether everything is as it should be."""
        from flm.services.check import CheckService
        from flm.services.check_journal import JournalCheck
        from flm.store.integrity import Inspector

        return CheckService(
            self.paths,
            __version__,
            self.proxies,
            lambda live: Inspector(self.paths, live=live),
            self._glance,
            lambda sealed: self._opened(sealed) is not None,
            JournalCheck(self.paths.journal, self.processes.is_locked),
        )

    def _opened(self, sealed: Sealed) -> str | None:
        """An engine's key, None where it cannot be opened. No master key is made for that."""
        from flm.services.engines import purpose_of
        from flm.store import FileSecrets

        if not self.paths.master_key.exists():
            return None
        try:
            secret = FileSecrets(self.paths).open(sealed.text, purpose_of(sealed.engine))
        except StoreError:
            return None
        return secret.decode()

    def _glance(self, stored: Stored) -> Sequence[Engine]:
        """Look at the engines without the store; nothing is remembered of it."""
        from flm.services.check_secrets import sealed_in
        from flm.services.detection import Added, Wanted
        from flm.settings import resolve

        opened = {each.engine: self._opened(each) for each in sealed_in(stored)}
        keys: dict[str, str] = {id_: key for id_, key in opened.items() if key is not None}
        pepper = self.paths.pepper
        wanted_now = Wanted(
            added=[Added(each, keys.get(each.id)) for each in stored.added],
            known=stored.known,
            keys=keys,
            instance=instance_of(pepper.read_bytes()) if pepper.exists() else "",
        )
        seen = asyncio.run(make_detector(self, resolve()).look(wanted_now))
        return [sighting.engine for sighting in seen]

    @cached_property
    def detection(self) -> DetectionService:
        """Which engines are here."""
        return DetectionService(self)


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

    services = open_services(options.data_dir, options.environ, options.overrides)
    prepare(services.paths)
    opening = Opening(services, options)
    random = secrets.SystemRandom()
    engines = _engine_means(services)
    dialects = engines.adapters.items()
    world = World(
        paths=services.paths,
        processes=services.processes,
        clock=services.clock,
        open_store=opening.open,
        launcher=services.launcher,
        engines=engines,
        names=services.names,
        dialects={kind: cast("EngineDialect", each.dialect) for kind, each in dialects},
        choice=secrets.choice,
        spread=lambda seconds: seconds * random.uniform(0.9, 1.1),
        gateway=(sys.executable, "-P", "-m", "flm.gateway"),
        version=__version__,
        foreground=options.foreground,
        demo=options.demo,
    )
    return Controller(world), opening


def _engine_means(services: Services) -> EngineMeans:
    """What a controller starts engines with, and asks them."""
    from flm.control.engine_process import EngineMeans
    from flm.engines.guarded import GuardLauncher
    from flm.engines.prober import HttpProber
    from flm.engines.registry import adapters
    from flm.ports.processes.machine import LocalMachine

    return EngineMeans(
        adapters={each.kind: each for each in adapters()},
        machine=LocalMachine(services.environ),
        prober=HttpProber(services.clock, services.names),
        launcher=GuardLauncher(
            services.processes,
            services.paths.engine_logs,
            services.environ,
            lambda: secrets.token_hex(16),
        ),
    )
