"""The ladder: every engine under its true name, and nothing else taken for one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flm.domain.engines import Address
from flm.engines.fingerprint import identify, instance_at
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Identity
from support import engines
from support.fakes import emulators
from support.fakes.base import Routes, as_json
from support.replay import Answer, ReplayServer, recorded, response

WEBUI, VLLM, VLLM_KEY = engines.WEBUI, engines.VLLM, engines.VLLM_KEY
NEVER = threading.Event()


async def told(routes: Routes, key: str | None = None) -> Identity | None:
    """Who answers like that."""
    with ReplayServer(routes) as server:
        return await identify(HttpProber(SystemClock()), server.address, key)


def vllm(**changed: bytes) -> Routes:
    """vLLM 0.32.0 as recorded."""
    return {**engines.vllm(), ("GET", "/version"): recorded(VLLM, "get-version")}


def locked_vllm() -> Routes:
    """The same with `--api-key`."""
    return {
        ("GET", "/v1/models"): recorded(VLLM_KEY, "noauth-get-models"),
        ("GET", "/version"): recorded(VLLM_KEY, "noauth-get-version"),
        ("GET", "/metrics"): recorded(VLLM_KEY, "noauth-get-metrics"),
        ("GET", "*"): recorded(VLLM, "get-root"),
    }


def text_generation_webui() -> Routes:
    """text-generation-webui 4.7.3 as recorded."""
    return {
        ("GET", "/v1/internal/model/info"): recorded(WEBUI, "get-internal-model-info"),
        ("GET", "/v1/models"): recorded(WEBUI, "get-models"),
        ("GET", "*"): recorded(WEBUI, "get-props"),
    }


def lm_studio() -> Routes:
    """LM Studio with one model: 200 to every path."""
    listed = as_json({"object": "list", "data": [{"id": "m", "object": "model"}]})
    return {**engines.lm_studio(), ("GET", "/v1/models"): listed}


async def test_the_main_engines_are_told_by_what_was_recorded_of_them() -> None:
    """Kind, name and version."""
    found = [
        await told(routes)
        for routes in (
            engines.ollama(), engines.llamacpp(), vllm(), text_generation_webui(), lm_studio(),
        )
    ]  # fmt: skip
    assert [(each.kind, each.product, each.version) for each in found if each] == [
        ("ollama", "Ollama", "0.33.0-rc2"),
        ("llamacpp", "llama.cpp", "b0-unknown"),
        ("vllm", "vLLM", "0.32.0"),
        ("text-generation-webui", "text-generation-webui", None),
        ("lmstudio", "LM Studio", None),
    ]
    assert not any(each.locked or each.loading for each in found if each)


@pytest.mark.parametrize("name", emulators.CUSTOM)
async def test_other_products_keep_their_true_names(name: str) -> None:
    """Most of them speak Ollama's API, some llama.cpp's or vLLM's too."""
    product, routes = emulators.CUSTOM[name]
    found = await told(routes)
    assert found is not None
    assert (found.kind, found.product, found.locked) == ("custom", product, False)


@pytest.mark.parametrize("version", ["0.7.0", "0.1.0", "1.0.0", "0.33.0-rc2"])
async def test_an_ollama_is_one_whatever_its_version(version: str) -> None:
    """Emulators are told by their own signatures, not by a number a real one had too."""
    found = await told(emulators.greeter(version))
    assert found == Identity(kind="ollama", product="Ollama", version=version)


@pytest.mark.parametrize("name", emulators.IMPOSTORS)
async def test_what_is_no_engine_is_none(name: str) -> None:
    """Pages, logins, proxies and clients of engines; FLM is told by its instance."""
    found = await told(emulators.IMPOSTORS[name])
    assert found is None or found.instance == "0123456789abcdef"


async def test_half_an_ollama_is_none() -> None:
    """Its greeting, its version and its list of what runs are needed, each in its own form."""
    text = response("hello", content_type="text/plain")
    for changed in (
        {"/": text},
        {"/api/version": as_json({"version": "dev"})},
        {"/api/version": text},
        {"/api/ps": as_json([])},
        {"/api/ps": text},
    ):
        assert await told(emulators.greeter("0.9.0", **changed)) is None


async def test_locked_engines_are_told_by_what_stays_open() -> None:
    """What a 401 is worth depends on who else would say it."""
    found = [
        await told(routes)
        for routes in (
            engines.llamacpp_locked(), locked_vllm(), emulators.tabbyapi(), emulators.jan(),
            emulators.locked_openai_compatible(),
        )
    ]  # fmt: skip
    assert [(each.product, each.locked) for each in found if each] == [
        ("llama.cpp", True),
        ("vLLM", True),
        ("TabbyAPI", True),
        ("Jan", True),
        ("OpenAI-compatible", True),
    ]


