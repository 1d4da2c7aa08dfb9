"""What is found of engines that can be reached around FLM, and of versions with known holes."""

from __future__ import annotations

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineKind,
    Healthy,
    InstalledOnly,
)
from flm.ports.machine import Host, Listener
from flm.services.detection import Wanted
from flm.services.exposure import exposure, holes
from support import engines
from support.looks import definition, detector
from support.machines import MadeUp
from support.replay import ReplayServer


def engine(kind: EngineKind = "ollama", port: int = 11434, host: str = "127.0.0.1") -> Engine:
    """One that runs."""
    return Engine(id=EngineId(kind), kind=kind, state=Healthy(1.0), address=Address(host, port))


def listening(host: str, port: int = 11434, *chain: tuple[int, str]) -> Listener:
    """Who listens."""
    return Listener(host=host, port=port, chain=chain)


def levels(
    of: Engine,
    *listeners: Listener,
    environment: dict[str, str] | None = None,
    inside: bool = False,
) -> list[str]:
    """How bad what is found is."""
    found = exposure(of, listeners, environment or {}, inside=inside)
    return [each.level for each in found]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "fe80::1%eth0"])
def test_an_engine_that_listens_beyond_loopback_can_be_reached_around_flm(host: str) -> None:
    """Whatever address that is; the same program listens on loopback too."""
    loopback = listening("127.0.0.1", 11434, (7, "ollama"))
    beyond = listening(host, 11434, (7, "ollama"))
    only = [beyond] if host in ("0.0.0.0", "::") else [loopback, beyond]
    (found,) = exposure(engine(), only, {}, inside=False)
    assert found.code == "exposed"
    assert found.values == {"engine": "ollama", "host": host, "port": "11434"}
    assert "OLLAMA_HOST" in found.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_an_engine_on_loopback_is_closed(host: str) -> None:
    """In every way of writing it."""
    assert levels(engine(host="127.0.0.1"), listening(host)) == []


def test_another_programs_listener_on_that_port_is_not_the_engines() -> None:
    """Two programs may share a port on two addresses."""
    own = listening("127.0.0.1", 11434, (7, "ollama"))
    other = listening("192.168.1.7", 11434, (8, "nginx"))
    assert levels(engine(), own, other) == []


def test_inside_a_container_and_behind_a_key_it_is_only_a_note() -> None:
    """There it is how the engine is reached, or nobody gets in."""
    assert levels(engine(), listening("0.0.0.0"), inside=True) == ["note"]
    locked = Engine(
        id=EngineId("vllm"),
        kind="vllm",
        state=ApiError("needs_key"),
        address=Address("127.0.0.1", 8000),
    )
    assert levels(locked, listening("0.0.0.0", 8000)) == ["note"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ollama", "OLLAMA_HOST"),
        ("vllm", "--host 127.0.0.1"),
        ("lmstudio", "Serve on Local Network"),
        ("llamacpp", "LLAMA_ARG_HOST"),
        ("text-generation-webui", "--listen"),
        ("custom", "firewall"),
    ],
)
def test_each_kind_is_closed_in_its_own_way(kind: EngineKind, words: str) -> None:
    """The remedy says how."""
    (found,) = exposure(engine(kind, 8000), [listening("0.0.0.0", 8000)], {}, inside=False)
    assert words in found.remedy


def test_a_container_is_closed_where_its_port_is_published() -> None:
    """The engine's own setting would not help."""
    proxy = listening("0.0.0.0", 11434, (9, "docker-proxy"))
    (found,) = exposure(engine(), [proxy], {}, inside=False)
    assert "-p 127.0.0.1:{port}:{port}" in found.remedy


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.0.0.0", ["warning"]),
        ("0.0.0.0:11434", ["warning"]),
        ("http://0.0.0.0", ["warning"]),
        ("[::]:11434", ["warning"]),
        ("192.168.1.7", ["warning"]),
        ("127.0.0.1", []),
        ("[::1]:11434", []),
        ("localhost", []),
        ("", []),
    ],
)
def test_where_nobody_tells_who_listens_ollama_host_does(value: str, expected: list[str]) -> None:
    """On systems that show a user only their own sockets."""
    assert levels(engine(), environment={"OLLAMA_HOST": value}) == expected
    assert levels(engine("vllm", 8000), environment={"OLLAMA_HOST": value}) == []


