"""How busy the engines say they are: asked in the background, with real HTTP and the adapters."""

from __future__ import annotations

import threading

from control_support import NoLauncher

from flm.control.engine_loads import EngineLoads
from flm.control.engine_process import EngineMeans
from flm.control.traffic import Traffic
from flm.domain.engines import (
    Address,
    Engine,
    EngineId,
    EngineKind,
    EngineLoad,
    EngineState,
    Healthy,
    NetworkError,
)
from flm.engines.prober import HttpProber
from flm.engines.registry import adapters
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting
from flm.wire.channel import Loads, Stats, TargetStats
from support.fakes.llamacpp import LlamaCppFake
from support.machines import MadeUp
from support.replay import Answer, ReplayServer

GOOD = Healthy(1.0)


class Gateway:
    """Has three requests in flight on `llamacpp/a`, one on `ollama/b`."""

    stats = Stats({"llamacpp/a": TargetStats(3, 1.0), "ollama/b": TargetStats(1, 1.0)}, 4, 4, 9, 0)


def sighting(kind: EngineKind, address: Address, state: EngineState = GOOD) -> Sighting:
    """An engine of that kind there."""
    return Sighting(Engine(id=EngineId(kind), kind=kind, state=state, address=address))


def loads(here: list[Sighting], told: list[Loads]) -> EngineLoads:
    """What asks them."""
    means = EngineMeans(
        adapters={each.kind: each for each in adapters()},
        machine=MadeUp(),
        prober=HttpProber(SystemClock()),
        launcher=NoLauncher(),
    )
    return EngineLoads(means, Traffic(Gateway(), SystemClock()), lambda: here, dict, told.append)


async def test_what_an_engine_says_is_told_with_our_own_count() -> None:
    """Slots of llama.cpp; Ollama tells nobody how busy it is."""
    told: list[Loads] = []
    with LlamaCppFake() as fake:
        fake.busy = 1
        here = [sighting("llamacpp", fake.address), sighting("ollama", Address("127.0.0.1", 9))]
        busy = loads(here, told)
        await busy.turn()
    llamacpp, ollama = busy.completed(each.engine for each in here)
    assert llamacpp.load == EngineLoad(running=1, waiting=0, slots=2)
    assert (llamacpp.in_flight, ollama.in_flight) == (3, 1)
    assert ollama.load is None
    assert told == [Loads({"llamacpp": EngineLoad(running=1, waiting=0, slots=2)})]


async def test_an_engine_that_does_not_serve_is_not_asked() -> None:
    """Nor has it figures any more."""
    told: list[Loads] = []
    with LlamaCppFake() as fake:
        here = [sighting("llamacpp", fake.address)]
        busy = loads(here, told)
        await busy.turn()
        here[:] = [sighting("llamacpp", fake.address, NetworkError("connection refused", 1))]
        asked = len(fake.seen)
        await busy.turn()
        assert len(fake.seen) == asked
        await busy.turn()
    assert busy.completed(each.engine for each in here)[0].load is None
    assert told[1:] == [Loads({})]


async def test_an_engine_that_hangs_holds_nobody_up() -> None:
    """It has no figures; the others have theirs."""
    hung = {("GET", "*"): Answer(b"", hold=threading.Event())}
    told: list[Loads] = []
    with LlamaCppFake() as fake, ReplayServer(hung) as stuck:
        busy = loads([sighting("vllm", stuck.address), sighting("llamacpp", fake.address)], told)
        await busy.turn()
    assert [list(each.engines) for each in told] == [["llamacpp"]]