async def test_a_locked_text_generation_webui_is_told_by_what_it_hides() -> None:
    """401 where it has something, 404 elsewhere; who says 401 to everything is nobody."""
    refused = as_json({"detail": "Unauthorized"}, "401 Unauthorized")
    routes: Routes = {
        ("GET", "/v1/internal/model/info"): refused,
        ("GET", "/v1/models"): refused,
        ("GET", "*"): recorded(WEBUI, "get-props"),
    }
    assert await told(routes) == Identity(
        kind="text-generation-webui", product="text-generation-webui", locked=True
    )
    assert await told({("GET", "*"): refused}) is None


async def test_a_loading_llamacpp_is_told() -> None:
    """503 to everything, under its own name; somebody else's 503 is nobody."""
    assert await told({("GET", "*"): engines.LOADING}) == Identity(
        kind="llamacpp", product="llama.cpp", loading=True
    )
    anybody = response('{"error":{"message":"x"}}', "503 Service Unavailable")
    assert await told({("GET", "*"): anybody}) is None


async def test_an_older_llamacpp_is_told_without_its_build() -> None:
    """By its name and its slots; KoboldCpp's props look the same but carry no name."""
    props = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 1}
    found = await told({("GET", "/props"): as_json(props, Server="llama.cpp")})
    assert found == Identity(kind="llamacpp", product="llama.cpp")
    assert await told({("GET", "/props"): as_json(props)}) is None


async def test_lm_studios_control_port_is_no_engine() -> None:
    """It greets in the same words and lists nothing."""
    assert await told(engines.lm_studio()) is None


async def test_lemonade_tells_whom_it_started() -> None:
    """So that its llama-server is not listed beside it, whoever's process it is."""
    found = await told(emulators.lemonade(8003))
    assert found is not None
    assert found.children == (8003,)


async def test_an_older_lemonade_is_told() -> None:
    """It names the one loaded model, None when there is none."""
    health = as_json({"status": "ok", "version": "8.0.0", "model_loaded": None})
    found = await told({("GET", "/api/v1/health"): health})
    assert found == Identity(kind="custom", product="Lemonade", version="8.0.0")


async def test_only_get_is_asked_without_a_key_and_with_it_when_given() -> None:
    """A look must change nothing, and a key goes only where the user sent it."""
    with ReplayServer(locked_vllm()) as server:
        prober = HttpProber(SystemClock())
        await identify(prober, server.address)
        bare = list(server.seen)
        await identify(prober, server.address, "sesame")
    assert {seen.method for seen in server.seen} == {"GET"}
    assert not any("authorization" in seen.headers for seen in bare)
    assert {seen.headers["authorization"] for seen in server.seen[len(bare) :]} == {"Bearer sesame"}


async def test_another_flm_is_asked_little() -> None:
    """It records what it is asked, and refuses: its owner would wonder."""
    with ReplayServer(emulators.flm("abcd")) as server:
        found = await identify(HttpProber(SystemClock()), server.address)
        asked = [seen.path for seen in server.seen]
    assert found == Identity(kind="custom", product="FLM", instance="abcd", locked=True)
    assert asked == ["/.well-known/flm", "/v1/models"]


async def test_what_hangs_is_nobody_in_time() -> None:
    """At once, or after its first answer."""
    hung: Routes = {("GET", "*"): Answer(b"", hold=NEVER)}
    late: Routes = {**hung, ("GET", "/.well-known/flm"): response("{}", "404 Not Found")}
    async with asyncio.timeout(4.5):
        assert await asyncio.gather(told(hung), told(late)) == [None, None]


async def test_an_engine_with_one_path_that_hangs_is_still_told() -> None:
    """A slow page must not hide who is there."""
    found = await told({**engines.llamacpp(), ("GET", "/"): Answer(b"", hold=NEVER)})
    assert found is not None
    assert found.kind == "llamacpp"


async def test_nobody_listens_and_what_is_no_http_is_nobody() -> None:
    """Nothing is raised."""
    with ReplayServer({("GET", "*"): Answer(b"SSH-2.0-OpenSSH_9.6\r\n", close=True)}) as server:
        assert await identify(HttpProber(SystemClock()), server.address) is None
        gone = server.address
    assert await identify(HttpProber(SystemClock()), gone) is None


async def test_an_instance_is_asked_for_alone() -> None:
    """Before an engine is added: is it us?"""
    prober = HttpProber(SystemClock())
    with ReplayServer(emulators.flm("abcd")) as server, ReplayServer(engines.ollama()) as other:
        assert await instance_at(prober, server.address) == "abcd"
        assert await instance_at(prober, other.address) is None
    assert await instance_at(prober, Address("127.0.0.1", 1)) is None
