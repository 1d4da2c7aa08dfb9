"""Detection with the real adapters and ladder, and real HTTP servers that speak recorded bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.domain.models import GgufFile, Model
from flm.errors import InvalidValue
from flm.ports.engines import NO_ANSWER, Identity, ModelServer, Prober, Sighting, Wishes
from flm.services.detection import Detector, Wanted
from support import engines
from support.looks import Ladder, closed, definition, detector, states
from support.replay import Answer, ReplayServer, Reply, response

NEVER = threading.Event()
HUNG: dict[tuple[str, str], Reply] = {("GET", "*"): Answer(b"", hold=NEVER)}


def ollama(*addresses: Address) -> Mapping[str, Sequence[Address]]:
    """Ollama's adapter searches there."""
    return {"ollama": addresses}


async def look(detecting: Detector, *added: object, **wanted: object) -> list[Sighting]:
    """One look."""
    return await detecting.look(Wanted(added=added, **wanted))  # type: ignore[arg-type]


async def test_engines_of_several_kinds_are_found_with_their_models() -> None:
    """Ollama and llama.cpp side by side."""
    with ReplayServer(engines.ollama()) as one, ReplayServer(engines.llamacpp()) as two:
        found = await look(detector({"ollama": [one.address], "llamacpp": [two.address]}))
    assert states(found) == {"ollama": "running-healthy", "llamacpp": "running-healthy"}
    assert [len(each.models) for each in found] == [4, 1]
    assert {each.engine.source for each in found} == {"detected"}
    assert all(each.engine.checked_at > 1_700_000_000 for each in found)


async def test_nothing_here_is_an_empty_list() -> None:
    """No engine, no program, no file."""
    assert await look(detector({"ollama": [closed()], "llamacpp": [closed()]})) == []


async def test_a_program_that_does_not_run_is_installed_only() -> None:
    """With its path; not beside a running one of its kind."""
    with ReplayServer(engines.llamacpp()) as server:
        found = await look(
            detector(
                {"ollama": [closed()], "llamacpp": [server.address]},
                programs={"ollama": "/usr/bin/ollama", "llamacpp": "/usr/bin/llama-server"},
            )
        )
    assert states(found) == {"llamacpp": "running-healthy", "ollama": "installed-only"}
    assert found[1].engine.detail == "/usr/bin/ollama"
    assert found[1].engine.state == InstalledOnly()


async def test_both_loopback_addresses_of_one_engine_are_one_engine() -> None:
    """The same version and models on the same port: 127.0.0.1 is taken."""
    with (
        ReplayServer(engines.ollama()) as four,
        ReplayServer(engines.ollama(), host="::1", port=four.port) as six,
    ):
        found = await look(detector(ollama(four.address, six.address)))
    assert [(each.engine.id, each.engine.address) for each in found] == [("ollama", four.address)]


async def test_two_engines_on_one_port_of_both_addresses_are_two() -> None:
    """Their models differ, so they are not the same."""
    other = engines.ollama(tags=response('{"models":[{"name":"other","capabilities":[]}]}'))
    with (
        ReplayServer(engines.ollama()) as four,
        ReplayServer(other, host="::1", port=four.port) as six,
    ):
        found = await look(detector(ollama(four.address, six.address)))
    assert [each.engine.id for each in found] == ["ollama", f"ollama-{four.port}"]
    assert [model.target for model in found[1].models] == [f"ollama-{four.port}/other"]


async def test_an_address_belongs_to_one_adapter() -> None:
    """Two kinds search the same port: whoever recognises it has it."""
    with ReplayServer(engines.llamacpp()) as server:
        found = await look(detector({"ollama": [server.address], "llamacpp": [server.address]}))
    assert states(found) == {"llamacpp": "running-healthy"}


async def test_an_added_engine_is_not_detected_once_more() -> None:
    """Neither at its own address nor at the other loopback address of its port."""
    with (
        ReplayServer(engines.ollama()) as four,
        ReplayServer(engines.ollama(), host="::1", port=four.port) as six,
    ):
        found = await look(
            detector(ollama(four.address, six.address)),
            definition("mine", four.address, "ollama"),
        )
    assert [(each.engine.id, each.engine.source) for each in found] == [("mine", "added")]


async def test_an_added_engine_is_listed_when_it_is_down() -> None:
    """With the reason and how often it failed."""
    detecting, gone = detector(), definition("mine", closed())
    await look(detecting, gone)
    (found,) = await look(detecting, gone)
    assert found.engine.state == NetworkError("connection refused", 2)
    assert found.engine.source == "added"


