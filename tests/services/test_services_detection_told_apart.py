"""Ids that stay, children that are left out, keys, products, and what lies around the machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from flm.domain.engines import STARTING, Address, ApiError, Degraded, EngineId, KnownEngine
from flm.ports.engines import Identity, Prober, Sighting, Wishes
from flm.ports.machine import Host, Listener
from flm.services.detection import Added, Detector, Wanted
from flm.services.detection_places import PORTS, around, is_child, to_search
from support import engines
from support.fakes import emulators
from support.fakes.base import as_json
from support.fakes.llamacpp import LlamaCppFake
from support.fakes.ollama import OllamaFake
from support.fakes.vllm import VllmFake
from support.looks import Dead, Ladder, closed, definition, detector, listener, states
from support.machines import MadeUp
from support.replay import ReplayServer


async def look(detecting: Detector, *added: Added, **wanted: object) -> list[Sighting]:
    """One look."""
    return await detecting.look(Wanted(added=added, **wanted))  # type: ignore[arg-type]


def known(name: str, kind: str, address: Address) -> KnownEngine:
    """An engine that was found in an earlier life."""
    return KnownEngine(id=EngineId(name), kind=kind, address=address)  # type: ignore[arg-type]


# Ids.


async def test_several_of_a_kind_have_ids_that_survive_a_restart() -> None:
    """The second one keeps its name though it is the only one now."""
    with VllmFake() as one, VllmFake() as two:
        places = {"vllm": [one.address, two.address]}
        first = detector(places)
        before = await look(first)
        kept = first.named()
        later = detector({"vllm": [two.address]})
        after = await look(later, known=kept)
    name = f"vllm-{two.port}"
    assert [each.engine.id for each in before] == ["vllm", name]
    assert [(each.id, each.address) for each in kept] == [
        ("vllm", one.address),
        (name, two.address),
    ]
    assert [each.engine.id for each in after] == [name]
    assert (first.named(), later.named()) == ([], [])


async def test_a_renamed_engine_is_found_under_its_new_name() -> None:
    """Also by the process that knew it under the old one; its wishes and key go by the new."""
    with OllamaFake() as server:
        detecting = detector({"ollama": [server.address]})
        await look(detecting)
        (found,) = await look(
            detecting,
            known=[known("big", "ollama", server.address)],
            keys={"big": "sesame", "ollama": "wrong"},
            wishes={"big": Wishes(contexts={"": 2048})},
        )
    assert found.engine.id == "big"
    assert {model.engine for model in found.models} == {"big"}
    sent = {seen.headers.get("authorization") for seen in server.seen}
    assert sent == {None, "Bearer sesame"}


async def test_a_key_is_not_sent_to_another_kind_in_its_engines_place() -> None:
    """What took the place of a locked vLLM is named anew and asked without its key."""
    with OllamaFake() as server:
        (found,) = await look(
            detector({"vllm": [server.address]}),
            known=[known("vllm", "vllm", server.address)],
            keys={"vllm": "sesame"},
        )
    assert found.engine.id == "ollama"
    assert not any("authorization" in seen.headers for seen in server.seen)


async def test_another_product_in_a_place_gets_its_own_id() -> None:
    """TabbyAPI and KoboldCpp are both `custom`, and no one engine."""
    with ReplayServer(emulators.koboldcpp()) as server:
        (found,) = await look(
            detector({"vllm": [server.address]}),
            known=[known("tabbyapi", "custom", server.address)],
            keys={"tabbyapi": "sesame"},
        )
    assert (found.engine.id, found.engine.product) == ("koboldcpp", "KoboldCpp")
    assert not any("authorization" in seen.headers for seen in server.seen)


async def test_a_stopped_engine_is_installed_under_the_name_it_had() -> None:
    """The one that was given to it where it usually listens."""
    place = closed()
    (found,) = await look(
        detector({"ollama": [place]}, programs={"ollama": "/usr/bin/ollama"}),
        known=[known("big", "ollama", place)],
    )
    assert (found.engine.id, found.engine.kind) == ("big", "ollama")


async def test_the_program_the_user_named_is_installed() -> None:
    """`engines.<engine>.path`, where it is there."""
    machine = MadeUp(folders=("/opt/tgw",))
    paths = {"text-generation-webui": "/opt/tgw", "vllm": "/opt/missing"}
    found = await look(detector(machine=machine), paths=paths)
    assert [(each.engine.id, each.engine.detail) for each in found] == [
        ("text-generation-webui", "/opt/tgw")
    ]


# Whose business a listener is.


async def test_children_of_other_engines_are_not_listed() -> None:
    """An Ollama's llama-server answers like any other."""
    with LlamaCppFake() as child, LlamaCppFake() as own:
        machine = MadeUp(
            own_pid=1,
            listening=(
                listener(child.address, "llama-server", "ollama", "systemd"),
                listener(own.address, "llama-server", "bash"),
            ),
        )
        found = await look(detector(machine=machine))
    assert [each.engine.address for each in found] == [own.address]


