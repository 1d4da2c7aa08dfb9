"""The vLLM adapter against what a real vLLM answered."""

from __future__ import annotations

import pytest

from flm.domain.engines import Address, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.prober import HttpProber
from flm.engines.vllm.adapter import VllmAdapter
from flm.engines.vllm.launch import VllmStarter
from flm.ports.clock import SystemClock
from flm.ports.engines import Installation, Wishes
from support.fakes.base import FakeEngine, as_json, instead
from support.fakes.vllm import NO_ROUTE, VllmFake
from support.machines import MadeUp
from support.replay import response

VLLM = EngineId("vllm")


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def models(prober: HttpProber, fake: FakeEngine) -> list[Model]:
    """What the adapter lists."""
    with fake:
        sighting = await VllmAdapter().describe(prober, VLLM, fake.address, None, Wishes())
    return list(sighting.models)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [("127.0.0.1", 8000), ("::1", 8000)]),
        ({"VLLM_PORT": "8001"}, [("127.0.0.1", 8001), ("::1", 8001), ("127.0.0.1", 8000),
                                 ("::1", 8000)]),
        ({"VLLM_HOST": "127.0.0.2"}, [("127.0.0.2", 8000), ("127.0.0.1", 8000), ("::1", 8000)]),
        ({"VLLM_HOST": "0.0.0.0", "VLLM_PORT": "9"}, [("127.0.0.1", 9), ("::1", 9),
                                                      ("127.0.0.1", 8000), ("::1", 8000)]),
        ({"VLLM_HOST": "gpu.example.com"}, [("127.0.0.1", 8000), ("::1", 8000)]),
        ({"VLLM_PORT": "tcp://10.0.0.3:8000"}, [("127.0.0.1", 8000), ("::1", 8000)]),
    ],
    ids=["nothing set", "port", "host", "all addresses", "another machine", "Kubernetes"],
)  # fmt: skip
def test_it_is_searched_where_its_variables_say(
    environment: dict[str, str], expected: list[tuple[str, int]]
) -> None:
    """And at 8000; only on this machine, where it serves all addresses over loopback."""
    places = VllmAdapter().places(MadeUp(environment=environment))
    assert list(places) == [Address(host, port) for host, port in expected]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (MadeUp(), None),
        (MadeUp(programs={"vllm": "/opt/x/bin/vllm"}), Installation(program="/opt/x/bin/vllm")),
        (MadeUp(files={"/home/you/.local/share/uv/tools/vllm/bin/vllm": ""}),
         Installation(program="/home/you/.local/share/uv/tools/vllm/bin/vllm")),
        (MadeUp(files={"/home/you/miniconda3/envs/a/bin/vllm": "",
                       "/home/you/miniconda3/envs/b/bin/vllm": ""}),
         Installation(program="/home/you/miniconda3/envs/b/bin/vllm")),
        (MadeUp("darwin", files={"/Users/you/.venv/bin/vllm": ""}),
         Installation(program="/Users/you/.venv/bin/vllm")),
        (MadeUp(programs={"vllm": "/usr/local/bin/vllm"}, services=("vllm",)),
         Installation(program="/usr/local/bin/vllm", service="vllm")),
        (MadeUp("win32", programs={"vllm": r"C:\vllm.exe"}), None),
    ],
    ids=["nowhere", "PATH", "uv", "conda", "macOS", "as a service", "Windows"],
)  # fmt: skip
def test_its_program_is_found(machine: MadeUp, expected: Installation | None) -> None:
    """On PATH and in the usual virtual environments; vLLM does not run on Windows."""
    assert VllmAdapter().installed(machine) == expected


async def test_an_embedding_model_does_not_chat(prober: HttpProber) -> None:
    """A route that its model cannot serve is not there."""
    (model,) = await models(prober, VllmFake(embeds=True))
    assert model.capabilities == ("embeddings",)


async def test_tools_are_told_by_the_parser_s_metric(prober: HttpProber) -> None:
    """Without `--tool-call-parser` vLLM refuses them."""
    (model,) = await models(prober, VllmFake(tools=False))
    assert model.capabilities == ("chat",)


async def test_routes_that_say_nothing_clear_leave_it_open(prober: HttpProber) -> None:
    """A proxy that answers 200 to everything tells nothing: chat and embeddings are possible."""
    fake = VllmFake()
    fake.fault("/v1/rerank", instead(response("<html>", content_type="text/html")))
    (model,) = await models(prober, fake)
    assert model.capabilities == ("chat", "embeddings")


async def test_aliases_and_lora_adapters_are_models_of_their_own(prober: HttpProber) -> None:
    """An adapter tells no context and has its base's; a path becomes a name."""
    fake = VllmFake()
    fake.routes["GET", "/v1/models"] = as_json({"object": "list", "data": [
        {"id": "Qwen/Qwen3-8B", "root": "/srv/q", "parent": None, "max_model_len": 8192},
        {"id": "/srv/models/other", "root": "/srv/models/other", "max_model_len": 8192},
        {"id": "sql-lora", "root": "/srv/lora", "parent": "Qwen/Qwen3-8B", "max_model_len": None},
    ]})  # fmt: skip
    found = await models(prober, fake)
    assert [(m.name, m.engine_name, m.context_length) for m in found] == [
        ("Qwen/Qwen3-8B", None, 8192),
        ("other", "/srv/models/other", 8192),
        ("sql-lora", None, 8192),
    ]


async def test_the_time_of_the_question_is_no_age(prober: HttpProber) -> None:
    """`created` is when it was asked."""
    (model,) = await models(prober, VllmFake())
    assert model.created == 0


async def test_its_load_sums_the_cores_and_takes_the_fullest_cache(prober: HttpProber) -> None:
    """The waiting by reason is no second queue."""
    with VllmFake() as fake:
        fake.running, fake.waiting, fake.cache = (1, 2, 3), (0, 0, 7), (0.1, 0.9, 0.5)
        load = await VllmAdapter().load(prober, fake.address, None)
    assert load == EngineLoad(running=6, waiting=7, cache_usage=0.9)


async def test_the_cache_s_older_name_is_known(prober: HttpProber) -> None:
    """Before 0.9 it was the GPU's."""
    text = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.25\n"
    with FakeEngine({("GET", "/metrics"): response(text, content_type="text/plain")}) as fake:
        load = await VllmAdapter().load(prober, fake.address, None)
    assert load == EngineLoad(running=1, cache_usage=0.25)


async def test_without_metrics_nothing_is_told(prober: HttpProber) -> None:
    """`--disable-log-stats`, or a proxy that hides them."""
    with FakeEngine({("GET", "*"): NO_ROUTE}) as fake:
        assert await VllmAdapter().load(prober, fake.address, None) is None


def test_it_is_started_by_its_own_starter_and_keeps_its_models() -> None:
    """One model a server: nobody changes it from outside."""
    assert isinstance(VllmAdapter().starter, VllmStarter)
    assert VllmAdapter().keeper is None
