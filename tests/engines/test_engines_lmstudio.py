"""The LM Studio adapter against what its documents show, of every version that differs."""

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
from flm.domain.models import Model
from flm.engines.lmstudio.adapter import LmStudioAdapter
from flm.engines.lmstudio.detect import addresses_in
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Installation, Sighting, Wishes
from support.fakes.base import broken_json, instead, wrong_content_type
from support.fakes.lmstudio import LmStudioFake
from support.machines import MadeUp
from support.replay import response

LMSTUDIO = EngineId("lmstudio")
BOTH = (Address("127.0.0.1", 4711), Address("::1", 4711))


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def describe(
    prober: HttpProber, fake: LmStudioFake, key: str | None = None, wishes: Wishes | None = None
) -> Sighting:
    """What the adapter makes of that server."""
    return await LmStudioAdapter().describe(prober, LMSTUDIO, fake.address, key, wishes or Wishes())


def by_name(sighting: Sighting) -> dict[str, Model]:
    """The models by their names."""
    return {model.name: model for model in sighting.models}


async def test_its_own_list_tells_everything_of_a_model(prober: HttpProber) -> None:
    """Version 0.4: what it is, what it can do, how it is loaded."""
    with LmStudioFake() as fake:
        sighting = await describe(prober, fake)
    assert isinstance(sighting.engine.state, Healthy)
    assert (sighting.engine.kind, sighting.engine.version) == ("lmstudio", None)
    assert sighting.models == (
        Model(
            name="google/gemma-3-4b",
            engine=LMSTUDIO,
            capabilities=("chat", "vision"),
            trained_context=131_072,
            size_bytes=3_341_410_208,
            quantization="Q4_0",
            family="gemma3",
            loaded=False,
            parameters="4B",
        ),
        Model(
            name="openai/gpt-oss-20b",
            engine=LMSTUDIO,
            capabilities=("chat", "tools", "reasoning"),
            context_length=16_384,
            trained_context=131_072,
            size_bytes=12_109_567_562,
            quantization="MXFP4",
            family="gpt_oss",
            loaded=True,
            parameters="20B",
        ),
        Model(
            name="text-embedding-nomic-embed-text-v1.5",
            engine=LMSTUDIO,
            capabilities=("embeddings",),
            trained_context=2048,
            size_bytes=274_290_560,
            quantization="F16",
            loaded=False,
        ),
    )


async def test_a_model_loaded_twice_gives_the_smaller_context(prober: HttpProber) -> None:
    """Which copy answers is not ours to choose, so only the smaller one is promised."""
    with LmStudioFake() as fake:
        fake.models["openai/gpt-oss-20b"]["loaded_instances"] = [
            {"id": "openai/gpt-oss-20b", "config": {"context_length": 16384}},
            {"id": "openai/gpt-oss-20b:2", "config": {"context_length": 4096}},
        ]
        models = by_name(await describe(prober, fake))
    assert models["openai/gpt-oss-20b"].context_length == 4096


async def test_version_0_3_tells_most_of_it(prober: HttpProber) -> None:
    """`/api/v0`: it answers 200 and an error to `/api/v1`, which is no list."""
    with LmStudioFake(apis=("/api/v0",)) as fake:
        models = by_name(await describe(prober, fake))
    llama = models["meta-llama-3.1-8b-instruct"]
    assert llama.capabilities == ("chat", "tools")
    assert (llama.loaded, llama.context_length, llama.trained_context) == (True, 4096, 131_072)
    assert (llama.family, llama.quantization) == ("llama", "Q4_K_M")
    assert models["qwen2-vl-7b-instruct"].capabilities == ("chat", "vision")
    assert models["text-embedding-nomic-embed-text-v1.5"].capabilities == ("embeddings",)


async def test_older_versions_tell_names_only(prober: HttpProber) -> None:
    """Then what it calls `text-embedding-…` embeds, by its own rule."""
    with LmStudioFake(apis=()) as fake:
        sighting = await describe(prober, fake)
    assert isinstance(sighting.engine.state, Healthy)
    assert {model.name: model.capabilities for model in sighting.models} == {
        "google/gemma-3-4b": ("chat",),
        "openai/gpt-oss-20b": ("chat",),
        "text-embedding-nomic-embed-text-v1.5": ("embeddings",),
    }
    assert {model.loaded for model in sighting.models} == {None}


