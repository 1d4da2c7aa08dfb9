"""The llama.cpp adapter against what a real llama.cpp server answered."""

from __future__ import annotations

import pytest

from flm.domain.engines import Address, ApiError, EngineId, EngineLoad, Healthy
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.engines.llamacpp.launch import LlamaCppStarter
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Installation, Sighting, Wishes
from support import engines
from support.fakes.base import as_json
from support.fakes.llamacpp import GEMMA, QWEN, LlamaCppFake, RouterFake
from support.machines import MadeUp
from support.replay import ReplayServer, Reply, recorded, response

LLAMACPP = EngineId("llamacpp")
EMBEDDING_SERVER = "llamacpp-xllamacpp-2026.10-embed"


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(prober: HttpProber, routes: dict[tuple[str, str], Reply]) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await look(prober, server)


async def look(prober: HttpProber, server: ReplayServer) -> Sighting:
    """What the adapter says of a server."""
    adapter = LlamaCppAdapter()
    return await adapter.describe(prober, LLAMACPP, server.address, None, Wishes())


@pytest.mark.parametrize(
    ("told", "ports"),
    [
        ({}, [8080, 9931]),
        ({"LLAMA_CPP_PORT": "4711"}, [4711, 8080, 9931]),
        ({"LLAMA_CPP_PORT": "9931"}, [9931, 8080]),
        ({"LLAMA_CPP_PORT": "http"}, [8080, 9931]),
    ],
)
def test_it_is_searched_at_both_default_ports(told: dict[str, str], ports: list[int]) -> None:
    """8080 until August 2026, 9931 since; the one that is told is likeliest."""
    places = LlamaCppAdapter().places(MadeUp(environment=told))
    assert list(places) == [Address(h, port) for port in ports for h in ("127.0.0.1", "::1")]


BUILT = "/home/you/llama.cpp/build/bin/llama-server"
BREW = "/opt/homebrew/bin/llama-server"
UNIFIED = "/home/you/.local/bin/llama"


@pytest.mark.parametrize(
    ("machine", "program"),
    [
        (MadeUp(), None),
        (MadeUp(programs={"llama-server": "/p/llama-server"}), "/p/llama-server"),
        (MadeUp(files={BUILT: ""}), BUILT),
        (MadeUp("darwin", files={BREW: ""}), BREW),
        (MadeUp(files={UNIFIED: ""}), UNIFIED),
        (MadeUp(programs={"llama": "/usr/bin/llama"}), None),
        (MadeUp(environment={"LLAMA_CPP_PATH": "/opt/l/llama-server"},
                files={"/opt/l/llama-server": ""}), "/opt/l/llama-server"),
        (MadeUp(environment={"LLAMA_CPP_PATH": "/opt/l"},
                files={"/opt/l/build/bin/llama-server": "", BUILT: ""}),
         "/opt/l/build/bin/llama-server"),
        (MadeUp(environment={"LLAMA_CPP_PATH": "/gone"}, files={BUILT: ""}), BUILT),
        (MadeUp("win32", files={r"C:\Users\you\AppData\Local\llama-app\llama.exe": ""}),
         r"C:\Users\you\AppData\Local\llama-app\llama.exe"),
        (MadeUp("win32", environment={"LLAMA_CPP_PATH": r"D:\llama"},
                files={r"D:\llama\llama-server.exe": ""}), r"D:\llama\llama-server.exe"),
    ],
    ids=["nowhere", "PATH", "built", "Homebrew", "its installer's", "a common name on PATH",
         "told", "a told folder", "told wrongly", "Windows", "told on Windows"],
)  # fmt: skip
def test_its_program_is_found(machine: MadeUp, program: str | None) -> None:
    """`llama` counts only where its own installer puts it: many programs are called so."""
    expected = None if program is None else Installation(program=program)
    assert LlamaCppAdapter().installed(machine) == expected


def test_its_service_is_told() -> None:
    """What the service manager runs is the service manager's to stop."""
    machine = MadeUp(programs={"llama-server": "/p/llama-server"}, services=("llama-server",))
    found = LlamaCppAdapter().installed(machine)
    assert found == Installation(program="/p/llama-server", service="llama-server")