@pytest.mark.parametrize(
    ("product", "chain", "child"),
    [
        ("llama.cpp", ("llama-server", "ollama"), True),
        ("llama.cpp", ("llama-server.exe", "Ollama App.exe"), True),
        ("llama.cpp", ("llama-server", "llama-server"), True),
        ("llama.cpp", ("node", "LM Studio"), True),
        ("llama.cpp", ("llama-server", "lemond"), True),
        ("llama.cpp", ("com.docker.llama-server", "com.docker.backend"), True),
        ("FastFlowLM", ("flm", "lemond"), True),
        ("llama.cpp", ("llama-server", "bash", "terminal"), False),
        ("llama.cpp", (), False),
        ("vLLM", ("docker-proxy", "dockerd"), False),
        ("vLLM", ("com.docker.backend", "com.docker.backend"), False),
        ("Ollama", ("ollama", "Ollama"), False),
        ("LM Studio", ("LM Studio", "lms"), False),
    ],
)
def test_a_child_is_told_by_who_started_it(product: str, chain: Sequence[str], child: bool) -> None:
    """An engine below its own app is the engine; what only passes on is nobody's parent."""
    identity = Identity(kind="custom", product=product)
    there = listener(Address("127.0.0.1", 40_000), *chain)
    assert is_child(identity, there, own_pid=1) is child


def test_what_we_started_is_our_business_and_jan_serve_is_its_users() -> None:
    """By our own pid above it; `jan serve` is a llama-server on the port it promises."""
    llama = Identity(kind="llamacpp", product="llama.cpp")
    ours = listener(Address("127.0.0.1", 40_000), "llama-server", "python")
    assert is_child(llama, ours, own_pid=101)
    assert not is_child(llama, ours, own_pid=100)
    assert is_child(llama, listener(Address("127.0.0.1", 3999), "llama-server", "jan"), 1)
    assert not is_child(llama, listener(Address("127.0.0.1", 6767), "llama-server", "jan"), 1)


async def test_what_lemonade_started_is_lemonades() -> None:
    """Told by Lemonade itself: its service is another user's, whose processes nobody may see."""
    with LlamaCppFake() as child, ReplayServer(emulators.lemonade(child.port)) as server:
        found = await look(detector({"llamacpp": [child.address, server.address]}))
    assert [(each.engine.id, each.engine.product) for each in found] == [("lemonade", "Lemonade")]


async def test_an_engine_on_an_unusual_port_is_found_by_its_program() -> None:
    """FastFlowLM's is called `flm` as ours is: who answers decides, nothing is run."""
    with (
        VllmFake() as one,
        ReplayServer(emulators.fastflowlm()) as two,
        ReplayServer(emulators.flm("0123456789abcdef")) as ours,
        OllamaFake() as unseen,
    ):
        machine = MadeUp(
            own_pid=1,
            listening=(
                listener(one.address, "vllm", "bash"),
                listener(two.address, "flm.exe"),
                listener(ours.address, "flm"),
                listener(unseen.address, "python3"),
            ),
        )
        found = await look(detector(machine=machine))
    assert states(found) == {"vllm": "running-healthy", "fastflowlm": "running-healthy"}


async def test_a_vllm_that_does_not_answer_yet_is_starting() -> None:
    """It has its port long before it serves; another silent program is nobody."""
    with Dead() as vllm, Dead() as other:
        machine = MadeUp(
            own_pid=1, listening=(listener(vllm.address, "vllm"), listener(other.address, "lms"))
        )
        (found,) = await look(detector(machine=machine, seconds=0.4))
    assert (found.engine.id, found.engine.state) == ("vllm", Degraded(0.0, STARTING))


