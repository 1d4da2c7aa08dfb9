"""The OpenAI-compatible adapter against what vLLM and others answered."""

from __future__ import annotations

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    EngineId,
    EngineLoad,
    Healthy,
    NetworkError,
)
from flm.domain.models import Capability, Model
from flm.engines.custom.adapter import CustomAdapter
from flm.engines.custom.words import capabilities
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting, Wishes
from support import engines
from support.fakes import openai_like
from support.fakes.base import FakeEngine, broken_json, instead
from support.machines import MadeUp
from support.replay import ReplayServer, Reply, recorded, response

MINE = EngineId("mine")


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(prober: HttpProber, routes: dict[tuple[str, str], Reply]) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await CustomAdapter().describe(prober, MINE, server.address, "k", Wishes())


async def described(
    prober: HttpProber, fake: FakeEngine, prefix: str = "", wishes: Wishes | None = None
) -> Sighting:
    """What the adapter makes of a fake engine."""
    with fake:
        address = Address(fake.host, fake.port, prefix)
        return await CustomAdapter().describe(prober, MINE, address, None, wishes or Wishes())


def by_name(sighting: Sighting) -> dict[str, Model]:
    """The models by their names."""
    return {model.name: model for model in sighting.models}


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


async def test_llamacpp_added_as_custom_tells_its_slots_context(prober: HttpProber) -> None:
    """`meta.n_ctx` where there is one, and the file's size."""
    (model,) = (await describe(prober, engines.llamacpp())).models
    assert (model.context_length, model.trained_context) == (1024, 4096)
    assert model.size_bytes == 510208
    assert model.capabilities == ("chat", "embeddings")


async def test_the_engines_own_key_is_sent(prober: HttpProber) -> None:
    """And it goes nowhere but there."""
    with ReplayServer(engines.vllm()) as server:
        await CustomAdapter().describe(prober, MINE, server.address, "sesame", Wishes())
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


async def test_a_field_of_another_shape_costs_itself_and_not_the_model(prober: HttpProber) -> None:
    """Every engine adds what it likes; an entry without an id is none."""
    listed = response(
        '{"data":[{"id":"a","created":"soon","max_model_len":"8k","meta":[],"parameters":7,'
        '"labels":"x","capabilities":{"vision":"yes"},"architecture":"llama","dmr":null},'
        '{"id":7},{"object":"model"},"b",{"id":""}]}'
    )
    found = (await describe(prober, {("GET", "/v1/models"): listed})).models
    assert found == (Model(name="a", engine=MINE, capabilities=("chat", "embeddings")),)


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
        (response("", "302 Found", headers={"Location": "/"}), ApiError("redirects to /")),
    ],
)
async def test_what_is_no_list_is_an_api_error(
    prober: HttpProber, answer: bytes, state: ApiError
) -> None:
    """Each with the reason that leads to a remedy."""
    sighting = await describe(prober, {("GET", "/v1/models"): answer})
    assert sighting.engine.state == state
    assert sighting.models == ()


async def test_an_engine_that_loads_is_starting(prober: HttpProber) -> None:
    """503 with such a word is what engines say meanwhile; without one they are busy."""
    starting: dict[tuple[str, str], Reply] = {("GET", "*"): engines.LOADING}
    busy: dict[tuple[str, str], Reply] = {("GET", "*"): response("", "503 Service Unavailable")}
    loads = (await describe(prober, starting)).engine.state
    works = (await describe(prober, busy)).engine.state
    assert isinstance(loads, Degraded)
    assert isinstance(works, Degraded)
    assert (loads.reason, works.reason) == ("starting", "busy")


async def test_nobody_there_is_a_network_error(prober: HttpProber) -> None:
    """A closed port gives the reason."""
    with ReplayServer({}) as server:
        gone = server.address
    sighting = await CustomAdapter().describe(prober, MINE, gone, None, Wishes())
    assert sighting.engine.state == NetworkError("connection refused", 1)