async def test_without_loading_on_request_only_loaded_models_can_be_asked(
    prober: HttpProber,
) -> None:
    """Its OpenAI list then holds what is in memory, which tells that the switch is off."""
    with LmStudioFake(jit=False) as fake:
        off = by_name(await describe(prober, fake))
    with LmStudioFake() as fake:
        on = by_name(await describe(prober, fake))
    assert {name: model.by_hand for name, model in off.items()} == {
        "google/gemma-3-4b": True,
        "openai/gpt-oss-20b": False,
        "text-embedding-nomic-embed-text-v1.5": True,
    }
    assert {model.by_hand for model in on.values()} == {False}


async def test_a_server_that_wants_a_token_needs_a_key(prober: HttpProber) -> None:
    """With "Require Authentication" on; with the token all is well."""
    with LmStudioFake(token="sk-lm-1") as fake:
        locked = await describe(prober, fake)
        opened = await describe(prober, fake, "sk-lm-1")
    assert locked.engine.state == ApiError("needs_key")
    assert locked.models == ()
    assert isinstance(opened.engine.state, Healthy)
    assert len(opened.models) == 3


async def test_the_users_word_on_what_a_model_can_do_counts(prober: HttpProber) -> None:
    """In place of its own."""
    wishes = Wishes(capabilities={"google/gemma-3-4b": ("chat", "tools")})
    with LmStudioFake() as fake:
        models = by_name(await describe(prober, fake, wishes=wishes))
    assert models["google/gemma-3-4b"].capabilities == ("chat", "tools")
    assert models["openai/gpt-oss-20b"].capabilities == ("chat", "tools", "reasoning")


@pytest.mark.parametrize("fault", [wrong_content_type, instead(response('{"models":7}'))])
async def test_what_is_no_list_is_an_api_error(prober: HttpProber, fault: object) -> None:
    """It answers 200 to everything, so a list must be a list."""
    with LmStudioFake(apis=()) as fake:
        fake.fault("/v1/models", fault)  # type: ignore[arg-type] # each is a Fault
        sighting = await describe(prober, fake)
    assert sighting.engine.state == ApiError("its list of models cannot be read")


async def test_a_broken_list_costs_what_only_it_tells(prober: HttpProber) -> None:
    """The next list is read then."""
    with LmStudioFake() as fake:
        fake.fault("/api/v1/models", broken_json)
        models = by_name(await describe(prober, fake))
    assert "meta-llama-3.1-8b-instruct" in models


async def test_one_odd_model_does_not_cost_the_others(prober: HttpProber) -> None:
    """An entry of another shape is left out."""
    with LmStudioFake() as fake:
        fake.models["google/gemma-3-4b"]["loaded_instances"] = "none"
        models = by_name(await describe(prober, fake))
    assert "google/gemma-3-4b" not in models
    assert len(models) == 2


async def test_a_busy_server_is_degraded_and_a_closed_port_is_a_network_error(
    prober: HttpProber,
) -> None:
    """As with every engine."""
    with LmStudioFake() as fake:
        fake.fault("*", instead(response("", "503 Service Unavailable")))
        busy = await describe(prober, fake)
    assert isinstance(busy.engine.state, Degraded)
    assert (await describe(prober, fake)).engine.state == NetworkError("connection refused", 1)


async def test_it_tells_how_many_requests_its_models_answer_at_once(prober: HttpProber) -> None:
    """`parallel` of what is loaded; with nothing loaded nothing is told."""
    adapter = LmStudioAdapter()
    with LmStudioFake() as fake:
        assert await adapter.load(prober, fake.address, None) == EngineLoad(slots=4)
        fake.models["openai/gpt-oss-20b"]["loaded_instances"] = []
        assert await adapter.load(prober, fake.address, None) is None
    with LmStudioFake(apis=()) as fake:
        assert await adapter.load(prober, fake.address, None) is None


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("", ()),
        ("localhost:4711", BOTH),
        ("0.0.0.0:4711", BOTH),
        ("127.0.0.1:4711", (Address("127.0.0.1", 4711),)),
        ("[::1]:4711", (Address("::1", 4711),)),
        ("http://127.0.0.1:4711/v1", (Address("127.0.0.1", 4711),)),
        ("127.0.0.1", (Address("127.0.0.1", 1234),)),
        ("127.0.0.1:99999", ()),
        ("192.168.1.5:1234", ()),
        ("https://127.0.0.1:1234", ()),
        ("what is this", ()),
    ],
)
def test_its_variable_names_a_place_on_this_machine(
    variable: str, expected: tuple[Address, ...]
) -> None:
    """`LMSTUDIO_API_HOST` is `host:port`; people also write URLs."""
    assert addresses_in(variable) == expected


