"""The Ollama adapter against what a real Ollama answered, and against its emulators."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec
import pytest

from flm.domain.engines import Address, ApiError, Degraded, EngineId, Healthy, NetworkError
from flm.domain.models import Model
from flm.engines.ollama.adapter import OllamaAdapter
from flm.engines.ollama.detect import addresses_in
from flm.engines.ollama.models import capabilities, tags
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Sighting
from support import engines
from support.replay import Answer, ReplayServer, Reply, response

OLLAMA = EngineId("ollama")


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(
    prober: HttpProber,
    routes: dict[tuple[str, str], Reply],
    context: Mapping[str, int] | None = None,
) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await OllamaAdapter().describe(prober, OLLAMA, server.address, None, context or {})


def by_name(sighting: Sighting) -> dict[str, Model]:
    """The models by their names."""
    return {model.name: model for model in sighting.models}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("", ()),
        ("127.0.0.1", (Address("127.0.0.1", 11434),)),
        ("127.0.0.1:8080", (Address("127.0.0.1", 8080),)),
        ("http://127.0.0.1", (Address("127.0.0.1", 80),)),
        ("http://127.0.0.1:4711/", (Address("127.0.0.1", 4711),)),
        ("127.0.0.1:4711/deep/", (Address("127.0.0.1", 4711, "/deep"),)),
        ("https://127.0.0.1", ()),
        ("0.0.0.0", (Address("127.0.0.1", 11434), Address("::1", 11434))),
        ("0.0.0.0:4711", (Address("127.0.0.1", 4711), Address("::1", 4711))),
        (":4711", (Address("127.0.0.1", 4711), Address("::1", 4711))),
        ("localhost:4711", (Address("127.0.0.1", 4711), Address("::1", 4711))),
        ("[::]:4711", (Address("127.0.0.1", 4711), Address("::1", 4711))),
        ("[::1]:4711", (Address("::1", 4711),)),
        ("[::1]", (Address("::1", 11434),)),
        ("::1", (Address("::1", 11434),)),
        ("127.0.0.1:port", (Address("127.0.0.1", 11434),)),
        ("127.0.0.1:70000", (Address("127.0.0.1", 11434),)),
        ('  "127.0.0.1:4711" ', (Address("127.0.0.1", 4711),)),
        ("192.168.1.5:11434", ()),
        ("example.com", ()),
        ("ollama.com", ()),
        ("http://", (Address("127.0.0.1", 80), Address("::1", 80))),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(
    variable: str, expected: tuple[Address, ...]
) -> None:
    """Default ports by scheme, wildcards as loopback, other machines not at all."""
    assert addresses_in(variable) == expected


def test_the_variable_comes_before_the_usual_port_and_nothing_comes_twice() -> None:
    """Both loopback addresses are tried, each once."""
    candidates = OllamaAdapter().candidates({"OLLAMA_HOST": "[::1]:11434"})
    assert candidates == (Address("::1", 11434), Address("127.0.0.1", 11434))


async def test_a_real_ollama_is_recognised(prober: HttpProber) -> None:
    """By its greeting, its version and its list of loaded models."""
    with ReplayServer(engines.ollama()) as server:
        assert await OllamaAdapter().recognise(prober, server.address)
    assert {seen.method for seen in server.seen} == {"GET"}


@pytest.mark.parametrize(
    "routes",
    [
        engines.lm_studio(),
        engines.koboldcpp(),
        engines.llamacpp(),
        engines.vllm(),
        engines.greeter("0.7.0"),
        engines.greeter("0.1.0"),
        engines.greeter("1.0.0", **{"/api/npu/status": '{"npu_available":true}'}),
        engines.greeter("0.9.0", **{"/api/npu/status": '{"npu_available":true}'}),
        engines.greeter("0.9.0", **{"/.well-known/localai.json": '{"version":"v3"}'}),
        engines.greeter("latest"),
        engines.ollama(root=response("Docker Model Runner is running", content_type="text/plain")),
        engines.ollama(version=response('{"detail":"Not Found"}', "404 Not Found")),
        engines.ollama(ps=response("<html>")),
        engines.ollama(ps=response("[" * 100_000)),
    ],
    ids=[
        "LM Studio", "KoboldCpp", "llama.cpp", "vLLM", "KoboldCpp's version", "DMR's version",
        "FastFlowLM", "a newer FastFlowLM", "LocalAI", "no version", "DMR's greeting", "SGLang",
        "a proxy's page", "deep JSON",
    ],
)  # fmt: skip
async def test_an_emulator_is_not_taken_for_ollama(
    prober: HttpProber, routes: dict[tuple[str, str], Reply]
) -> None:
    """What answers some of Ollama's paths is judged by all of them."""
    with ReplayServer(routes) as server:
        assert not await OllamaAdapter().recognise(prober, server.address)


