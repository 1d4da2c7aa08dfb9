"""Starts and stops the children of the embedded engine, one for each loaded model."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from flm.domain.engines import Address, engine_address
from flm.domain.models import GgufFile, Model
from flm.engines.answers import answered
from flm.engines.embedded.child import Orders
from flm.engines.embedded.device import device_sentence
from flm.engines.embedded.models import effective_context, inspect
from flm.engines.llamacpp.models import Props
from flm.errors import N_, EngineError
from flm.ports.engines import ModelServer, Prober
from flm.ports.processes import Child, Processes

MISSING = N_("The embedded engine is not installed: pip install 'flm-gateway[embedded]'")

_LOOK_SECONDS = 0.01
_WORDS_BYTES = 16_384
_WORDS_LINES = 4
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_STAMP = re.compile(r"^([\d.]+ )?[A-Z] ")


class EmbeddedServer:
    """A running child; implements `flm.ports.engines.ModelServer`."""

    def __init__(self, child: Child, address: Address, key: str, context_length: int) -> None:
        self._child = child
        self.address = address
        self.key = key
        self.context_length = context_length

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    async def exited(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._child.wait()

    async def stop(self) -> None:
        """End it and wait; nothing happens when it is gone already."""
        self._child.kill()
        await self._child.wait()


class EmbeddedLauncher:
    """Implements `flm.ports.engines.ModelLauncher`.

    ``logs`` is a directory only this user can write to: the children's logs and reports lie
    there. ``token`` makes a random text (`secrets.token_hex`).
    """

    def __init__(
        self,
        processes: Processes,
        prober: Prober,
        logs: Path,
        token: Callable[[], str],
        executable: str = sys.executable,
    ) -> None:
        self._processes = processes
        self._prober = prober
        self._logs = logs
        self._token = token
        self._executable = executable
        self._device: str | None = None

    def missing(self) -> str | None:
        """Why the embedded engine cannot run here, or None."""
        return None if importlib.util.find_spec("xllamacpp") is not None else MISSING

    def device(self) -> str:
        """CPU or GPU, and how to get the other wheel. Asks a child once: up to 5 s, blocking."""
        if self._device is None:
            self._device = MISSING if self.missing() else device_sentence(self._executable)
        return self._device

    def inspect(self, path: str) -> Model:
        """Read a GGUF file's metadata without loading it. Raises `InvalidValue` if it is none."""
        return inspect(path)

    async def launch(
        self, file: GgufFile, *, context_length: int, parallel: int, threads: int, seconds: float
    ) -> ModelServer:
        """Start a child for `file` and wait until it answers.

        Raises `EngineError` (503 `model_load_failed`) with llama.cpp's last words, and
        `InvalidValue` when the file is no model. Nothing is left behind when it is cancelled.
        """
        if (missing := self.missing()) is not None:
            raise EngineError(503, "model_load_failed", missing, kind="upstream_error")
        known = await asyncio.to_thread(inspect, file.path)
        report = _Report(self._logs / f"embedded-{self._token()}.address")
        orders = Orders(
            path=file.path,
            name=file.name,
            key=self._token(),
            report=str(report.path),
            context_length=effective_context(known.trained_context, context_length),
            parallel=parallel,
            threads=threads,
            embeddings="embeddings" in known.capabilities,
        )
        log = _Log(self._logs / f"embedded-{_UNSAFE.sub('_', file.name)[:80]}.log")
        try:
            return await self._start(orders, report, log, seconds)
        finally:
            report.remove()

    async def _start(
        self, orders: Orders, report: _Report, log: _Log, seconds: float
    ) -> EmbeddedServer:
        child = await self._processes.spawn(
            [self._executable, "-P", "-m", "flm.engines.embedded.child", str(os.getpid())],
            stdin=msgspec.json.encode(orders) + b"\n",
            output=log.path,
        )
        server: EmbeddedServer | None = None
        try:
            async with asyncio.timeout(seconds):
                server = await self._ready(child, orders, report)
        except TimeoutError as error:
            raise _failed(orders, f"it was not ready within {seconds:g} s") from error
        finally:
            if server is None:
                child.kill()
        if server is None:
            why = _ending(await child.wait())
            raise _failed(orders, log.words(orders.path) or why, should_retry=False)
        return server

    async def _ready(self, child: Child, orders: Orders, report: _Report) -> EmbeddedServer | None:
        """The child when it answers, None when it ended. The caller sets the deadline."""
        while (address := report.address()) is None:
            if await _ended_within(child, _LOOK_SECONDS):
                return None
        while (await self._prober.get(address, "/health")).status != 200:
            if await _ended_within(child, _LOOK_SECONDS):
                return None
        told = await self._prober.get(address, "/props", key=orders.key, limit=1 << 20)
        props = answered(told, Props)
        slot = props.default_generation_settings.n_ctx if props is not None else None
        return EmbeddedServer(child, address, orders.key, slot or orders.context_length)


class _Report:
    """The file a child writes its address to, whole, once its model is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def address(self) -> Address | None:
        try:
            return engine_address(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_name(f"{self.path.name}.part").unlink(missing_ok=True)


class _Log:
    """A model's log file, and what is written to it from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._start = path.stat().st_size
        except OSError:
            self._start = 0

    def words(self, model: str) -> str:
        """The first different lines since, without times and without the model's folder."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(self._start if size >= self._start else 0)
                text = file.read(_WORDS_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
        text = text.replace(model, Path(model).name)
        lines = (_STAMP.sub("", line).strip() for line in text.splitlines())
        return "; ".join([line for line in dict.fromkeys(lines) if line][:_WORDS_LINES])


async def _ended_within(child: Child, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await child.wait()
    except TimeoutError:
        return False
    return True


def _ending(code: int) -> str:
    """What an exit code means; the kernel kills with 9 what takes too much memory."""
    if code == -9:
        return "it was killed, perhaps for want of memory"
    return f"it ended with code {code}"


def _failed(orders: Orders, why: str, should_retry: bool | None = None) -> EngineError:
    return EngineError(
        503,
        "model_load_failed",
        f"The model {orders.name!r} could not be loaded: {why}",
        kind="upstream_error",
        should_retry=should_retry,
    )
