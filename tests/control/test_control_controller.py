"""The controller with a real store, real sockets and a fake gateway in a real process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest
from control_support import ask, fake, no_engines, until

from flm import __version__
from flm.control.controller import Controller
from flm.control.publisher import Read, StoreReader
from flm.control.resolving import Resolving
from flm.control.running import run
from flm.control.world import Opened, World
from flm.domain.engines import Address, Engine, EngineId, Healthy
from flm.domain.keys import ApiKey, KeyId, has_form
from flm.domain.models import GgufFile, Model
from flm.errors import Conflict, FlmError, InvalidValue, NotRunning, StartError, StoreError
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting
from flm.ports.processes import current
from flm.ports.repositories import Store
from flm.services.detection_settling import Again
from flm.settings import resolve
from flm.store import FileSecrets, migrate, open_store
from flm.wire.control import (
    DetectRequest,
    Done,
    OwnerKeyRequest,
    PokeRequest,
    Status,
    StatusRequest,
    StopRequest,
)
from flm.wire.journal import LOCK


def sighting(name: str, *models: str, at: float | None = None) -> Sighting:
    """A running engine with models."""
    engine = Engine(
        id=EngineId(name), kind="custom", state=Healthy(1.0), address=Address("127.0.0.1", 9),
        checked_at=SystemClock().now() if at is None else at,
    )  # fmt: skip
    return Sighting(engine, tuple(Model(name=each, engine=EngineId(name)) for each in models))


class Detection:
    """Finds what the test put there."""

    def __init__(self) -> None:
        self.here: list[Sighting] = []
        self.looks = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def remember(self, cached: object) -> None:
        pass

    async def look(self, read: Read) -> Sequence[Sighting]:
        await self.gate.wait()
        self.looks += 1
        return self.here

    async def again(self, read: Read, engines: Collection[EngineId]) -> Again:
        return Again((), False)


class NoEmbedded:
    """A machine without the embedded engine."""

    def missing(self) -> str | None:
        return "not installed"

    def inspect(self, path: str) -> Model:
        raise AssertionError(path)


class Bench:
    """A data directory with everything a controller needs, and the controller."""

    def __init__(self, folder: Path, mode: str = "good") -> None:
        self.paths: DataPaths = data_paths(folder / "data")
        prepare(self.paths)
        self.detection = Detection()
        self.overrides: dict[str, int] = {"server.port": 0, "server.drain_seconds": 1}
        self.broken: FlmError | None = None
        self.gate: Callable[[], object] = lambda: None
        self.mode = mode
        self.foreground = False
        self.controller = self.again()

    def again(self) -> Controller:
        """Another controller for the same directory."""
        return Controller(
            World(
                paths=self.paths,
                processes=current(),
                clock=SystemClock(),
                open_store=self.open,
                launcher=NoEmbedded(),
                engines=no_engines(),
                names=Resolving(SystemClock()),
                dialects={"custom": "openai"},
                choice=secrets.choice,
                spread=lambda seconds: seconds,
                gateway=fake(self.mode),
                version=__version__,
                foreground=self.foreground,
            )
        )

    def open(self) -> Opened:
        self.gate()
        if self.broken is not None:
            raise self.broken
        migrate(self.paths)
        store = open_store(self.paths)
        reader = StoreReader(
            store, NoEmbedded(), lambda stored: resolve(stored, {}, self.overrides), lambda _: None
        )
        return Opened(store, reader, self.detection, b"p" * 32, FileSecrets(self.paths))

    def store(self) -> Store:
        """The store as a command line would open it."""
        return open_store(self.paths)

    @property
    def port(self) -> int:
        return self.controller.status().handles[0].port

    async def keys(self) -> object:
        """The keys by which the gateway judges."""
        return (await ask(self.port))["keys"]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose controller is stopped in the end."""
    made = Bench(tmp_path)
    yield made
    await made.controller.stop()


def key(name: str) -> ApiKey:
    """A key to store."""
    return ApiKey(id=KeyId(name), label=name, digest=b"d" * 32, last4="", created_at=0.0)


async def test_a_started_controller_serves_and_tells_what_runs(bench: Bench) -> None:
    """Handle, gateway and state; the owner key has a key's form and is in the snapshot."""
    status = await bench.controller.start()
    assert status.state == "started"
    assert status.pid == os.getpid()
    assert status.handles[0].base_url == f"http://127.0.0.1:{bench.port}/v1"
    assert status.gateway.ready is True
    assert await bench.keys() == ["owner"]
    owner = await bench.controller.answer(OwnerKeyRequest())
    assert has_form(owner.key.encode())