async def test_state_version_and_address_are_told(prober: HttpProber) -> None:
    """A running Ollama is healthy."""
    with ReplayServer(engines.ollama()) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, {})
    assert isinstance(sighting.engine.state, Healthy)
    assert sighting.engine.version == "0.33.0-rc2"
    assert sighting.engine.address == server.address
    assert sighting.engine.detail == ""


async def test_models_can_do_what_their_tags_tell(prober: HttpProber) -> None:
    """Ollama's words become FLM's; nothing is asked twice."""
    with ReplayServer(engines.ollama()) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, {})
    assert {name: model.capabilities for name, model in by_name(sighting).items()} == {
        "scripted-think:latest": ("chat", "reasoning"),
        "tiny-embed:latest": ("embeddings",),
        "scripted-tools:latest": ("chat", "tools"),
        "tiny:latest": ("chat",),
    }
    assert [seen for seen in server.seen if seen.method == "POST"] == []


async def test_a_loaded_model_shows_the_context_it_was_loaded_with(prober: HttpProber) -> None:
    """Of a model that is not loaded the effective context is unknown: the trained one is none."""
    models = by_name(await describe(prober, engines.ollama()))
    tiny, thinking = models["tiny:latest"], models["scripted-think:latest"]
    assert (tiny.loaded, tiny.context_length, tiny.trained_context) == (True, 2048, 2048)
    assert (thinking.loaded, thinking.context_length) == (False, None)
    assert thinking.trained_context == 2048


async def test_the_context_that_was_set_is_the_effective_one(prober: HttpProber) -> None:
    """For the model (with or without :latest) before the engine before what is loaded."""
    context = {"": 512, "tiny": 1024, "tiny-embed:latest": 256}
    models = by_name(await describe(prober, engines.ollama(), context))
    assert {name: model.context_length for name, model in models.items()} == {
        "scripted-think:latest": 512,
        "tiny-embed:latest": 256,
        "scripted-tools:latest": 512,
        "tiny:latest": 1024,
    }


async def test_size_family_quantization_and_age_are_told(prober: HttpProber) -> None:
    """What `/api/tags` says of a model's file."""
    tiny = by_name(await describe(prober, engines.ollama()))["tiny:latest"]
    assert (tiny.size_bytes, tiny.family, tiny.quantization) == (519928, "llama", "F32")
    assert tiny.created == 1795261263  # 2026-11-21T11:41:03Z
    assert tiny.target == "ollama/tiny:latest"


@pytest.mark.parametrize(
    "model",
    [
        {
            "name": "gpt-oss:120b",
            "remote_host": "https://ollama.com:443",
            "remote_model": "gpt-oss",
        },
        {"name": "gpt-oss:120b-cloud"},
        {"name": "kimi:cloud"},
    ],
)
async def test_cloud_models_are_left_out_and_counted(
    prober: HttpProber, model: dict[str, str]
) -> None:
    """Prompts to them would leave the machine; the engine's detail says that there are some."""
    listed = {
        "models": [model | {"capabilities": ["completion"]}, {"name": "near", "capabilities": []}]
    }
    sighting = await describe(prober, engines.ollama(tags=response(msgspec.json.encode(listed))))
    assert [each.name for each in sighting.models] == ["near"]
    assert sighting.engine.detail == "1 cloud model left out: prompts would leave this machine"