async def test_sglang_tells_what_its_model_can_do(prober: HttpProber) -> None:
    """`/get_model_info`: it generates or embeds, and may see."""
    sees = await described(prober, openai_like.sglang())
    embeds = await described(prober, openai_like.sglang(generates=False))
    assert sees.engine.product == "SGLang"
    assert [(model.capabilities, model.context_length, model.loaded) for model in sees.models] == [
        (("chat", "vision"), 32_768, True)
    ]
    assert [model.capabilities for model in embeds.models] == [("embeddings",)]


async def test_koboldcpp_tells_its_context_and_what_was_loaded(prober: HttpProber) -> None:
    """Flags of its version, and the context that is really there."""
    sighting = await described(prober, openai_like.koboldcpp())
    assert (sighting.engine.product, sighting.engine.version) == ("KoboldCpp", "1.102")
    (model,) = sighting.models
    assert model.name == "koboldcpp/gemma-3-4b-it-Q4_K_M"
    assert model.capabilities == ("chat", "embeddings", "vision")
    assert (model.context_length, model.loaded) == (12_288, True)


async def test_koboldcpp_tells_how_busy_it_is(prober: HttpProber) -> None:
    """One request at a time, and how many wait."""
    adapter = CustomAdapter()
    with openai_like.koboldcpp() as fake:
        assert await adapter.load(prober, fake.address, None) == EngineLoad(
            running=1, waiting=2, slots=1
        )
    with openai_like.sglang() as fake:
        assert await adapter.load(prober, fake.address, None) is None


async def test_another_machine_is_not_asked_how_busy_it_is(prober: HttpProber) -> None:
    """Only one product on this machine would tell."""
    assert await CustomAdapter().load(prober, Address("example.com", 443, tls=True), None) is None


async def test_localai_tells_what_each_model_can_do_and_which_are_loaded(
    prober: HttpProber,
) -> None:
    """One that only hears (transcription) does not chat."""
    sighting = await described(prober, openai_like.localai())
    assert (sighting.engine.product, sighting.engine.version) == ("LocalAI", "v4.9.0")
    assert {
        name: (model.capabilities, model.loaded) for name, model in by_name(sighting).items()
    } == {
        "vlm": (("chat", "vision", "tools"), True),
        "bge": (("embeddings",), False),
        "parakeet": ((), False),
    }


async def test_an_older_localai_tells_nothing_of_its_models(prober: HttpProber) -> None:
    """Both is taken for possible then."""
    sighting = await described(prober, openai_like.localai(tells=False))
    assert sighting.engine.product == "LocalAI"
    assert {model.capabilities for model in sighting.models} == {("chat", "embeddings")}


async def test_lemonade_tells_labels_sizes_and_what_is_in_memory(prober: HttpProber) -> None:
    """Its labels say what a model is for; those without one chat."""
    sighting = await described(prober, openai_like.lemonade())
    assert (sighting.engine.product, sighting.engine.version) == ("Lemonade", "11.7.0")
    models = by_name(sighting)
    assert {name: model.capabilities for name, model in models.items()} == {
        "Qwen3-0.6B-GGUF": ("chat", "reasoning"),
        "Gemma-3-4b-it-GGUF": ("chat", "vision", "tools"),
        "SD-Turbo": ("images",),
        "Whisper-Tiny": (),
        "bge-reranker": ("rerank",),
    }
    qwen = models["Qwen3-0.6B-GGUF"]
    assert (qwen.context_length, qwen.trained_context, qwen.loaded) == (8192, 40_960, True)
    assert (qwen.size_bytes, models["SD-Turbo"].loaded) == (380_000_000, False)


async def test_what_lemonade_sends_elsewhere_is_listed_only_when_wanted(
    prober: HttpProber,
) -> None:
    """Its cloud models are remote though the engine is on this machine."""
    wanted = await described(prober, openai_like.lemonade(), wishes=Wishes(cloud=True))
    assert [model.name for model in wanted.models if model.remote] == ["fireworks.kimi-k2p5"]


