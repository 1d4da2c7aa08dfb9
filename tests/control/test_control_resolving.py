"""What engines' names mean: looked up in time, followed, and never back to this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from control_support import until

from flm.control.resolving import Resolving, system_lookup
from flm.domain.addresses import LEADS_HERE, LEADS_NOWHERE, LEADS_TO_METADATA, UNKNOWN_NAME
from flm.ports.names import NameRefused


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Service:
    """A name service: what it answers is the test's; it counts what it is asked."""

    def __init__(self) -> None:
        self.told: dict[str, Sequence[str] | Exception] = {}
        self.asked: list[str] = []
        self.hangs = threading.Event()
        self.hangs.set()

    def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        self.hangs.wait(10)
        told = self.told.get(name, socket.gaierror(socket.EAI_NONAME, "unknown"))
        if isinstance(told, Exception):
            raise told
        return told


@pytest.fixture
def clock() -> Clock:
    """The test's own time."""
    return Clock()


@pytest.fixture
def service() -> Service:
    """The test's own name service."""
    return Service()


@pytest.fixture
async def names(clock: Clock, service: Service) -> AsyncIterator[Resolving]:
    """Resolving by them."""
    made = Resolving(clock, service)
    yield made
    service.hangs.set()
    await made.close()


async def refused(names: Resolving, host: str) -> str:
    """Why the name means nothing."""
    with pytest.raises(NameRefused) as caught:
        await names.address(host)
    return caught.value.reason


async def test_a_name_is_looked_up_once_in_30_seconds(
    names: Resolving, service: Service, clock: Clock
) -> None:
    """However many ask; then again."""
    service.told["box"] = ["10.0.0.7"]
    assert set(await asyncio.gather(*(names.address("box") for _ in range(20)))) == {"10.0.0.7"}
    clock.time += 29
    assert await names.address("box") == "10.0.0.7"
    assert service.asked == ["box"]
    clock.time += 2
    service.told["box"] = ["10.0.0.8"]
    assert await names.address("box") == "10.0.0.8"
    assert names.located() == {"box": "10.0.0.8"}


async def test_an_address_needs_no_lookup(names: Resolving, service: Service) -> None:
    """Loopback too: the user gave it as such."""
    assert await names.address("127.0.0.1") == "127.0.0.1"
    assert await names.address("fd00::1") == "fd00::1"
    assert service.asked == []


async def test_a_failed_connection_has_the_name_looked_up_at_once(
    names: Resolving, service: Service
) -> None:
    """It may have moved."""
    service.told["box"] = ["10.0.0.7"]
    assert await names.address("box") == "10.0.0.7"
    service.told["box"] = ["10.0.0.8"]
    names.distrust("box", "10.0.0.7")
    assert await names.address("box") == "10.0.0.8"


async def test_of_several_addresses_the_one_that_works_is_kept(
    names: Resolving, service: Service, clock: Clock
) -> None:
    """In whatever order they come; a failure gives the next one its turn, once."""
    service.told["box"] = ["fd00::7", "10.0.0.7"]
    assert await names.address("box") == "fd00::7"
    for _ in range(5):
        names.distrust("box", "fd00::7")
    assert await names.address("box") == "10.0.0.7"
    names.distrust("box", "fd00::7")  # an old failure says nothing of the new address
    service.told["box"] = ["fd00::7", "10.0.0.7"]
    clock.time += 31
    assert await names.address("box") == "10.0.0.7"
    names.distrust("box", "10.0.0.7")
    assert await names.address("box") == "fd00::7"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (["127.0.0.1"], LEADS_HERE),
        (["10.0.0.7", "127.0.0.1"], LEADS_HERE),
        (["::ffff:127.0.0.1"], LEADS_HERE),
        (["169.254.169.254"], LEADS_TO_METADATA),
        (["fd00:ec2::254"], LEADS_TO_METADATA),
        (["fe80::1%eth0"], LEADS_NOWHERE),
        ([], LEADS_NOWHERE),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), UNKNOWN_NAME),
        (UnicodeError("label too long"), UNKNOWN_NAME),
    ],
)
async def test_a_name_that_leads_where_no_engine_may_be_is_refused(
    names: Resolving, service: Service, told: Sequence[str] | Exception, reason: str
) -> None:
    """With the reason."""
    service.told["box"] = told
    assert await refused(names, "box") == reason
    assert names.located() == {}