async def test_an_old_ollama_is_asked_model_by_model(prober: HttpProber) -> None:
    """Without capabilities in the list, `/api/show` tells them."""
    old = response('{"models":[{"name":"tiny:latest","details":{"family":"llama"}}]}')
    with ReplayServer(engines.ollama(tags=old)) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, {})
    (tiny,) = sighting.models
    assert tiny.capabilities == ("tools", "chat")
    assert tiny.trained_context == 2048
    assert [seen.body for seen in server.seen if seen.method == "POST"] == [
        b'{"model":"tiny:latest"}'
    ]


async def test_a_show_that_never_answers_costs_only_the_capabilities(prober: HttpProber) -> None:
    """The models are listed all the same, as chat models."""
    old = response('{"models":[{"name":"a"},{"name":"b","details":{"family":"nomic-bert"}}]}')
    stuck = Answer(b"", hold=threading.Event())
    sighting = await describe(prober, engines.ollama(tags=old, show=stuck))
    assert {model.name: model.capabilities for model in sighting.models} == {
        "a": ("chat",),
        "b": ("embeddings",),
    }


def test_unknown_capabilities_are_no_fault() -> None:
    """What FLM has no word for (insert, image) is left out."""
    (tag,) = (
        tags(b'{"models":[{"name":"x","capabilities":["insert","completion","vision"]}]}') or []
    )
    assert capabilities(tag, None) == ("chat", "vision")


async def test_one_odd_entry_does_not_cost_the_list(prober: HttpProber) -> None:
    """An entry of another shape is left out, the rest stays."""
    odd = response('{"models":[{"name":7},{"name":"good","capabilities":["completion"]},null]}')
    sighting = await describe(prober, engines.ollama(tags=odd))
    assert [model.name for model in sighting.models] == ["good"]


async def test_no_models_is_a_healthy_engine_without_models(prober: HttpProber) -> None:
    """`{"models":null}` is what an Ollama without models may say."""
    sighting = await describe(prober, engines.ollama(tags=response('{"models":null}')))
    assert isinstance(sighting.engine.state, Healthy)
    assert sighting.models == ()


async def test_a_list_that_cannot_be_read_is_an_api_error(prober: HttpProber) -> None:
    """It answers, but not as an engine does."""
    sighting = await describe(prober, engines.ollama(tags=response("<html>")))
    assert sighting.engine.state == ApiError("its list of models cannot be read")


async def test_something_else_at_that_address_is_an_api_error(prober: HttpProber) -> None:
    """An added address where LM Studio answers."""
    sighting = await describe(prober, engines.lm_studio())
    assert sighting.engine.state == ApiError("no Ollama answers there")


async def test_a_proxy_that_wants_a_key_needs_a_key(prober: HttpProber) -> None:
    """401 is named, so that the remedy can be."""
    locked: dict[tuple[str, str], Reply] = {("GET", "*"): response("{}", "401 Unauthorized")}
    sighting = await describe(prober, locked)
    assert sighting.engine.state == ApiError("needs_key")


async def test_a_busy_ollama_is_degraded(prober: HttpProber) -> None:
    """503 on the list: it runs, and requests may still be sent."""
    busy = response('{"error":"server busy"}', "503 Service Unavailable")
    sighting = await describe(prober, engines.ollama(tags=busy))
    assert isinstance(sighting.engine.state, Degraded)


async def test_nobody_there_is_a_network_error(prober: HttpProber) -> None:
    """A closed port gives the reason and no models."""
    with ReplayServer({}) as server:
        gone = server.address
    sighting = await OllamaAdapter().describe(prober, OLLAMA, gone, None, {})
    assert sighting.engine.state == NetworkError("connection refused", 1)
    assert sighting.models == ()


async def test_a_list_that_arrives_byte_by_byte_is_the_same_list(prober: HttpProber) -> None:
    """Where the network cuts says nothing."""
    data = engines.recorded(engines.OLLAMA, "tags")
    pieces = Answer(data, split=tuple(range(0, len(data), 7)))
    assert (await describe(prober, engines.ollama(tags=pieces))).models == (
        await describe(prober, engines.ollama())
    ).models
