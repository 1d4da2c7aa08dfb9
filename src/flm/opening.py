"""What opens a data directory for its controller: migrations, first use, the demo, detection.

Part of the composition root (`flm.app`), apart because only a controller needs it.
"""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flm.domain.engines import Engine, EngineDefinition
from flm.domain.models import GgufFile, Model
from flm.errors import N_, InternalError, UserError
from flm.settings import Settings, resolve

if TYPE_CHECKING:
    from flm.app import RunOptions, Services
    from flm.control.publisher import Read
    from flm.control.world import Opened
    from flm.ports.engines import Sighting
    from flm.ports.repositories import Store
    from flm.services.detection import Detector

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
        watching = _Watching(make_detector(services, settings), services.environ)
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
        return await look_with(
            self._detector, added, self._environ, read.settings, everything.files
        )


def make_detector(services: Services, settings: Settings) -> Detector:
    """A detector with the thresholds of these settings, which has seen nothing yet."""
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


async def look_with(
    detector: Detector,
    added: Sequence[tuple[EngineDefinition, str | None]],
    environ: Mapping[str, str],
    settings: Settings,
    files: Sequence[GgufFile],
) -> list[Sighting]:
    """One look; ``added``: the engines the user added, each with its own key in clear."""
    from flm.services.detection import Added

    return await detector.look(
        [Added(definition, key) for definition, key in added], environ, settings.contexts, files
    )