async def test_a_name_that_comes_to_lead_here_is_refused(
    names: Resolving, service: Service, clock: Clock
) -> None:
    """DNS rebinding: it was another machine's before."""
    service.told["box"] = ["10.0.0.7"]
    assert await names.address("box") == "10.0.0.7"
    service.told["box"] = ["127.0.0.1"]
    clock.time += 31
    assert await refused(names, "box") == LEADS_HERE
    assert names.located() == {}


async def test_an_unknown_name_is_asked_for_again_soon(
    names: Resolving, service: Service, clock: Clock
) -> None:
    """After 2 s, not after 30."""
    assert await refused(names, "box") == UNKNOWN_NAME
    service.told["box"] = ["10.0.0.7"]
    assert await refused(names, "box") == UNKNOWN_NAME
    clock.time += 2
    assert await names.address("box") == "10.0.0.7"


async def test_a_name_service_that_is_down_takes_no_engine_along(
    names: Resolving, service: Service, clock: Clock
) -> None:
    """The last address counts for five minutes more; one that says "unknown" is believed."""
    service.told["box"] = ["10.0.0.7"]
    assert await names.address("box") == "10.0.0.7"
    service.told["box"] = socket.gaierror(socket.EAI_AGAIN, "try again")
    for _ in range(9):
        clock.time += 31
        assert await names.address("box") == "10.0.0.7"
    clock.time += 31
    assert await refused(names, "box") == UNKNOWN_NAME
    assert len(service.asked) == 11


async def test_a_name_service_that_hangs_keeps_nobody_waiting(
    names: Resolving, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has an address goes on with it; what comes in the end counts."""
    monkeypatch.setattr("flm.control.resolving.PATIENCE_SECONDS", 0.01)
    service.told["box"] = ["10.0.0.7"]
    assert await names.address("box") == "10.0.0.7"
    service.told["box"] = ["10.0.0.8"]
    service.hangs.clear()
    clock.time += 31
    assert await names.address("box") == "10.0.0.7"
    assert await names.address("box") == "10.0.0.7"
    service.hangs.set()
    await until(lambda: names.located() == {"box": "10.0.0.8"})
    assert service.asked == ["box", "box"]


async def test_renewing_tells_what_has_changed_and_forgets_the_rest(
    names: Resolving, service: Service
) -> None:
    """What no engine has as its name any more is not looked up for ever."""
    service.told |= {"box": ["10.0.0.7"], "old": ["10.0.0.6"]}
    assert await names.renew({"box", "old", "127.0.0.1"}) is True
    assert names.located() == {"box": "10.0.0.7", "old": "10.0.0.6"}
    assert await names.renew({"box", "old"}) is False
    service.told["box"] = ["10.0.0.8"]
    assert await names.renew({"box"}) is True
    assert names.located() == {"box": "10.0.0.8"}
    assert sorted(service.asked) == ["box", "box", "box", "old", "old"]


def test_a_lookup_that_hangs_does_not_hold_up_the_end(service: Service) -> None:
    """A command ends when it has ended, and a later one may ask again."""
    service.told["box"] = ["10.0.0.7"]
    service.hangs.clear()
    names = Resolving(Clock(), service)

    async def ask() -> None:
        async with asyncio.timeout(0.01):
            await names.address("box")

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    service.hangs.set()
    assert asyncio.run(names.address("box")) == "10.0.0.7"


def test_the_system_knows_localhost_in_its_families() -> None:
    """Names go the system's own way, its hosts file included."""
    assert set(system_lookup("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        system_lookup("engine.invalid")