async def test_a_model_is_told_with_the_context_of_a_slot(prober: HttpProber) -> None:
    """n_ctx 2048 in two slots is 1024 for each request."""
    sighting = await describe(prober, engines.llamacpp())
    (model,) = sighting.models
    assert isinstance(sighting.engine.state, Healthy)
    assert (sighting.engine.version, sighting.engine.detail) == ("b0-unknown", "2 requests at once")
    assert (model.name, model.engine_name) == ("tiny-llama", None)
    assert (model.context_length, model.trained_context) == (1024, 4096)
    assert (model.size_bytes, model.quantization, model.loaded) == (510208, "all F32", True)
    assert model.created == 0  # llama.cpp tells the time of the question
    assert model.capabilities == ("chat", "embeddings")


async def test_an_embedding_server_says_nothing_else_than_a_chat_server(prober: HttpProber) -> None:
    """Recorded from both: so embeddings are taken for possible with either."""
    embedding = engines.llamacpp(
        props=recorded(EMBEDDING_SERVER, "get-props"),
        models=recorded(EMBEDDING_SERVER, "get-models"),
    )
    assert (await describe(prober, embedding)).models == (
        await describe(prober, engines.llamacpp())
    ).models


async def test_a_files_path_becomes_the_files_name_and_is_kept(prober: HttpProber) -> None:
    """Clients say the name; requests to the engine say its own id."""
    listed = response('{"object":"list","data":[{"id":"/srv/m/Qwen3-8B-Q4_K_M.gguf"}]}')
    (model,) = (await describe(prober, engines.llamacpp(models=listed))).models
    assert model.name == "Qwen3-8B-Q4_K_M"
    assert model.engine_name == "/srv/m/Qwen3-8B-Q4_K_M.gguf"
    assert model.target == "llamacpp/Qwen3-8B-Q4_K_M"


async def test_two_files_of_one_name_stay_apart(prober: HttpProber) -> None:
    """The second keeps its path as its name."""
    listed = response('{"object":"list","data":[{"id":"/a/m.gguf"},{"id":"/b/m.gguf"}]}')
    found = (await describe(prober, engines.llamacpp(models=listed))).models
    assert [model.name for model in found] == ["m", "/b/m.gguf"]


async def test_a_router_tells_its_models_and_which_are_loaded(prober: HttpProber) -> None:
    """Names with slashes stay; each loaded model is asked for its own properties."""
    with RouterFake() as router:
        sighting = await look(prober, router)
        asked = [seen.path for seen in router.seen if seen.path.startswith("/props?")]
    assert sighting.engine.detail == "router of several models"
    assert [(m.name, m.loaded, m.context_length, m.by_hand) for m in sighting.models] == [
        (GEMMA, True, 4096, False),
        ("qwen3", False, None, False),
    ]
    assert asked == ["/props?model=ggml-org/gemma-3-4b-it-GGUF:Q4_K_M&autoload=0"]


async def test_a_router_that_loads_nothing_by_itself_says_so(prober: HttpProber) -> None:
    """`--no-models-autoload`; a model that sleeps wakes all the same."""
    with RouterFake() as router:
        router.autoload = False
        router.status = {GEMMA: "loaded", QWEN: "unloaded", "s": "sleeping"}
        sighting = await look(prober, router)
    assert [(m.name, m.by_hand) for m in sighting.models] == [
        (GEMMA, True), ("qwen3", True), ("s", False),
    ]  # fmt: skip


async def test_what_a_router_still_fetches_is_no_model(prober: HttpProber) -> None:
    """It is listed, and cannot be asked."""
    with RouterFake() as router:
        router.status = {GEMMA: "loaded", "new": "downloading", "done": "downloaded"}
        sighting = await look(prober, router)
    assert [model.name for model in sighting.models] == [GEMMA]