async def test_what_has_started_is_healthy_at_once() -> None:
    """Three good checks are for what was ill."""
    with LlamaCppFake() as server:
        server.starts()
        detecting = detector({"llamacpp": [server.address]})
        (starting,) = await look(detecting)
        server.mend()
        after = states(await look(detecting))
    assert isinstance(starting.engine.state, Degraded)
    assert (starting.engine.state.reason, after) == (STARTING, {"llamacpp": "running-healthy"})


async def test_a_socket_that_is_the_same_is_not_asked_again_who_it_is() -> None:
    """Another one in its place is; and one that nothing is known of is asked every time."""
    ladder = Ladder()
    with OllamaFake() as server:
        places = {"ollama": [server.address]}
        first = MadeUp(own_pid=1, listening=(listener(server.address, "ollama", mark="1"),))
        detecting = detector(places, machine=first, tell=ladder)
        await look(detecting)
        await look(detecting)
        assert len(ladder.asked) == 1
        second = MadeUp(own_pid=1, listening=(listener(server.address, "ollama", mark="2"),))
        detecting._machine = second
        await look(detecting)
        detecting._machine = MadeUp(own_pid=1)
        await look(detecting)
        await look(detecting)
    assert len(ladder.asked) == 4


def test_the_usual_ports_are_searched_on_both_loopback_addresses() -> None:
    """A listener on all addresses is asked over loopback, one on a single address there."""
    every = to_search((), MadeUp(), (), PORTS)
    assert {Address("127.0.0.1", 8001), Address("::1", 11434)} < set(every)
    assert len(every) == 2 * len(PORTS)
    own = (
        listener(Address("192.168.1.2", 9000), "ollama"),
        listener(Address("0.0.0.0", 9001), "lms"),
    )
    assert to_search((), MadeUp(), own, ()) == (
        Address("192.168.1.2", 9000),
        Address("127.0.0.1", 9001),
    )


async def test_one_socket_on_all_addresses_is_asked_once() -> None:
    """On 127.0.0.1; one that turns out to be IPv6 only is asked on [::1]."""
    with OllamaFake() as server:
        both = [server.address, Address("::1", server.port)]
        all_of_them = MadeUp(own_pid=1, listening=(listener(Address("::", server.port), "ollama"),))
        ladder = Ladder()
        found = await look(detector({"ollama": both}, machine=all_of_them, tell=ladder))
    assert (ladder.asked, [each.engine.address for each in found]) == (both[:1], both[:1])
    with ReplayServer(engines.ollama(), host="::1") as server:
        both = [Address("127.0.0.1", server.port), server.address]
        all_of_them = MadeUp(own_pid=1, listening=(listener(Address("::", server.port), "ollama"),))
        found = await look(detector({"ollama": both}, machine=all_of_them))
    assert [each.engine.address for each in found] == both[1:]


async def test_a_machine_whose_tables_hang_costs_only_what_they_tell() -> None:
    """The usual places are asked all the same, in time."""
    end = threading.Event()

    class Hanging(MadeUp):
        """A machine that never tells who listens."""

        def listeners(self) -> tuple[Listener, ...]:
            """Wait."""
            end.wait(10)
            return ()

    with OllamaFake() as server:
        detecting = detector({"ollama": [server.address]}, machine=Hanging(), seconds=1.0)
        found = await look(detecting)
        end.set()
    assert states(found) == {"ollama": "running-healthy"}


# What the user added.


async def test_an_added_engine_is_what_it_answers() -> None:
    """`auto` follows the fingerprint, and what was known where nothing answers."""
    with VllmFake() as server:
        detecting = detector()
        (found,) = await look(detecting, definition("mine", server.address))
    (gone,) = await look(detecting, definition("mine", server.address))
    assert (found.engine.kind, found.engine.source, found.engine.remote) == ("vllm", "added", False)
    assert (gone.engine.kind, states([gone])) == ("vllm", {"mine": "error-network"})


async def test_an_added_engine_of_a_kind_stays_that_kind() -> None:
    """The user knows better."""
    with VllmFake() as server:
        (found,) = await look(detector(), definition("mine", server.address, "custom"))
    assert found.engine.kind == "custom"


