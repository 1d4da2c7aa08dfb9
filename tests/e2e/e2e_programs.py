"""A data directory beside engines that are programs: FLM may start them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e_house import CHAT, Reply, call, chat

from flm.domain.engines import Address, EngineId, EngineKind, KnownEngine
from support import engine_program
from support.running_flm import Flm, Served, alive


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shop:
    """A data directory, a key, and programs on PATH under the names that engines have.

    The ids of the engines are known before, each at a port of its own, so that whatever else runs
    on this machine gets other ids and leaves them alone.
    """

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        (folder / "home").mkdir()
        self.flm = Flm(
            folder / "data", {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder / "home")}
        )
        with self.flm.services() as services:
            _, self.key = services.keys.create("test")
        self.ports: dict[str, int] = {}

    def program(self, name: str, *models: str) -> Path:
        """Put a program on PATH."""
        return engine_program.install(self.bin, name, *models)

    def engine(self, name: str, kind: EngineKind, folder: Path | None = None, **of: str) -> None:
        """Make an engine's id known; ``of``: its settings."""
        self.ports[name] = free_port()
        known = KnownEngine(
            id=EngineId(name), kind=kind, address=Address("127.0.0.1", self.ports[name])
        )
        with self.flm.services() as services:
            services.store.engines.note([known])
            if folder is not None:
                services.settings.set(f"engines.{name}.path", str(folder / kind))
            for leaf, text in of.items():
                services.settings.set(f"engines.{name}.{leaf}", text)

    def start(self, *flags: str) -> Served:
        """`flm proxy start`."""
        return self.flm.start(*flags)

    def seen(self, name: str) -> dict[str, Any]:
        """The engine as `flm engines list` has it."""
        listed = self.flm.tell("engines", "list")["engines"]
        return dict(next(each for each in listed if each["id"] == name))

    def state(self, name: str) -> str:
        """Its state's word."""
        return str(self.seen(name)["state"])

    def ask(self, served: Served, model: str) -> Reply:
        """One chat."""
        return call(served.port, CHAT, self.key, chat(model))

    def said(self, served: Served, model: str) -> str:
        """What a model says: its name."""
        answer = self.ask(served, model)
        assert answer.status == 200, answer
        return str(answer.json["choices"][0]["message"]["content"])

    def left(self, folder: Path | None = None) -> list[int]:
        """The processes that live of all those that the programs ever started."""
        return [pid for pid in engine_program.pids(folder or self.bin) if alive(pid)]


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """One whose processes end with the test."""
    made = Shop(folder)
    try:
        yield made
    finally:
        made.flm.close()
