"""The Ollama adapter against what a real Ollama answered."""

from __future__ import annotations

import threading

import msgspec
import pytest

from flm.domain.engines import Address, ApiError, Degraded, EngineId, Healthy, NetworkError
from flm.domain.models import Model
from flm.engines.ollama.adapter import OllamaAdapter
from flm.engines.ollama.detect import addresses_in
from flm.engines.ollama.models import capabilities, tags
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Installation, Sighting, Wishes
from support import engines
from support.fakes.ollama import OllamaFake
from support.machines import MadeUp
from support.replay import Answer, ReplayServer, Reply, response

OLLAMA = EngineId("ollama")
NO_WISHES = Wishes()


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(
    prober: HttpProber,
    routes: dict[tuple[str, str], Reply],
    wishes: Wishes = NO_WISHES,
) -> Sighting:
    """What the adapter makes of a server with those answers."""
    with ReplayServer(routes) as server:
        return await OllamaAdapter().describe(prober, OLLAMA, server.address, None, wishes)


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
    places = OllamaAdapter().places(MadeUp(environment={"OLLAMA_HOST": "[::1]:11434"}))
    assert places == (Address("::1", 11434), Address("127.0.0.1", 11434))


async def test_state_version_and_address_are_told(prober: HttpProber) -> None:
    """A running Ollama is healthy."""
    with ReplayServer(engines.ollama()) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, NO_WISHES)
    assert isinstance(sighting.engine.state, Healthy)
    assert sighting.engine.version == "0.33.0-rc2"
    assert sighting.engine.address == server.address
    assert sighting.engine.detail == ""


async def test_models_can_do_what_their_tags_tell(prober: HttpProber) -> None:
    """Ollama's words become FLM's; nothing is asked twice."""
    with ReplayServer(engines.ollama()) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, NO_WISHES)
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
    wishes = Wishes(contexts={"": 512, "tiny": 1024, "tiny-embed:latest": 256})
    models = by_name(await describe(prober, engines.ollama(), wishes))
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
    assert tiny.parameters == "128K"
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
    """Prompts to them would leave the machine; a finding says that there are some."""
    listed = {
        "models": [model | {"capabilities": ["completion"]}, {"name": "near", "capabilities": []}]
    }
    sighting = await describe(prober, engines.ollama(tags=response(msgspec.json.encode(listed))))
    assert [each.name for each in sighting.models] == ["near"]
    (finding,) = sighting.engine.findings
    assert (finding.code, finding.level) == ("cloud_models_left_out", "note")
    assert finding.values == {"count": "1"}


async def test_an_old_ollama_is_asked_model_by_model(prober: HttpProber) -> None:
    """Without capabilities in the list, `/api/show` tells them."""
    old = response('{"models":[{"name":"tiny:latest","details":{"family":"llama"}}]}')
    with ReplayServer(engines.ollama(tags=old)) as server:
        sighting = await OllamaAdapter().describe(prober, OLLAMA, server.address, None, NO_WISHES)
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
    """What FLM has no word for (insert) is left out."""
    told = '["insert","completion","vision","audio","image"]'
    (tag,) = tags(f'{{"models":[{{"name":"x","capabilities":{told}}}]}}'.encode()) or []
    assert capabilities(tag, None) == ("chat", "vision", "audio", "images")


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
    sighting = await OllamaAdapter().describe(prober, OLLAMA, gone, None, NO_WISHES)
    assert sighting.engine.state == NetworkError("connection refused", 1)
    assert sighting.models == ()


async def test_a_list_that_arrives_byte_by_byte_is_the_same_list(prober: HttpProber) -> None:
    """Where the network cuts says nothing."""
    data = engines.recorded(engines.OLLAMA, "tags")
    pieces = Answer(data, split=tuple(range(0, len(data), 7)))
    assert (await describe(prober, engines.ollama(tags=pieces))).models == (
        await describe(prober, engines.ollama())
    ).models


async def test_cloud_models_that_are_wanted_are_marked(prober: HttpProber) -> None:
    """Listed with what they can do, and as remote; the others stay local."""
    with OllamaFake(cloud=["gpt-oss:120b-cloud"]) as fake:
        sighting = await OllamaAdapter().describe(
            prober, OLLAMA, fake.address, None, Wishes(cloud=True)
        )
    models = by_name(sighting)
    cloud = models["gpt-oss:120b-cloud"]
    assert cloud.remote
    assert cloud.capabilities == ("chat", "tools", "reasoning")
    assert (cloud.context_length, cloud.trained_context) == (131072, 131072)
    assert [model.name for model in sighting.models if model.remote] == ["gpt-oss:120b-cloud"]
    assert sighting.engine.findings == ()


