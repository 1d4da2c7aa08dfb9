"""The OpenAI-compatible adapter against what vLLM and others answered."""

from __future__ import annotations

import pytest

from flm.domain.engines import ApiError, Degraded, EngineId, Healthy, NetworkError
from flm.engines.custom.adapter import CustomAdapter
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting
from support import engines
from support.replay import ReplayServer, Reply, recorded, response

MINE = EngineId("mine")


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(prober: HttpProber, routes: dict[tuple[str, str], Reply]) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await CustomAdapter().describe(prober, MINE, server.address, "k", {})


async def test_vllm_tells_its_model_and_its_context(prober: HttpProber) -> None:
    """`max_model_len` is the effective context; what the model can do is not told."""
    sighting = await describe(prober, engines.vllm())
    (model,) = sighting.models
    assert isinstance(sighting.engine.state, Healthy)
    assert (model.name, model.engine, model.context_length) == ("tiny-llama", "mine", 512)
    assert model.capabilities == ("chat", "embeddings")
    assert model.created == 1795218518


async def test_an_engine_that_tells_little_is_listed_all_the_same(prober: HttpProber) -> None:
    """text-generation-webui gives an id and nothing else."""
    listed: dict[tuple[str, str], Reply] = {
        ("GET", "/v1/models"): recorded(engines.WEBUI, "get-models")
    }
    (model,) = (await describe(prober, listed)).models
    assert (model.name, model.context_length, model.trained_context) == ("tiny", None, None)


async def test_llamacpp_added_as_openai_tells_its_slots_context(prober: HttpProber) -> None:
    """`meta.n_ctx` where there is one."""
    (model,) = (await describe(prober, engines.llamacpp())).models
    assert (model.context_length, model.trained_context) == (1024, 4096)


async def test_the_engines_own_key_is_sent(prober: HttpProber) -> None:
    """And it goes nowhere but there."""
    with ReplayServer(engines.vllm()) as server:
        await CustomAdapter().describe(prober, MINE, server.address, "sesame", {})
    assert server.seen[0].headers["authorization"] == "Bearer sesame"


async def test_names_with_slashes_stay_and_paths_become_file_names(prober: HttpProber) -> None:
    """`Qwen/Qwen3-8B` is a name; `/srv/m/tiny1` is where a file lies."""
    listed = response('{"data":[{"id":"Qwen/Qwen3-8B"},{"id":"/srv/m/tiny1"},{"id":"a.gguf"}]}')
    found = (await describe(prober, {("GET", "/v1/models"): listed})).models
    assert [(model.name, model.engine_name) for model in found] == [
        ("Qwen/Qwen3-8B", None),
        ("tiny1", "/srv/m/tiny1"),
        ("a", "a.gguf"),
    ]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (recorded(engines.VLLM_KEY, "noauth-get-models"), ApiError("needs_key")),
        (response("{}", "403 Forbidden"), ApiError("needs_key")),
        (response("{}", "404 Not Found"), ApiError("no list of models at /v1/models")),
        (response("oops", "500 Internal Server Error"), ApiError("answered 500")),
        (
            response('{"error":"Unexpected endpoint"}'),
            ApiError("its list of models cannot be read"),
        ),
        (response('{"data":{}}'), ApiError("its list of models cannot be read")),
        (response("", "302 Found", headers={"Location": "/"}), ApiError("answered 302")),
    ],
)
async def test_what_is_no_list_is_an_api_error(
    prober: HttpProber, answer: bytes, state: ApiError
) -> None:
    """Each with the reason that leads to a remedy."""
    sighting = await describe(prober, {("GET", "/v1/models"): answer})
    assert sighting.engine.state == state
    assert sighting.models == ()


async def test_a_starting_engine_is_degraded(prober: HttpProber) -> None:
    """503 is what engines say while they load."""
    starting: dict[tuple[str, str], Reply] = {("GET", "*"): engines.LOADING}
    assert isinstance((await describe(prober, starting)).engine.state, Degraded)


async def test_nobody_there_is_a_network_error(prober: HttpProber) -> None:
    """A closed port gives the reason."""
    with ReplayServer({}) as server:
        gone = server.address
    sighting = await CustomAdapter().describe(prober, MINE, gone, None, {})
    assert sighting.engine.state == NetworkError("connection refused", 1)


@pytest.mark.parametrize(
    ("routes", "recognised"),
    [
        (engines.vllm(), True),
        ({("GET", "/v1/models"): recorded(engines.VLLM_KEY, "noauth-get-models")}, True),
        (engines.lm_studio(), False),
        ({}, False),
    ],
)
async def test_a_list_or_a_lock_is_recognised(
    prober: HttpProber, routes: dict[tuple[str, str], Reply], recognised: bool
) -> None:
    """What answers 200 without a list is none."""
    with ReplayServer(routes) as server:
        assert await CustomAdapter().recognise(prober, server.address) is recognised