def test_places_are_the_variable_its_own_settings_and_the_usual_port() -> None:
    """It remembers the last port it was told to use."""
    settings = "/home/you/.lmstudio/.internal/http-server-config.json"
    machine = MadeUp(
        environment={"LMSTUDIO_API_HOST": "127.0.0.1:4711"}, files={settings: '{"port":4712}'}
    )
    assert [(each.host, each.port) for each in LmStudioAdapter().places(machine)] == [
        ("127.0.0.1", 4711),
        ("127.0.0.1", 4712),
        ("::1", 4712),
        ("127.0.0.1", 1234),
        ("::1", 1234),
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"port":"x"}', '{"port":0}', '{"port":70000}', "["])
def test_settings_that_cannot_be_read_say_nothing(text: str) -> None:
    """The usual port is left."""
    machine = MadeUp(files={"/home/you/.lmstudio/.internal/http-server-config.json": text})
    assert {each.port for each in LmStudioAdapter().places(machine)} == {1234}


@pytest.mark.parametrize(
    ("machine", "program"),
    [
        (MadeUp(), None),
        (MadeUp(files={"/home/you/.lmstudio/bin/lms": ""}), "/home/you/.lmstudio/bin/lms"),
        (
            MadeUp(
                files={
                    "/home/you/.lmstudio-home-pointer": "/data/lmstudio\n",
                    "/data/lmstudio/bin/lms": "",
                }
            ),
            "/data/lmstudio/bin/lms",
        ),
        (
            MadeUp(files={"/home/you/.cache/lm-studio/bin/lms": ""}),
            "/home/you/.cache/lm-studio/bin/lms",
        ),
        (MadeUp(programs={"lms": "/usr/bin/lms"}), None),
        (MadeUp(programs={"lms": "/opt/LM-Studio/bin/lms"}), "/opt/LM-Studio/bin/lms"),
        (
            MadeUp(
                files={
                    "/home/you/Applications/LM-Studio-0.4.1-x64.AppImage": "",
                    "/home/you/Applications/LM-Studio-0.4.2-x64.AppImage": "",
                }
            ),
            "/home/you/Applications/LM-Studio-0.4.2-x64.AppImage",
        ),
        (
            MadeUp("darwin", folders=("/Applications/LM Studio.app",)),
            "/Applications/LM Studio.app",
        ),
        (
            MadeUp(
                "darwin",
                folders=("/Applications/LM Studio.app",),
                files={"/Users/you/.lmstudio/bin/lms": ""},
            ),
            "/Users/you/.lmstudio/bin/lms",
        ),
        (
            MadeUp(
                "win32",
                environment={"LOCALAPPDATA": r"C:\Users\you\AppData\Local"},
                files={r"C:\Users\you\AppData\Local\Programs\LM Studio\LM Studio.exe": ""},
            ),
            r"C:\Users\you\AppData\Local\Programs\LM Studio\LM Studio.exe",
        ),
        (
            MadeUp("win32", files={r"C:\Users\you\.lmstudio\bin\lms.exe": ""}),
            r"C:\Users\you\.lmstudio\bin\lms.exe",
        ),
    ],
    ids=[
        "nowhere", "lms", "a folder of one's own", "an old folder", "another program called lms",
        "lms on PATH", "AppImage", "macOS app", "macOS", "Windows app", "Windows",
    ],
)  # fmt: skip
def test_its_program_is_found_without_running_it(machine: MadeUp, program: str | None) -> None:
    """`lms` before the app, because only `lms` can be told to start the server."""
    expected = None if program is None else Installation(program=program)
    assert LmStudioAdapter().installed(machine) == expected


async def test_numbers_beyond_all_bounds_are_none(prober: HttpProber) -> None:
    """They could not be written into the cache or sent to the gateway."""
    with LmStudioFake() as fake:
        fake.models["google/gemma-3-4b"] |= {"size_bytes": 10**30, "max_context_length": -1}
        gemma = by_name(await describe(prober, fake))["google/gemma-3-4b"]
    assert (gemma.size_bytes, gemma.trained_context) == (None, None)