async def test_what_the_user_says_a_model_can_do_counts(prober: HttpProber) -> None:
    """In place of what Ollama tells, by the name with or without its tag."""
    wishes = Wishes(capabilities={"tiny": ("chat", "tools"), "tiny-embed:latest": ("rerank",)})
    models = by_name(await describe(prober, engines.ollama(), wishes))
    assert models["tiny:latest"].capabilities == ("chat", "tools")
    assert models["tiny-embed:latest"].capabilities == ("rerank",)
    assert models["scripted-think:latest"].capabilities == ("chat", "reasoning")


async def test_an_old_ollama_is_asked_once_for_each_file(prober: HttpProber) -> None:
    """A look every few seconds does not ask again what a digest has answered."""
    adapter = OllamaAdapter()
    with OllamaFake(old=True) as fake:
        first = await adapter.describe(prober, OLLAMA, fake.address, None, NO_WISHES)
        asked = len(fake.asked("/api/show"))
        second = await adapter.describe(prober, OLLAMA, fake.address, None, NO_WISHES)
        assert (asked, len(fake.asked("/api/show"))) == (4, 4)
    assert first.models == second.models
    assert by_name(first)["tiny:latest"].trained_context == 2048


async def test_ollama_tells_nobody_how_busy_it_is(prober: HttpProber) -> None:
    """There is no number to read, so none is made up."""
    with OllamaFake() as fake:
        assert await OllamaAdapter().load(prober, fake.address, None) is None
    assert fake.seen == []


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (MadeUp(), None),
        (
            MadeUp(programs={"ollama": "/usr/local/bin/ollama"}, services=("ollama",)),
            Installation(program="/usr/local/bin/ollama", service="ollama"),
        ),
        (
            MadeUp(files={"/home/you/.local/bin/ollama": ""}),
            Installation(program="/home/you/.local/bin/ollama"),
        ),
        (
            MadeUp("darwin", files={"/Applications/Ollama.app/Contents/Resources/ollama": ""}),
            Installation(
                program="/Applications/Ollama.app/Contents/Resources/ollama",
                managed_by="Ollama.app",
            ),
        ),
        (
            MadeUp(
                "darwin",
                programs={"ollama": "/usr/local/bin/ollama"},
                folders=("/Applications/Ollama.app",),
            ),
            Installation(program="/usr/local/bin/ollama", managed_by="Ollama.app"),
        ),
        (
            MadeUp(
                "darwin",
                programs={"ollama": "/opt/homebrew/bin/ollama"},
                folders=("/Applications/Ollama.app",),
                services=("homebrew.mxcl.ollama",),
            ),
            Installation(program="/opt/homebrew/bin/ollama", service="homebrew.mxcl.ollama"),
        ),
        (
            MadeUp(
                "win32",
                environment={"LOCALAPPDATA": r"C:\Users\you\AppData\Local"},
                files={
                    r"C:\Users\you\AppData\Local\Programs\Ollama\ollama.exe": "",
                    r"C:\Users\you\AppData\Local\Programs\Ollama\ollama app.exe": "",
                },
            ),
            Installation(
                program=r"C:\Users\you\AppData\Local\Programs\Ollama\ollama.exe",
                managed_by="ollama app.exe",
            ),
        ),
        (
            MadeUp("win32", programs={"ollama": r"D:\tools\ollama.exe"}),
            Installation(program=r"D:\tools\ollama.exe"),
        ),
    ],
    ids=["nowhere", "service", "own folder", "app", "app's link", "Homebrew", "Windows app", "zip"],
)
def test_its_program_is_found_with_what_keeps_it_running(
    machine: MadeUp, expected: Installation | None
) -> None:
    """A service or a desktop app starts an Ollama again that somebody stops."""
    assert OllamaAdapter().installed(machine) == expected


async def test_a_number_beyond_all_bounds_costs_its_model(prober: HttpProber) -> None:
    """It could not be written into the cache or sent to the gateway."""
    tags_ = response('{"models":[{"name":"a","size":1000000000000000000000},{"name":"b"}]}')
    sighting = await describe(prober, engines.ollama(tags=tags_))
    assert [model.name for model in sighting.models] == ["b"]
