"""Engines known by name: asked at the address that the controller looked up, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.domain.addresses import LEADS_HERE
from flm.domain.engines import Address, ApiError, EngineId
from flm.engines.commands import Commands
from flm.engines.custom.adapter import CustomAdapter
from flm.engines.prober import HttpProber
from flm.errors import UserError
from flm.ports.clock import SystemClock
from flm.ports.engines import Wishes
from flm.ports.names import NameRefused
from support.certificates import Authority
from support.replay import ReplayServer, response
from support.scripted_engine import answering, sized
from support.secure_engine import SecureEngine


class Names:
    """A name service with one word for everybody."""

    def __init__(self, told: str) -> None:
        self._told = told
        self.asked: list[str] = []
        self.distrusted: list[tuple[str, str]] = []

    async def address(self, host: str) -> str:
        self.asked.append(host)
        if self._told.startswith("its"):
            raise NameRefused(self._told)
        return self._told

    def distrust(self, host: str, address: str) -> None:
        self.distrusted.append((host, address))


async def test_a_name_is_asked_at_its_address() -> None:
    """`Host` is the name; an address is asked as it is."""
    names = Names("127.0.0.1")
    prober = HttpProber(SystemClock(), names)
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        probe = await prober.get(Address("box.invalid", server.port), "/x")
        assert (await prober.get(server.address, "/x")).status == 200
    assert probe.status == 200
    assert server.seen[0].headers["host"] == f"box.invalid:{server.port}"
    assert (names.asked, names.distrusted) == (["box.invalid"], [])


async def test_a_name_that_is_refused_is_not_asked() -> None:
    """The reason is the probe's."""
    prober = HttpProber(SystemClock(), Names(LEADS_HERE))
    with ReplayServer({("GET", "/x"): response("{}")}) as server:
        probe = await prober.get(Address("box.invalid", server.port), "/x")
    assert (probe.status, probe.error, server.seen) == (0, LEADS_HERE, [])


async def test_a_connection_that_fails_is_told() -> None:
    """So that the name is looked up again."""
    names = Names("127.0.0.1")
    with ReplayServer() as server:
        at = Address("box.invalid", server.port)
    probe = await HttpProber(SystemClock(), names).get(at, "/x")
    assert probe.error == "connection refused"
    assert names.distrusted == [("box.invalid", "127.0.0.1")]


async def test_a_certificate_is_verified_by_the_name(tmp_path: Path) -> None:
    """Not by the address; and a wrong one may mean that the name has moved."""
    authority = Authority(tmp_path)
    names = Names("127.0.0.1")
    prober = HttpProber(SystemClock(), names)
    with SecureEngine(answering(sized(b"{}")), authority.server("box.invalid")) as engine:

        async def ask(name: str) -> tuple[int, str]:
            at = Address(name, engine.port, tls=True, ca_file=str(authority.ca_file))
            probe = await prober.get(at, "/x")
            return probe.status, probe.error

        assert await ask("box.invalid") == (200, "")
        assert await ask("other.invalid") == (0, "its certificate is not trusted")
        assert engine.names == ["box.invalid", "other.invalid"]
    assert names.distrusted == [("other.invalid", "127.0.0.1")]


async def test_commands_do_not_follow_a_name_back_here() -> None:
    """`localhost.` is a name, and leads to loopback by the system's own rules."""
    with ReplayServer({("POST", "/x"): response("{}")}) as server:
        with pytest.raises(UserError) as caught:
            await Commands().send("POST", Address("localhost.", server.port), "/x")
        assert caught.value.code == "engine_unreachable"
        assert server.seen == []


async def test_an_engine_that_redirects_is_not_followed() -> None:
    """Its state says where to, without what is secret in it."""
    page = response("", "302 Found", headers={"Location": "https://other.example/v1?token=x"})
    with ReplayServer({("GET", "*"): page}) as server:
        seen = await CustomAdapter().describe(
            HttpProber(SystemClock()), EngineId("box"), server.address, None, Wishes()
        )
    assert seen.engine.state == ApiError("redirects to https://other.example/v1")
    assert seen.models == ()
