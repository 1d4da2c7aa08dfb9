"""What stands between client and engine: nginx, SGLang's router, FLM, any script beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import nginx, upstream
from bench.events import MODEL
from bench.load import ask
from bench.processes import Failed, Processes, free_port, wait_until

SGLANG = Path(".bench/sglang-router/bin/python")
FLM = Path(sys.executable).with_name("flm")

ENGINE = "bench"
"""What FLM's engine is called there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """Something that serves `/v1/chat/completions` on a port; `pids` by what they are."""

    name: str
    port: int
    pids: dict[str, int]
    model: str = MODEL
    key: str = ""

    @property
    def all_pids(self) -> list[int]:
        """Every process whose time and memory are this candidate's."""
        return list(self.pids.values())

    def asked_for(self, model: str) -> Candidate:
        """The same, asked for the model by another name."""
        return replace(self, model=model)

    def answers(self) -> bool:
        """Whether a chat gets its answer through it now."""
        body = upstream.request_body(self.model)
        return ask(self.port, body, self.key) == 200


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """A script run as `FILE PORT ENGINE_PORT`, and what it wants to be asked with."""

    file: Path
    model: str
    key: str


def plain_nginx(processes: Processes, core: int | None, engine: int, *, streams: bool) -> Candidate:
    """nginx as a plain reverse proxy, keep-alive towards the engine: the measure of all."""
    port = free_port()
    folder = processes.folder / f"nginx-{port}"
    command = nginx.reverse_proxy(folder, port, engine, streams=streams)
    pids = processes.start_nginx(command, core)
    return _answering(Candidate(name="nginx", port=port, pids=pids))


def sglang_router(processes: Processes, core: int | None, engine: int) -> Candidate:
    """SGLang's router in its cheapest policy, with one worker."""
    if not SGLANG.exists():
        raise Failed("SGLang's router is not installed: `make bench` installs it into .bench")
    port = free_port()
    process = processes.start(
        [
            *(str(SGLANG), "-m", "sglang_router.launch_router"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--worker-urls", f"http://127.0.0.1:{engine}", "--policy", "round_robin"),
            *("--prometheus-port", str(free_port()), "--log-level", "error"),
        ],
        core,
    )
    wait_until("SGLang's router", lambda: ask(port, b"", "", "/health") == 200, 60)
    pids = {"router": process.pid}
    return _answering(Candidate(name="sglang-router", port=port, pids=pids))


def script(processes: Processes, core: int | None, engine: int, given: Yardstick) -> Candidate:
    """Any other program beside them, to see how far FLM is from it."""
    port = free_port()
    command = [sys.executable, str(given.file), str(port), str(engine)]
    process = processes.start(command, core)
    pids = {"script": process.pid}
    name = given.file.stem
    return _answering(Candidate(name=name, port=port, pids=pids, model=given.model, key=given.key))


class Flm:
    """FLM in a data directory of its own, set up and started as its user would, with one key."""

    def __init__(self, processes: Processes, name: str = "flm") -> None:
        self._processes = processes
        self.data = processes.folder / f"{name}-data"
        self._environment = {"FLM_DATA_DIR": str(self.data), "FLM_LANG": "en"}
        self.key = ""

    def add_engine(self, port: int, kind: str = "custom") -> None:
        """`flm engines add` and `flm api-keys create`."""
        url = f"http://127.0.0.1:{port}"
        self.run("engines", "add", ENGINE, "--url", url, "--kind", kind)
        self.key = self.run("api-keys", "create", "--label", "bench")["api_key"]

    def start(self, core: int | None) -> Candidate:
        """`flm proxy start`, with both its processes on `core`; returns when it answers."""
        self._processes.later(self.stop)
        started = self.run("proxy", "start", "--port", "0", core=core)
        pids = {"gateway": started["gateway"]["pid"], "controller": started["pid"]}
        for pid in pids.values():
            self._processes.keep("pid", str(pid))
            if core is not None and os.sched_getaffinity(pid) != {core}:
                raise Failed(f"FLM's process {pid} is not on core {core}")
        port = int(started["handles"][0]["port"])
        candidate = Candidate(name="flm", port=port, pids=pids, key=self.key)
        return _answering(candidate) if self.key else candidate

    def stop(self) -> None:
        """`flm proxy stop`; nothing to stop is fine."""
        self.run("proxy", "stop", check=False)

    def run(self, *arguments: str, core: int | None = None, check: bool = True) -> Any:
        """One `flm` command: the `data` of the document it prints."""
        pin = ["taskset", "--cpu-list", str(core)] if core is not None else []
        command = [*pin, str(FLM), *arguments, "--format", "json"]
        ran = subprocess.run(
            command,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if ran.returncode and check:
            raise Failed(f"flm {' '.join(arguments)}: {ran.stderr.strip() or ran.returncode}")
        return json.loads(ran.stdout)["data"] if ran.returncode == 0 else None


def _answering(candidate: Candidate) -> Candidate:
    wait_until(candidate.name, candidate.answers)
    return candidate