def test_the_table_of_listeners_goes_before_the_environment() -> None:
    """What is meant for the next start says nothing about this one."""
    open_host = {"OLLAMA_HOST": "0.0.0.0"}
    assert levels(engine(), listening("127.0.0.1"), environment=open_host) == []


def test_an_engine_elsewhere_is_not_ours_to_close() -> None:
    """Another machine's listeners are unknown; this one's own address is known."""
    elsewhere = engine(host="192.168.1.9")
    assert levels(elsewhere, listening("0.0.0.0")) == []
    assert levels(engine(host="192.168.1.7"), listening("192.168.1.7")) == ["warning"]


def version(kind: EngineKind, text: str | None) -> Engine:
    """One of that version."""
    return Engine(id=EngineId(kind), kind=kind, state=Healthy(1.0), version=text)


@pytest.mark.parametrize(
    ("kind", "text", "cves", "fixed"),
    [
        ("ollama", "0.16.3", "CVE-2026-7482, CVE-2026-7020", "0.20.3"),
        ("ollama", "0.17.1-rc1", "CVE-2026-7482, CVE-2026-7020", "0.20.3"),
        ("ollama", "0.17.1", "CVE-2026-7020", "0.20.3"),
        ("vllm", "0.9.2", "CVE-2026-24779, CVE-2026-48746", "0.22.0"),
        ("vllm", "0.17.0+cpu", "CVE-2026-27893, CVE-2026-48746", "0.22.0"),
        ("vllm", "0.22.0rc1", "CVE-2026-48746", "0.22.0"),
    ],
)
def test_a_version_with_known_holes_is_told(
    kind: EngineKind, text: str, cves: str, fixed: str
) -> None:
    """With what mends all of them."""
    (found,) = holes(version(kind, text))
    assert (found.code, found.values["cves"], found.values["fixed"]) == ("known_hole", cves, fixed)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ollama", "0.20.3"),
        ("ollama", "0.33.0-rc2"),
        ("ollama", "0.0.0"),
        ("ollama", None),
        ("ollama", "dev"),
        ("vllm", "0.22.0"),
        ("vllm", "0.32.0"),
        ("vllm", "0.1.dev1+g1a2b3c4"),
        ("llamacpp", "b9870"),
        ("llamacpp", "b1"),
        ("custom", "0.1"),
        ("lmstudio", "0.3.0"),
    ],
)
def test_what_is_fixed_or_cannot_be_judged_is_no_alarm(kind: EngineKind, text: str | None) -> None:
    """Builds without a version, llama.cpp's numbers, other engines."""
    assert holes(version(kind, text)) == ()


def test_a_program_that_does_not_run_has_no_holes_yet() -> None:
    """Its version is not known for sure."""
    stopped = Engine(id=EngineId("ollama"), kind="ollama", state=InstalledOnly(), version="0.1.0")
    assert holes(stopped) == ()


async def test_detection_tells_what_is_found() -> None:
    """Of an engine that was added as of one that was found; from the machine's own table."""
    with ReplayServer(engines.ollama()) as server:
        machine = MadeUp(own_pid=1, listening=(Listener(host="0.0.0.0", port=server.address.port),))
        added = definition("mine", server.address, "ollama")
        (seen,) = await detector(machine=machine).look(Wanted(added=[added]))
        container = MadeUp(
            own_pid=1,
            listening=machine.listening,
            around=(Host(address="127.0.0.9", how="container"),),
        )
        (inside,) = await detector(machine=container).look(Wanted(added=[added]))
    assert [each.code for each in seen.engine.findings] == ["exposed"]
    assert [each.level for each in inside.engine.findings] == ["note"]