async def test_a_model_that_does_not_talk_is_not_offered_as_one(prober: HttpProber) -> None:
    """A decision model's output is no text."""
    entry = {"id": "judge", "architecture": {"output_modalities": ["decisions"]}}
    listed = as_json({"object": "list", "data": [entry]})
    (model,) = (await describe(prober, engines.llamacpp(models=listed))).models
    assert model.capabilities == ()


async def test_vision_audio_tools_and_reasoning_are_told_by_props(prober: HttpProber) -> None:
    """Modalities of the model, capabilities of its template."""
    props = response(
        '{"build_info":"b1","modalities":{"vision":true,"audio":true},'
        '"chat_template_caps":{"supports_tools":true},"chat_template":"<think>"}'
    )
    (model,) = (await describe(prober, engines.llamacpp(props=props))).models
    assert model.capabilities == ("chat", "embeddings", "vision", "audio", "tools", "reasoning")


async def test_a_build_that_tells_its_models_to_all_may_still_be_locked(
    prober: HttpProber,
) -> None:
    """Then only `/props` says that a key is missing."""
    routes = engines.llamacpp_locked() | {
        ("GET", "/v1/models"): recorded(engines.LLAMACPP, "get-models")
    }
    assert (await describe(prober, routes)).engine.state == ApiError("needs_key")


@pytest.mark.parametrize(
    ("busy", "deferred", "metrics", "expected"),
    [
        (0, 0, True, EngineLoad(running=0, waiting=0, slots=2)),
        (1, 0, True, EngineLoad(running=1, waiting=0, slots=2)),
        (2, 3, True, EngineLoad(running=2, waiting=3, slots=2)),
        (2, 3, False, EngineLoad(running=2, waiting=None, slots=2)),
    ],
)
async def test_its_load_is_that_of_its_slots(
    prober: HttpProber, busy: int, deferred: int, metrics: bool, expected: EngineLoad
) -> None:
    """What waits is known only with `--metrics`, and nothing waits beside a free slot."""
    with LlamaCppFake() as fake:
        fake.busy, fake.deferred, fake.metrics = busy, deferred, metrics
        assert await LlamaCppAdapter().load(prober, fake.address, None) == expected


async def test_metrics_are_left_alone_while_a_slot_is_free(prober: HttpProber) -> None:
    """Reading them resets the averages that somebody else may be reading."""
    with LlamaCppFake() as fake:
        await LlamaCppAdapter().load(prober, fake.address, None)
    assert fake.asked("/metrics") == []


async def test_a_server_that_sleeps_is_not_woken(prober: HttpProber) -> None:
    """`/slots` would load its model again."""
    with LlamaCppFake() as fake:
        fake.routes["GET", "/props"] = as_json(
            {"build_info": "b1", "total_slots": 4, "is_sleeping": True}
        )
        load = await LlamaCppAdapter().load(prober, fake.address, None)
        (model,) = (await look(prober, fake)).models
    assert load == EngineLoad(running=0, waiting=0, slots=4)
    assert fake.asked("/slots") == []
    assert model.loaded is False


async def test_without_slots_its_metrics_tell(prober: HttpProber) -> None:
    """`--no-slots`."""
    with LlamaCppFake() as fake:
        fake.busy, fake.deferred = 1, 2
        fake.routes["GET", "/slots"] = response("{}", "501 Not Implemented")
        load = await LlamaCppAdapter().load(prober, fake.address, None)
    assert load == EngineLoad(running=1, waiting=2)


async def test_a_router_s_load_is_that_of_its_loaded_models(prober: HttpProber) -> None:
    """One that sleeps or is not loaded is not asked."""
    with RouterFake() as router:
        router.status = {GEMMA: "loaded", QWEN: "sleeping", "third": "loaded"}
        load = await LlamaCppAdapter().load(prober, router.address, None)
    assert load == EngineLoad(running=0, waiting=0, slots=2)
    assert len(router.asked("/slots")) == 2


def test_it_is_started_by_its_own_starter() -> None:
    """With a model, or as a router."""
    assert isinstance(LlamaCppAdapter().starter, LlamaCppStarter)