async def test_an_added_engine_is_listed_for_ever() -> None:
    """Only detected ones are forgotten."""
    detecting, gone = detector(), definition("mine", closed())
    looks = [await look(detecting, gone) for _ in range(6)]
    assert [each.engine.state for (each,) in looks][-1] == NetworkError("connection refused", 6)


async def test_an_engine_that_wants_a_key_says_so() -> None:
    """`needs_key` leads to the remedy; with its key it is asked with it."""
    with ReplayServer(engines.llamacpp_locked()) as server:
        (found,) = await look(detector({"llamacpp": [server.address]}))
        await look(detector(), definition("mine", server.address, "llamacpp", key="sesame"))
    assert found.engine.state == ApiError("needs_key")
    assert server.seen[-1].headers["authorization"] == "Bearer sesame"


async def test_a_name_that_the_user_took_is_not_given_to_a_detected_engine() -> None:
    """A detected Ollama beside an added engine called `ollama` is named with its port."""
    with ReplayServer(engines.ollama()) as one, ReplayServer(engines.vllm()) as two:
        found = await look(detector(ollama(one.address)), definition("ollama", two.address))
    assert [(each.engine.id, each.engine.kind) for each in found] == [
        ("ollama", "custom"),
        (f"ollama-{one.port}", "ollama"),
    ]


async def test_a_second_engine_keeps_its_name_when_the_first_leaves() -> None:
    """Names do not slide: a key's limits or an alias may hang on them."""
    with ReplayServer(engines.llamacpp()) as second:
        with ReplayServer(engines.llamacpp(models=response('{"data":[{"id":"x"}]}'))) as first:
            detecting = detector({"llamacpp": [first.address, second.address]})
            before = states(await look(detecting))
        after = states(await look(detecting))
    name = f"llamacpp-{second.port}"
    assert before == {"llamacpp": "running-healthy", name: "running-healthy"}
    assert after == {"llamacpp": "error-network", name: "running-healthy"}


async def test_a_detected_engine_that_left_is_an_error_and_then_forgotten() -> None:
    """Three looks long with its models, then it is only installed, or not here at all."""
    with ReplayServer(engines.ollama()) as server:
        detecting = detector(ollama(server.address), programs={"ollama": "/usr/bin/ollama"})
        await look(detecting)
    looks = [await look(detecting) for _ in range(4)]
    assert [each.engine.state for (each,) in looks] == [
        NetworkError("connection refused", 1),
        NetworkError("connection refused", 2),
        NetworkError("connection refused", 3),
        InstalledOnly(),
    ]
    assert [len(each.models) for (each,) in looks] == [4, 4, 4, 0]


async def test_what_took_a_lost_engines_place_is_not_taken_for_it() -> None:
    """Another program at the same address: the old one is gone, the new one is what it is."""
    with ReplayServer(engines.ollama()) as server:
        detecting = detector({"ollama": [server.address], "llamacpp": [server.address]})
        await look(detecting)
        server.routes = engines.llamacpp()
        found = await look(detecting)
        server.routes = {}
        nothing = await look(detecting)
    assert states(found) == {"llamacpp": "running-healthy"}
    assert nothing == []


async def test_a_look_ends_in_time_whatever_hangs() -> None:
    """A hung added engine, a hung candidate and a good engine: the good one is told in full."""
    with (
        ReplayServer(HUNG) as stuck,
        ReplayServer(HUNG) as mute,
        ReplayServer(engines.ollama()) as good,
    ):
        found = await look(
            detector(ollama(mute.address, good.address), seconds=0.8),
            definition("stuck", stuck.address),
        )
    assert states(found) == {"stuck": "error-network", "ollama": "running-healthy"}
    assert found[0].engine.state == NetworkError(NO_ANSWER, 1)


async def test_an_engine_that_falls_silent_is_degraded_with_its_models() -> None:
    """It may only be busy: requests still go to it, until it was silent three times."""
    with ReplayServer(engines.ollama()) as server:
        detecting = detector(ollama(server.address), seconds=1.0)
        await look(detecting)
        server.routes = HUNG
        looks = [await look(detecting) for _ in range(3)]
    assert [each.engine.state for (each,) in looks] == [
        Degraded(1500.0, "no answer in time, 1 of 3 times"),
        Degraded(1500.0, "no answer in time, 2 of 3 times"),
        NetworkError(NO_ANSWER, 3),
    ]
    assert [len(each.models) for (each,) in looks] == [4, 4, 4]


