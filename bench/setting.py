"""What all parts of a run share: its options, its cores, its engines, its candidates."""

from __future__ import annotations

import argparse
import sys

from bench import candidates, machine, nginx
from bench.candidates import Candidate, Flm, Yardstick
from bench.load import ask
from bench.processes import Processes, free_port, wait_until
from bench.rounds import Cores
from bench.unpinned import AtRest
from bench.upstream import PERIOD


class Setting:
    """One run, on two cores. ``idle``: an FLM that is left alone while others are measured."""

    def __init__(self, options: argparse.Namespace, processes: Processes) -> None:
        self.options = options
        self.processes = processes
        first, second = machine.cores()[:2]
        self.cores = Cores(candidate=first, rest=second)
        self.idle: AtRest | None = None

    def static_engine(self, core: int | None) -> tuple[int, list[int]]:
        """Start the engine that always answers the same; its port and processes."""
        port = free_port()
        command = nginx.static_engine(self.processes.folder / f"engine-{port}", port)
        pids = self.processes.start_nginx(command, core)
        wait_until("the static engine", lambda: ask(port, b"", "", "/v1/models") == 200)
        return port, list(pids.values())

    def streaming_engine(
        self, core: int | None, *, ollama: bool = False, period: float = PERIOD
    ) -> tuple[int, list[int]]:
        """Start the engine that streams, an event in a `period`; its port and processes."""
        port = free_port()
        command = [sys.executable, "-m", "bench.upstream", str(port), "--period", str(period)]
        process = self.processes.start([*command, *(["--ollama"] if ollama else [])], core)
        path = "/api/version" if ollama else "/v1/models"
        wait_until("the streaming engine", lambda: ask(port, b"", "", path) == 200)
        return port, [process.pid]

    def start(self, engine: int, *, streams: bool) -> list[Candidate]:
        """Start all candidates in front of `engine`, on their core."""
        core, started = self.cores.candidate, []
        for name in self.options.candidates.split(","):
            if name == "nginx":
                started.append(self.nginx(engine, streams=streams))
            elif name == "sglang-router":
                started.append(candidates.sglang_router(self.processes, core, engine))
            elif name == "flm":
                started.append(self.flm(engine))
        if self.options.yardstick:
            given = Yardstick(
                file=self.options.yardstick,
                model=self.options.yardstick_model,
                key=self.options.yardstick_key,
            )
            started.append(candidates.script(self.processes, core, engine, given))
        return started

    def nginx(self, engine: int, *, streams: bool) -> Candidate:
        """Start nginx in front of `engine`, on the candidates' core."""
        return candidates.plain_nginx(self.processes, self.cores.candidate, engine, streams=streams)

    def flm(self, engine: int, kind: str = "custom") -> Candidate:
        """Start FLM in front of `engine`, on the candidates' core."""
        flm = Flm(self.processes, f"flm-{engine}")
        flm.add_engine(engine, kind)
        return flm.start(self.cores.candidate)