async def test_docker_model_runner_is_read_below_its_prefix(prober: HttpProber) -> None:
    """Its own facts lie in `dmr`; what it was trained for is no promise."""
    sighting = await described(prober, openai_like.model_runner(), prefix="/engines")
    (model,) = sighting.models
    assert sighting.engine.product == "Docker Model Runner"
    assert (model.name, model.family) == ("docker.io/ai/llama3.2:latest", "llama")
    assert (model.trained_context, model.context_length) == (131_072, None)
    assert (model.parameters, model.quantization) == ("3.21 B", "IQ2_XXS/Q4_K_M")


async def test_tabbyapi_tells_its_context_and_that_it_sees(prober: HttpProber) -> None:
    """Its `parameters`."""
    sighting = await described(prober, openai_like.tabbyapi())
    (model,) = sighting.models
    assert sighting.engine.product == "TabbyAPI"
    assert (model.capabilities, model.context_length) == (("chat", "vision"), 65_536)


async def test_an_engine_without_a_name_gets_none(prober: HttpProber) -> None:
    """mlx_lm says of nothing whose it is: the fingerprint may know, the list does not."""
    sighting = await described(prober, openai_like.mlx())
    assert sighting.engine.product is None
    assert [model.capabilities for model in sighting.models] == [("chat", "embeddings")]


async def test_what_a_product_does_not_answer_costs_only_that(prober: HttpProber) -> None:
    """The models are listed all the same."""
    silent = openai_like.lemonade()
    silent.fault("/v1/health", instead(response("", "500 Internal Server Error")))
    broken = openai_like.koboldcpp()
    broken.fault("/api/extra/version", broken_json)
    lemonade, kobold = await described(prober, silent), await described(prober, broken)
    assert {model.loaded for model in lemonade.models} == {None}
    assert len(lemonade.models) == 5
    assert [model.capabilities for model in kobold.models] == [("chat", "embeddings")]
    assert isinstance(kobold.engine.state, Healthy)


async def test_the_users_word_counts_before_the_engines(prober: HttpProber) -> None:
    """By the model's name, else for the whole engine."""
    wishes = Wishes(capabilities={"": ("chat",), "SD-Turbo": ("images", "vision")})
    models = by_name(await described(prober, openai_like.lemonade(), wishes=wishes))
    assert models["SD-Turbo"].capabilities == ("images", "vision")
    assert models["Whisper-Tiny"].capabilities == ("chat",)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ("chat",)),
        (("hot", "coding"), ("chat",)),
        (("Vision",), ("chat", "vision")),
        (("tools", "include_reasoning", "temperature"), ("chat", "tools", "reasoning")),
        (("embeddings", "vision"), ("embeddings",)),
        (("chat", "embeddings", "audio-input"), ("chat", "embeddings", "audio")),
        (("tts",), ()),
        (("reranking",), ("rerank",)),
        (("image",), ("images",)),
        (("image-input", "text-input"), ("chat", "vision")),
        (("completion_chat", "function_calling"), ("chat", "tools")),
    ],
)
def test_engines_words_become_capabilities(
    words: tuple[str, ...], expected: tuple[Capability, ...]
) -> None:
    """Abilities belong to what chats; words for nothing FLM knows make no chat model."""
    assert capabilities(words) == expected


def test_nothing_is_searched_for_and_nothing_is_installed() -> None:
    """It is known by its address, or by its fingerprint."""
    adapter = CustomAdapter()
    assert adapter.places(MadeUp()) == ()
    assert adapter.installed(MadeUp()) is None
    assert (adapter.starter, adapter.keeper) == (None, None)


async def test_numbers_beyond_all_bounds_are_none(prober: HttpProber) -> None:
    """They could not be written into the cache or sent to the gateway; the model stays."""
    huge = "1" + "0" * 30
    listed = response(
        f'{{"data":[{{"id":"a","created":{huge},"max_model_len":{huge},"meta":{{"size":{huge}}},'
        f'"max_context_length":-1,"checkpoint":"x","size":1e300}}]}}'
    )
    found = (await describe(prober, {("GET", "/v1/models"): listed})).models
    assert found == (Model(name="a", engine=MINE, capabilities=("chat", "embeddings")),)