async def test_a_look_leaves_no_task_behind() -> None:
    """What hangs is cancelled when the look ends."""
    with ReplayServer(HUNG) as server:
        await look(detector(ollama(server.address), seconds=0.1), definition("x", server.address))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_fault_of_ours_costs_only_its_own_engine() -> None:
    """It is logged; the others are told."""
    ladder = Ladder()
    with ReplayServer(engines.ollama()) as one, ReplayServer(engines.llamacpp()) as two:

        async def faulty(
            prober: Prober, address: Address, key: str | None = None
        ) -> Identity | None:
            return None if address == one.address and 1 / 0 else await ladder(prober, address, key)

        found = await look(detector(ollama(one.address, two.address), tell=faulty))
    assert states(found) == {"llamacpp": "running-healthy"}


async def test_the_context_that_was_set_reaches_its_engine() -> None:
    """By the engine's id."""
    with ReplayServer(engines.ollama()) as server:
        (found,) = await look(
            detector(ollama(server.address)),
            wishes={"ollama": Wishes(contexts={"": 4096}), "other": Wishes(contexts={"": 1})},
        )
    assert {model.context_length for model in found.models} == {4096}


async def test_what_an_earlier_process_saw_counts_as_seen_before() -> None:
    """A cached engine that is down is an error with its models, not nothing."""
    gone = closed()
    engine = Engine(id=EngineId("ollama"), kind="ollama", state=Healthy(1.0), address=gone)
    detecting = detector(ollama(gone))
    detecting.remember([(engine, [Model(name="m", engine=engine.id)])])
    (found,) = await look(detecting)
    assert found.engine.state == NetworkError("connection refused", 1)
    assert [model.name for model in found.models] == ["m"]


class Launcher:
    """An embedded engine that reads no files; what it says is the test's."""

    def __init__(self, missing: str | None = None) -> None:
        self._missing = missing

    def missing(self) -> str | None:
        """What the test says."""
        return self._missing

    def device(self) -> str:
        """A sentence."""
        return "runs on the CPU"

    def inspect(self, path: str) -> Model:
        """A model trained for 4,096 tokens, but for one damaged file."""
        if path == "/damaged.gguf":
            raise InvalidValue("damaged")
        return Model(
            name=Path(path).stem,
            engine=EngineId("embedded"),
            capabilities=("chat",),
            context_length=4096,
            trained_context=4096,
        )

    async def launch(
        self, file: GgufFile, *, context_length: int, parallel: int, threads: int, seconds: float
    ) -> ModelServer:
        """Detection starts nothing."""
        raise AssertionError(file.name)


FILES = (
    GgufFile(name="flm-demo", path="/demo.gguf", added_at=5.0, demo=True),
    GgufFile(name="bad", path="/damaged.gguf", added_at=6.0),
    GgufFile(name="mine", path="/models/some-file.gguf", added_at=7.5),
)


async def test_the_embedded_engine_is_always_there_with_its_files() -> None:
    """Under the names they were given; a damaged one is left out and not the rest."""
    (found,) = await look(detector(launcher=Launcher()), files=FILES)
    assert (found.engine.id, found.engine.kind, found.engine.source) == (
        "embedded",
        "embedded",
        "built-in",
    )
    assert found.engine.state == Healthy(0.0)
    assert found.engine.detail == "runs on the CPU"
    assert [(m.name, m.demo, m.created) for m in found.models] == [
        ("flm-demo", True, 5),
        ("mine", False, 7),
    ]


async def test_the_embedded_engines_context_is_the_set_one_and_never_more_than_trained() -> None:
    """For a model before the whole engine."""
    (found,) = await look(
        detector(launcher=Launcher()),
        files=FILES,
        wishes={"embedded": Wishes(contexts={"": 2048, "mine": 100_000})},
    )
    assert [(m.name, m.context_length) for m in found.models] == [
        ("flm-demo", 2048),
        ("mine", 4096),
    ]


async def test_without_the_extra_the_embedded_engine_is_there_only_for_files() -> None:
    """Files that were given say what is missing; without them nothing is said."""
    absent = Launcher("The embedded engine is not installed.")
    (found,) = await look(detector(launcher=absent), files=FILES)
    assert found.engine.state == ApiError("The embedded engine is not installed.")
    assert await look(detector(launcher=absent)) == []


@pytest.mark.parametrize("count", [1, 5])
async def test_many_looks_remember_no_more_than_is_here(count: int) -> None:
    """The memory is bounded by what was last seen."""
    with ReplayServer(engines.ollama()) as server:
        detecting = detector(ollama(server.address))
        looks = [states(await look(detecting)) for _ in range(count)]
    assert looks == [{"ollama": "running-healthy"}] * count