async def test_a_poke_returns_when_the_change_is_in_force(bench: Bench) -> None:
    """A key that was added serves, and one that was revoked is refused, when it returns."""
    await bench.controller.start()
    store = bench.store()
    store.keys.add(key("laptop0000"))
    assert await bench.controller.answer(PokeRequest()) == Done()
    assert await bench.keys() == ["laptop0000", "owner"]
    store.keys.revoke(KeyId("laptop0000"), 1.0)
    await bench.controller.answer(PokeRequest())
    shown = await ask(bench.port)
    assert (shown["keys"], shown["revoked"]) == (["owner"], ["laptop0000"])
    store.close()


async def test_a_poke_during_the_start_waits_for_the_gateway(bench: Bench) -> None:
    """What changed while the controller starts is in force when the poke returns."""
    migrate(bench.paths)
    store = bench.store()
    store.keys.add(key("laptop0000"))
    bench.gate = lambda: store.keys.revoke(KeyId("laptop0000"), 1.0)
    starting = asyncio.ensure_future(bench.controller.start())
    assert await bench.controller.answer(PokeRequest()) == Done()
    assert await bench.keys() == ["owner"]
    await starting
    store.close()


async def test_a_change_nobody_told_of_is_noticed(bench: Bench) -> None:
    """The revisions are looked at twice a second."""
    await bench.controller.start()
    store = bench.store()
    store.keys.add(key("laptop0000"))
    store.close()
    async with asyncio.timeout(20):
        while await bench.keys() != ["laptop0000", "owner"]:
            await asyncio.sleep(0.05)


async def test_a_change_that_does_not_compile_is_refused_and_the_old_one_stays(
    bench: Bench,
) -> None:
    """The poke says why; what is served does not change, and the next change is taken."""
    await bench.controller.start()
    store = bench.store()
    store.settings.set("streams.idle_seconds", '"soon"')
    with pytest.raises(InvalidValue, match=r"streams\.idle_seconds"):
        await bench.controller.answer(PokeRequest())
    assert await bench.keys() == ["owner"]
    store.settings.set("streams.idle_seconds", None)
    store.keys.add(key("laptop0000"))
    await bench.controller.answer(PokeRequest())
    assert await bench.keys() == ["laptop0000", "owner"]
    store.close()


async def test_what_an_earlier_controller_saw_is_served_at_once(bench: Bench) -> None:
    """A fresh cache makes targets before any look; what is too old does not."""
    migrate(bench.paths)
    store = bench.store()
    fresh, old = sighting("fresh", "m"), sighting("old", "m", at=1.0)
    store.engines.cache([(fresh.engine, fresh.models), (old.engine, old.models)])
    store.close()
    bench.detection.gate.clear()
    status = await bench.controller.start()
    assert [engine.id for engine in status.engines] == ["fresh"]
    assert (await ask(bench.port))["targets"] == {"fresh/m": "127.0.0.1"}


async def test_engines_found_later_come_as_a_change(bench: Bench) -> None:
    """`detect` looks now and tells; what it found is served and remembered."""
    await bench.controller.start()
    bench.detection.here = [sighting("late", "m")]
    status = await bench.controller.answer(DetectRequest())
    assert [engine.id for engine in status.engines] == ["late"]
    assert [model.name for model in status.models] == ["m"]
    assert (await ask(bench.port))["targets"] == {"late/m": "127.0.0.1"}
    store = bench.store()
    assert [engine.id for engine, _ in store.engines.cached()] == ["late"]
    store.close()


async def test_a_start_waits_a_moment_for_engines_and_not_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detection that hangs does not keep the gateway from serving."""
    monkeypatch.setattr("flm.control.controller.DETECTION_SECONDS", 0.05)
    bench.detection.gate.clear()
    assert (await bench.controller.start()).engines == ()
    assert await bench.keys() == ["owner"]
    bench.detection.gate.set()


async def test_a_second_controller_is_refused_while_the_first_lives(bench: Bench) -> None:
    """And the first is not disturbed by it; when it has left, the next one may."""
    await bench.controller.start()
    second = bench.again()
    with pytest.raises(Conflict) as raised:
        await second.start()
    assert raised.value.code == "already_running"
    await second.stop()
    assert await bench.keys() == ["owner"]
    await bench.controller.stop()
    bench.controller = bench.again()
    await bench.controller.start()
    assert await bench.keys() == ["owner"]


async def test_a_taken_port_is_told_with_its_holder(bench: Bench) -> None:
    """Whoever waits for the start hears it too; nothing is left behind."""
    other = socket.create_server(("127.0.0.1", 0))
    bench.overrides["server.port"] = other.getsockname()[1]
    waiting = asyncio.ensure_future(bench.controller.answer(StatusRequest(wait=20.0)))
    with pytest.raises(Conflict) as raised:
        await bench.controller.start()
    assert raised.value.code == "port_taken"
    assert raised.value.values["pid"] == os.getpid()
    with pytest.raises(Conflict):
        await waiting
    await bench.controller.stop()
    other.close()
    assert not (bench.paths.root / "control.sock").exists()


async def test_a_port_that_the_predecessors_gateway_holds_is_waited_for(bench: Bench) -> None:
    """While a gateway of this directory lives, its journal is locked."""
    other = socket.create_server(("127.0.0.1", 0))
    bench.overrides["server.port"] = other.getsockname()[1]
    instance = bench.paths.journal / "old"
    instance.mkdir()
    lock = current().lock(instance / LOCK)
    assert lock is not None
    starting = asyncio.ensure_future(bench.controller.start())
    await asyncio.sleep(0.3)
    other.close()
    lock.release()
    assert (await starting).state == "started"


async def test_a_store_that_cannot_be_opened_fails_the_start(bench: Bench) -> None:
    """The error is the store's own, and the directory is free again."""
    bench.broken = StoreError("damaged")
    with pytest.raises(StoreError, match="damaged"):
        await bench.controller.start()
    await bench.controller.stop()
    assert current().is_locked(bench.paths.controller_lock) is False