async def test_this_flm_is_no_engine_and_another_is() -> None:
    """Whoever added our own address while nothing served: it is an error, not a loop."""
    with (
        ReplayServer(emulators.flm("0123456789abcdef")) as ours,
        ReplayServer(emulators.flm("another")) as other,
    ):
        found = await look(
            detector(),
            definition("me", ours.address),
            definition("them", other.address),
            instance="0123456789abcdef",
        )
    assert [each.engine.state for each in found] == [
        ApiError("this is FLM itself"),
        ApiError("needs_key"),
    ]


async def test_an_engine_elsewhere_is_marked_with_its_models() -> None:
    """By its address; that its prompts cross the network in clear is told."""
    routes = {("GET", "/v1/models"): as_json({"object": "list", "data": [{"id": "m"}]})}

    class Elsewhere:
        """A prober for whom 192.0.2.7 is the test's server."""

        def __init__(self, real: Prober, address: Address) -> None:
            self._real = real
            self._address = address

        async def get(self, address: Address, path: str, **more: object) -> object:
            """Ask the test's server."""
            return await self._real.get(self._address, path, **more)  # type: ignore[arg-type]

    with ReplayServer(routes) as server:
        detecting = detector()
        detecting._prober = Elsewhere(detecting._prober, server.address)  # type: ignore[assignment]
        (found,) = await look(detecting, definition("far", Address("192.0.2.7", 8000)))
    assert (found.engine.remote, [model.remote for model in found.models]) == (True, [True])
    assert [each.code for each in found.engine.findings] == ["plain_http"]


async def test_a_locked_engine_says_how_its_key_is_stored() -> None:
    """With its true kind."""
    with VllmFake() as server:
        server.lock()
        (found,) = await look(detector({"vllm": [server.address]}))
    assert (found.engine.kind, found.engine.state) == ("vllm", ApiError("needs_key"))
    (finding,) = found.engine.findings
    remedy = finding.remedy.format(**finding.values)
    assert remedy == "`flm engines set-key vllm --api-key-stdin` stores it."


# What lies around.


async def test_the_machine_around_us_is_searched_on_the_usual_ports() -> None:
    """127.0.0.2 stands for it; engines there are the user's own and not remote."""
    host = Host(address="127.0.0.2", how="wsl")
    with ReplayServer(engines.ollama(), host="127.0.0.2") as server:
        machine = MadeUp(own_pid=1, around=(host,))
        (found,) = await look(detector(machine=machine, ports=[server.port]))
    assert (found.engine.id, found.engine.address) == ("ollama", Address("127.0.0.2", server.port))
    assert not found.engine.remote
    assert [each.address for each in around([host], [1, 2])] == [
        Address("127.0.0.2", 1),
        Address("127.0.0.2", 2),
    ]


OLLAMA_EXE = "/mnt/c/Users/you/AppData/Local/Programs/Ollama/ollama.exe"


async def test_windows_ollama_out_of_reach_is_explained_in_wsl() -> None:
    """Seen on its disk, silent on its address: what to set is said; in reach nothing is."""
    wsl = (Host(address="127.0.0.2", how="wsl"),)
    machine = MadeUp(own_pid=1, files={OLLAMA_EXE: ""}, around=wsl)
    (found,) = await look(detector(machine=machine))
    (finding,) = found.engine.findings
    assert (states([found]), finding.code) == ({"ollama": "installed-only"}, "other_side")
    assert "OLLAMA_HOST to 0.0.0.0" in finding.remedy
    assert OLLAMA_EXE in finding.message.format(**finding.values)
    with ReplayServer(engines.ollama(), host="127.0.0.2") as server:
        (found,) = await look(detector(machine=machine, ports=[server.port]))
    assert (states([found]), found.engine.findings) == ({"ollama": "running-healthy"}, ())


async def test_an_engine_added_by_loopback_in_a_container_is_explained() -> None:
    """There 127.0.0.1 is the container; and on the host's address it may listen on loopback."""
    host = Host(address="127.0.0.2", how="container")
    gone = closed()
    found = await look(
        detector(machine=MadeUp(own_pid=1, around=(host,))),
        definition("here", gone, "ollama"),
        definition("there", Address("127.0.0.2", gone.port), "ollama"),
    )
    told = [each.engine.findings[0] for each in found]
    assert {each.code for each in told} == {"other_side"}
    assert "add the engine with that address" in told[0].remedy
    assert "on the other side's loopback only" in told[1].message
