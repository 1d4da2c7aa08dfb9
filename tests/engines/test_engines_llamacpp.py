"""The llama.cpp adapter against what a real llama.cpp server answered."""

from __future__ import annotations

import os

import pytest

from flm.domain.engines import Address, ApiError, Degraded, EngineId, Healthy, NetworkError
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.engines.llamacpp.detect import ancestors, is_child
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting
from support import engines
from support.replay import ReplayServer, Reply, recorded, response

LLAMACPP = EngineId("llamacpp")
EMBEDDING_SERVER = "llamacpp-xllamacpp-2026.10-embed"

ROUTER_MODELS = (
    '{"object":"list","data":['
    '{"id":"ggml-org/gemma-3-4b-it-GGUF:Q4_K_M","object":"model","owned_by":"llamacpp",'
    '"status":{"value":"loaded","args":[]},"source":"cache"},'
    '{"id":"/srv/models/qwen3.gguf","object":"model","owned_by":"llamacpp",'
    '"status":{"value":"unloaded","args":[]}}]}'
)
ROUTER_PROPS = (
    '{"role":"router","max_instances":4,"models_autoload":true,"model_alias":"llama-server",'
    '"model_path":"none","build_info":"b10500-abc"}'
)


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


def alone(address: Address) -> tuple[tuple[int, str], ...]:
    """A server that a shell started."""
    return ((4242, "llama-server"), (4000, "bash"), (1, "init"))


async def describe(prober: HttpProber, routes: dict[tuple[str, str], Reply]) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await LlamaCppAdapter(alone).describe(prober, LLAMACPP, server.address, None, {})


def test_both_default_ports_are_searched_on_both_addresses() -> None:
    """8080 until August 2026, 9931 since."""
    assert LlamaCppAdapter().candidates({}) == (
        Address("127.0.0.1", 8080),
        Address("::1", 8080),
        Address("127.0.0.1", 9931),
        Address("::1", 9931),
    )


@pytest.mark.parametrize("told", ["", "0", "70000", "-1", "http", "\u0663\u0664"])
def test_a_port_that_is_none_is_not_searched(told: str) -> None:
    """LLAMA_CPP_PORT must be a port to count."""
    assert LlamaCppAdapter().candidates({"LLAMA_CPP_PORT": told}) == LlamaCppAdapter().candidates(
        {}
    )


def test_the_port_that_is_told_comes_first() -> None:
    """LLAMA_CPP_PORT is likeliest."""
    first = LlamaCppAdapter().candidates({"LLAMA_CPP_PORT": "4711"})[0]
    assert first == Address("127.0.0.1", 4711)


@pytest.mark.parametrize(
    "routes",
    [
        engines.llamacpp(),
        engines.llamacpp_locked(),
        {("GET", "*"): engines.LOADING},
        engines.llamacpp(props=response(ROUTER_PROPS)),
    ],
    ids=["ready", "locked", "loading", "router"],
)
async def test_a_real_server_is_recognised_in_every_state(
    prober: HttpProber, routes: dict[tuple[str, str], Reply]
) -> None:
    """Ready, demanding a key, still loading, or a router."""
    with ReplayServer(routes) as server:
        assert await LlamaCppAdapter(alone).recognise(prober, server.address)


@pytest.mark.parametrize(
    "routes",
    [
        engines.lm_studio(),
        engines.koboldcpp(),
        engines.ollama(),
        engines.vllm(),
        {("GET", "*"): response('{"error":"Unauthorized"}', "401 Unauthorized")},
        {("GET", "*"): response("", "503 Service Unavailable")},
        {("GET", "*"): response("<html>", content_type="text/html")},
    ],
    ids=["LM Studio", "KoboldCpp", "Ollama", "vLLM", "locked vLLM", "a starting proxy", "a page"],
)
async def test_a_look_alike_is_not_taken_for_llamacpp(
    prober: HttpProber, routes: dict[tuple[str, str], Reply]
) -> None:
    """`/props` without `build_info` is somebody else's."""
    with ReplayServer(routes) as server:
        assert not await LlamaCppAdapter(alone).recognise(prober, server.address)


@pytest.mark.parametrize(
    "parent", ["ollama", "Ollama.exe", "lemond", "jan", "com.docker.backend", "llama-server"]
)
async def test_the_child_of_another_engine_is_not_listed(prober: HttpProber, parent: str) -> None:
    """It is reached through its parent."""
    chain = ((5, "llama-server"), (4, parent), (1, "init"))
    with ReplayServer(engines.llamacpp()) as server:
        assert not await LlamaCppAdapter(lambda _: chain).recognise(prober, server.address)


def test_a_child_of_ours_is_not_listed() -> None:
    """Whatever its name, what FLM started is FLM's business."""
    assert is_child(((5, "python3"), (4, "python3")), own_pid=4)
    assert not is_child(((5, "llama-server"), (4, "zsh")), own_pid=9)
    assert not is_child((), own_pid=9)


def test_the_process_behind_a_port_is_found_with_its_parents() -> None:
    """This process listens: it is the first, its parent the second."""
    with ReplayServer({}) as server:
        chain = ancestors(server.address)
    assert [pid for pid, _ in chain[:2]] == [os.getpid(), os.getppid()]


def test_nobody_behind_a_port_is_no_chain() -> None:
    """What cannot be known is empty, and no error."""
    with ReplayServer({}) as server:
        gone = server.address
    assert ancestors(gone) == ()


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
    """Names with slashes stay; `/props` belongs to no model."""
    routes = engines.llamacpp(models=response(ROUTER_MODELS), props=response(ROUTER_PROPS))
    sighting = await describe(prober, routes)
    assert sighting.engine.detail == "router of several models"
    assert [(m.name, m.loaded, m.context_length) for m in sighting.models] == [
        ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", True, None),
        ("qwen3", False, None),
    ]


async def test_vision_audio_tools_and_reasoning_are_told_by_props(prober: HttpProber) -> None:
    """Modalities of the model, capabilities of its template."""
    props = response(
        '{"build_info":"b1","modalities":{"vision":true,"audio":true},'
        '"chat_template_caps":{"supports_tools":true},"chat_template":"<think>"}'
    )
    (model,) = (await describe(prober, engines.llamacpp(props=props))).models
    assert model.capabilities == ("chat", "embeddings", "vision", "audio", "tools", "reasoning")


async def test_a_server_that_loads_is_degraded_and_no_error(prober: HttpProber) -> None:
    """503 `Loading model` on every path."""
    sighting = await describe(prober, {("GET", "*"): engines.LOADING})
    assert isinstance(sighting.engine.state, Degraded)
    assert sighting.engine.state.reason == "loading a model"
    assert sighting.models == ()


async def test_a_locked_server_needs_a_key(prober: HttpProber) -> None:
    """`/health` is open, so the list tells it."""
    sighting = await describe(prober, engines.llamacpp_locked())
    assert sighting.engine.state == ApiError("needs_key")


async def test_nobody_there_is_a_network_error(prober: HttpProber) -> None:
    """A closed port gives the reason."""
    with ReplayServer({}) as server:
        gone = server.address
    sighting = await LlamaCppAdapter(alone).describe(prober, LLAMACPP, gone, None, {})
    assert sighting.engine.state == NetworkError("connection refused", 1)