async def test_a_gateway_that_does_not_come_up_fails_the_start(tmp_path: Path) -> None:
    """With its last words, and nothing is left."""
    bench = Bench(tmp_path, "refusing")
    with pytest.raises(StartError, match="no gateway today"):
        await bench.controller.start()
    await bench.controller.stop()
    assert current().is_locked(bench.paths.controller_lock) is False


async def test_stopping_is_answered_and_leaves_nothing(bench: Bench) -> None:
    """The gateway is gone, the port refuses, the socket and the lock are free."""
    status = await bench.controller.start()
    stopping = asyncio.ensure_future(bench.controller.until_stopped())
    answer = await bench.controller.answer(StopRequest())
    assert isinstance(answer, Status)
    await stopping
    await bench.controller.stop()
    assert status.gateway.pid is not None
    assert not psutil.pid_exists(status.gateway.pid)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", status.handles[0].port)
    assert not (bench.paths.root / "control.sock").exists()
    assert current().is_locked(bench.paths.controller_lock) is False
    with pytest.raises(NotRunning):
        await bench.controller.answer(DetectRequest())


async def test_a_foreground_run_ends_with_a_signal(bench: Bench) -> None:
    """SIGTERM drains; `on_started` was told what serves."""
    started: list[Status] = []
    running = asyncio.ensure_future(run(bench.controller, started.append))
    await until(lambda: started)
    assert await bench.keys() == ["owner"]
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert not psutil.pid_exists(started[0].gateway.pid)


async def test_a_signal_during_the_start_ends_it(bench: Bench) -> None:
    """Nothing is started any more, and what was is gone."""
    started: list[Status] = []
    bench.gate = lambda: os.kill(os.getpid(), signal.SIGTERM)
    await run(bench.controller, started.append)
    assert started == []
    assert current().is_locked(bench.paths.controller_lock) is False


async def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """A gateway that would drain for long is ended by it."""
    bench = Bench(tmp_path, "stubborn")
    bench.overrides["server.drain_seconds"] = 600
    started: list[Status] = []
    running = asyncio.ensure_future(run(bench.controller, started.append))
    await until(lambda: started)
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: bench.controller.status().state == "stopping")
    assert not running.done()
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(20):
        await running


async def test_a_gateway_that_cannot_be_kept_ends_the_controller(
    bench: Bench, tmp_path: Path
) -> None:
    """After an upgrade on disk the next gateway is of another version: leave, and say so."""
    started: list[Status] = []
    running = asyncio.ensure_future(run(bench.controller, started.append))
    await until(lambda: started)
    core = bench.controller._core
    assert core is not None
    core.supervisor._launch = core.supervisor._launch._replace(command=fake("older"))
    os.kill(started[0].gateway.pid or 0, signal.SIGKILL)
    with pytest.raises(StartError, match=r"0\.0\.0"):
        await running


async def test_a_file_that_cannot_be_read_hides_no_other(bench: Bench) -> None:
    """The reader offers the files it can read, each under its own name."""

    class Launcher(NoEmbedded):
        def missing(self) -> str | None:
            return None

        def inspect(self, path: str) -> Model:
            if path == "/bad":
                raise InvalidValue("no GGUF")
            return Model(name="from-header", engine=EngineId("embedded"), trained_context=4096)

    migrate(bench.paths)
    store = bench.store()
    for name, path, demo in (("bad", "/bad", False), ("good", "/good", False), ("d", "/d", True)):
        store.files.add(GgufFile(name=name, path=path, added_at=7.0, demo=demo))
    store.settings.set("engines.embedded.num_ctx", "8192")
    read = StoreReader(store, Launcher(), resolve, lambda _: None).read()
    assert [msgspec.structs.asdict(model)["name"] for model in read.embedded] == ["good"]
    assert (read.embedded[0].context_length, read.embedded[0].created) == (4096, 7)
    shown = StoreReader(store, Launcher(), resolve, lambda _: None, True)
    assert sorted(model.name for model in shown.read().embedded) == ["d", "good"]
    store.close()
