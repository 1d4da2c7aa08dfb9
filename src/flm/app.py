"""The composition root: the only place that knows everybody.

`open_services` wires what the command line uses; `flm.serving` wires a controller with it.
Everything dear is imported where it is first needed: a command pays only for what it uses.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from flm import __version__
from flm.domain.engines import Address, EngineId
from flm.errors import N_, Conflict
from flm.looking import DetectionService, Found, glance, opened
from flm.opening import FIRST_KEY_LABEL, FirstKey
from flm.paths import DataPaths, data_paths, default_data_dir, prepare
from flm.ports.clock import SystemClock
from flm.ports.processes import Processes, current
from flm.services.proxies import START_SECONDS, ProxyService
from flm.setting_kinds import Value

if TYPE_CHECKING:
    from flm.control.resolving import Resolving
    from flm.domain.engines import EngineDefinition, KnownEngine
    from flm.engines.download import Downloader
    from flm.engines.embedded.process import EmbeddedLauncher
    from flm.ports.processes import Lock
    from flm.ports.repositories import Store
    from flm.services.check import CheckService
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

__all__ = [
    "FIRST_KEY_LABEL",
    "FirstKey",
    "Found",
    "Services",
    "open_services",
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
            lambda stored: glance(self, stored),
            lambda sealed: opened(self, sealed) is not None,
            JournalCheck(self.paths.journal, self.processes.is_locked),
        )

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
