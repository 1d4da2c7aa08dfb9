"""A second look at some engines between two whole ones, with real servers that come and go."""

from __future__ import annotations

import threading

from flm.domain.engines import (
    Address,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    NetworkError,
    state_name,
)
from flm.ports.engines import NO_ANSWER
from flm.ports.machine import Listener
from flm.services.detection import Detector, Wanted
from flm.services.detection_settling import believed
from flm.services.engine_states import Thresholds
from support import engines
from support.looks import definition, detector
from support.machines import MadeUp
from support.replay import Answer, ReplayServer

NEVER = threading.Event()
HUNG = {("GET", "*"): Answer(b"", hold=NEVER)}
MINE = {EngineId("mine")}


def wanted(address: Address) -> Wanted:
    """One engine that was added."""
    return Wanted(added=[definition("mine", address, "ollama")])


async def again(detecting: Detector, of: Wanted) -> list[str]:
    """The states that a second look tells."""
    told = await detecting.again(of, MINE)
    return [state_name(each.engine.state) for each in told.seen]


async def test_an_engine_that_died_is_an_error_at_once() -> None:
    """Its connection is refused; its models are still known."""
    detecting = detector()
    with ReplayServer(engines.ollama()) as server:
        of = wanted(server.address)
        await detecting.look(of)
    (told,) = (await detecting.again(of, MINE)).seen
    assert told.engine.state == NetworkError("connection refused", 1)
    assert len(told.models) == 4


async def test_what_is_known_to_be_dead_is_no_news() -> None:
    """And counts no failures: whole looks do."""
    detecting = detector()
    with ReplayServer(engines.ollama()) as server:
        of = wanted(server.address)
    await detecting.look(of)
    assert await detecting.again(of, MINE) == ((), False)
    (found,) = await detecting.look(of)
    assert found.engine.state == NetworkError("connection refused", 2)


async def test_an_engine_that_comes_back_wants_a_whole_look() -> None:
    """Another may have taken its place, which only that tells."""
    detecting = detector()
    with ReplayServer(engines.ollama()) as server:
        of, port = wanted(server.address), server.port
    await detecting.look(of)
    with ReplayServer(engines.llamacpp(), port=port):
        assert await detecting.again(of, MINE) == ((), True)
        await detecting.look(of)
        assert await detecting.again(of, MINE) == ((), False)
    with ReplayServer(engines.ollama(), port=port):
        assert await detecting.again(of, MINE) == ((), True)


async def test_good_checks_count_and_silence_does_not() -> None:
    """Recovery within seconds; a busy engine is not given up within seconds."""
    detecting = detector(seconds=1.0)
    with ReplayServer(engines.ollama()) as server:
        of = wanted(server.address)
        await detecting.look(of)
        server.routes = HUNG
        await detecting.look(of)
        assert await again(detecting, of) == []
        server.routes = engines.ollama()
        assert [await again(detecting, of) for _ in range(3)] == [
            ["running-degraded"],
            ["running-degraded"],
            ["running-healthy"],
        ]


async def test_only_those_are_asked() -> None:
    """The others are left in peace."""
    detecting = detector()
    with ReplayServer(engines.ollama()) as one, ReplayServer(engines.llamacpp()) as two:
        of = Wanted(
            added=[definition("mine", one.address, "ollama"), definition("other", two.address)]
        )
        await detecting.look(of)
        before = len(two.seen)
        await detecting.again(of, MINE)
        assert len(two.seen) == before


async def test_a_restart_forgets_no_count() -> None:
    """Neither of failures nor of good checks: they are in what is cached."""
    with ReplayServer(engines.ollama()) as server:
        of = wanted(server.address)
        before = detector(seconds=1.0)
        await before.look(of)
        server.routes = HUNG
        await before.look(of)
        (silent,) = await before.look(of)
        after = detector(seconds=1.0)
        after.remember(believed([(silent.engine, silent.models)], 0.0))
        (third,) = await after.look(of)
        server.routes = engines.ollama()
        recovering = detector()
        recovering.remember(believed([(silent.engine, silent.models)], 0.0))
        (first,) = await recovering.look(of)
        later = detector()
        later.remember(believed([(first.engine, first.models)], 0.0))
        (second,) = await later.look(of)
    assert silent.engine.state == Degraded(1500.0, "no answer in time, 2 of 3 times")
    assert third.engine.state == NetworkError(NO_ANSWER, 3)
    assert (first.engine.good_checks, second.engine.good_checks) == (1, 2)


async def test_what_was_seen_too_long_ago_is_not_served_in_silence() -> None:
    """Though it served then."""
    with ReplayServer(HUNG) as server:
        engine = Engine(
            id=EngineId("mine"), kind="ollama", state=Healthy(1.0), address=server.address,
            source="added", checked_at=1000.0,
        )  # fmt: skip

        async def judged(oldest: float) -> EngineState:
            detecting = detector(seconds=0.5)
            detecting.remember(believed([(engine, ())], oldest))
            (found,) = await detecting.look(wanted(server.address))
            return found.engine.state

        assert await judged(999.0) == Degraded(1500.0, "no answer in time, 1 of 3 times")
        assert await judged(1001.0) == NetworkError(NO_ANSWER, 1)


async def test_thresholds_follow_the_settings() -> None:
    """Those of the look, not those the detector was made with."""
    with ReplayServer(engines.ollama()) as server:
        of = wanted(server.address)
        strict = Wanted(added=of.added, thresholds=Thresholds(latency_ms=0.0))
        detecting = detector()
        (first,) = await detecting.look(of)
        (second,) = await detecting.look(strict)
    assert state_name(first.engine.state) == "running-healthy"
    assert state_name(second.engine.state) == "running-degraded"


async def test_a_controller_does_not_ask_its_own_listener() -> None:
    """It would answer itself, and record that; another FLM is asked who it is."""
    with ReplayServer(engines.llamacpp()) as server:
        looks = []
        for chain in (((7, "flm"),), ((8, "flm"), (7, "flm")), ((9, "flm"),)):
            here = Listener(host="127.0.0.1", port=server.port, chain=chain)
            before = len(server.seen)
            machine = MadeUp(own_pid=7, listening=(here,))
            await detector({"llamacpp": [server.address]}, machine=machine).look(Wanted())
            looks.append(len(server.seen) > before)
    assert looks == [False, False, True]
