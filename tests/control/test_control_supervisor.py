"""The supervisor, with a real process behind a real channel and real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from control_support import Heard, ask, launch, listening, snapshot, until

from flm.control import gateway_process
from flm.control.supervisor import Supervisor, backoff
from flm.errors import StartError
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.wire.channel import Wake, Woken

Make = Callable[..., Supervisor]


@pytest.fixture
async def bound() -> AsyncIterator[socket.socket]:
    """A listening socket."""
    listener = listening()
    yield listener
    listener.close()


@pytest.fixture
async def make(tmp_path: Path, bound: socket.socket) -> AsyncIterator[Make]:
    """Makes supervisors of fake gateways, and ends them."""
    made: list[Supervisor] = []

    def supervisor(mode: str = "good", heard: Heard | None = None) -> Supervisor:
        how = launch(tmp_path, bound, mode)
        made.append(Supervisor(how, current(), SystemClock(), heard or Heard()))
        return made[-1]

    yield supervisor
    for each in made:
        await each.kill()


async def test_publishing_returns_when_the_gateway_serves_by_it(
    make: Make, bound: socket.socket
) -> None:
    """The first snapshot, then a change; what is revoked is named in the change."""
    supervisor = make()
    supervisor.launch()
    await supervisor.publish(snapshot("a", "b"))
    port = bound.getsockname()[1]
    assert (await ask(port))["keys"] == ["a", "b"]
    await supervisor.publish(snapshot("b", security=2))
    shown = await ask(port)
    assert (shown["keys"], shown["revoked"]) == (["b"], ["a"])
    assert supervisor.status().ready is True
    assert supervisor.restarts == 0


async def test_a_change_during_the_start_is_in_force_when_publishing_returns(
    make: Make, bound: socket.socket
) -> None:
    """Two snapshots before the gateway has even said hello: the second one counts."""
    supervisor = make()
    supervisor.launch()
    await asyncio.gather(
        supervisor.publish(snapshot("a", "b")), supervisor.publish(snapshot("b", security=2))
    )
    assert (await ask(bound.getsockname()[1]))["keys"] == ["b"]


async def test_a_killed_gateway_is_replaced_and_no_connection_is_refused(
    make: Make, bound: socket.socket
) -> None:
    """Connections that come while there is none wait in the backlog for the next one."""
    heard = Heard()
    supervisor = make(heard=heard)
    supervisor.launch()
    await supervisor.publish(snapshot("a"))
    before = supervisor.status().pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    answers = await asyncio.gather(*(ask(bound.getsockname()[1]) for _ in range(20)))
    assert {answer["pid"] for answer in answers} == {supervisor.status().pid}
    assert answers[0]["keys"] == ["a"]
    assert supervisor.status().pid != before
    assert (supervisor.restarts, heard.ended) == (1, 1)


async def test_a_gateway_that_does_not_acknowledge_is_killed(
    make: Make, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deaf gateway cannot keep an old key alive: its successor begins with the change."""
    monkeypatch.setattr(gateway_process, "ACK_SECONDS", 0.2)
    supervisor = make("deaf")
    supervisor.launch()
    await supervisor.publish(snapshot("a", "b"))
    before = supervisor.status().pid
    assert before is not None
    await supervisor.publish(snapshot("b", security=2))
    assert not psutil.pid_exists(before)
    assert (await ask(bound.getsockname()[1]))["keys"] == ["b"]


async def test_a_gateway_that_sends_what_is_no_message_is_replaced(
    make: Make, bound: socket.socket
) -> None:
    """Bytes that cannot be understood end the channel, and with it the process."""
    supervisor = make()
    supervisor.launch()
    await supervisor.publish(snapshot("a"))
    before = (await ask(bound.getsockname()[1], "garbage"))["pid"]
    await until(lambda: supervisor.status().pid not in (before, None))
    assert (await ask(bound.getsockname()[1]))["keys"] == ["a"]


async def test_a_gateway_that_never_comes_up_fails_the_start_with_its_last_words(
    make: Make,
) -> None:
    """Three attempts, then the error says what the gateway printed."""
    supervisor = make("refusing")
    supervisor.launch()
    with pytest.raises(StartError, match="no gateway today"):
        await supervisor.publish(snapshot("a"))
    assert isinstance(await supervisor.failure(), StartError)


async def test_a_gateway_of_another_version_fails_the_start(make: Make) -> None:
    """An upgrade on disk never runs half old and half new."""
    supervisor = make("older")
    supervisor.launch()
    with pytest.raises(StartError, match=r"version 0\.0\.0"):
        await supervisor.publish(snapshot("a"))


async def woken_at(port: int) -> object:
    """What the gateway was told of its wakes, as soon as it was: it is asked by another way."""
    async with asyncio.timeout(10):
        while not (told := (await ask(port))["woken"]):
            await asyncio.sleep(0.01)
    return told


async def test_what_a_gateway_reports_is_passed_on(make: Make, bound: socket.socket) -> None:
    """Wakes and figures come out, answers to wakes go in, figures outlive their process."""
    heard = Heard()
    supervisor = make(heard=heard)
    supervisor.launch()
    await supervisor.publish(snapshot("a"))
    port = bound.getsockname()[1]
    await ask(port, "wake embedded/m")
    await until(lambda: heard.wakes)
    assert heard.wakes == [Wake("embedded/m", 30.0)]
    supervisor.woken(Woken("embedded/m", "no", "model_load_failed"))
    assert await woken_at(port) == [["embedded/m", "model_load_failed"]]
    await ask(port, "busy ")
    await until(lambda: heard.stats)
    status = supervisor.status()
    assert (status.connections, status.in_flight) == (3, 2)
    assert (status.served, status.unrecorded) == (7, 1)
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    await until(lambda: heard.ended)
    await supervisor.publish(snapshot("a"))
    status = supervisor.status()
    assert (status.connections, status.served, status.unrecorded) == (0, 7, 1)


async def test_stopping_drains_and_ends_what_does_not_drain(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good gateway leaves by itself, a stubborn one is killed when its time is over."""
    monkeypatch.setattr("flm.control.supervisor.LEAVE_SECONDS", 0.2)
    for mode in ("good", "stubborn"):
        supervisor = make(mode)
        supervisor.launch()
        await supervisor.publish(snapshot("a"))
        pid = supervisor.status().pid
        assert pid is not None
        await supervisor.stop(0.1)
        assert not psutil.pid_exists(pid)
        assert supervisor.status().pid is None


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.0), (2, 0.1), (3, 0.2), (4, 0.4), (7, 3.2), (8, 5.0), (99, 5.0)]
)
def test_the_first_restart_is_at_once_and_later_ones_wait(failures: int, seconds: float) -> None:
    """0, then 0.1 doubled up to 5 s."""
    assert backoff(failures) == seconds
