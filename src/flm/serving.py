"""Serving in this process: a controller, wired and run.

Part of the composition root (`flm.app`), apart because only `flm up` and `flm proxy start` need it.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from flm import __version__
from flm.app import Services, open_services
from flm.opening import FirstKey, Opening
from flm.paths import prepare
from flm.setting_kinds import Value
from flm.wire.control import Status

if TYPE_CHECKING:
    from flm.control.controller import Controller
    from flm.control.engine_process import EngineMeans
    from flm.wire.snapshot import EngineDialect


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
    opening = Opening(services, foreground=options.foreground, demo=options.demo)
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
