"""Ollama pulls, deletes, loads and unloads, and says clearly when it does not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flm.engines.ollama.keeper import OllamaKeeper
from flm.errors import EngineError, InvalidValue, NotFound, UserError
from flm.ports.engines import Step
from support.fakes.base import as_json, asked_for, dropped, half_closed, instead, paused
from support.fakes.ollama import FOLDER, PULLED, OllamaFake
from support.replay import ReplayServer, recorded


def ignore(step: Step) -> None:
    """Who watches no progress."""


async def test_a_pull_tells_how_far_it_is() -> None:
    """All parts count together, as Ollama comes to them; the end is the return."""
    steps: list[Step] = []
    with OllamaFake() as fake:
        await OllamaKeeper().pull(fake.address, None, "qwen3:8b", steps.append)
    assert [(step.doing, step.done, step.total) for step in steps] == [
        ("Looking up {model}", 0, 0),
        ("Fetching {model}", 0, 4000),
        ("Fetching {model}", 1500, 4000),
        ("Fetching {model}", 4000, 4000),
        ("Fetching {model}", 4100, 4100),
        ("Checking {model}", 4100, 4100),
        ("Storing {model}", 4100, 4100),
    ]
    assert steps[0].values == {"model": "qwen3:8b"}
    assert asked_for(fake.asked("/api/pull")[0]) == {"model": "qwen3:8b", "stream": True}


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (
            "write /srv/models/blobs/sha256-6a: no space left on device",
            "disk_full",
            (
                "The disk is full: the engine says"
                " 'write /srv/models/blobs/sha256-6a: no space left on device'."
            ),
        ),
        (
            'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
            "pull_failed",
            (
                'Ollama could not fetch qwen3: Get "https://registry.example/v2/": dial tcp: lookup'
                " registry.example: no such host."
            ),
        ),
        (
            "max retries exceeded: unexpected EOF",
            "pull_failed",
            "Ollama could not fetch qwen3: max retries exceeded: unexpected EOF.",
        ),
        (
            "pull model manifest: file does not exist",
            "not_found",
            "Ollama finds no model qwen3 to fetch.",
        ),
        (
            (
                "pull model manifest: 412: The model you are attempting to pull requires a newer"
                " version of Ollama."
            ),
            "engine_too_old",
            (
                "Ollama answered: pull model manifest: 412: The model you are attempting to pull"
                " requires a newer version of Ollama."
            ),
        ),
        ("digest mismatch", "engine_error", "The engine answered: digest mismatch"),
    ],
)
async def test_an_error_inside_a_pull_is_an_error(said: str, code: str, message: str) -> None:
    """Ollama says it in a line of a 200; a disk, a line and a name are told apart."""
    with OllamaFake() as fake:
        fake.pulled = (*PULLED[:3], {"error": said})
        with pytest.raises((UserError, EngineError)) as caught:
            await OllamaKeeper().pull(fake.address, None, "qwen3", ignore)
    assert (caught.value.code, caught.value.message) == (code, message)


async def test_a_name_that_is_none_is_told_so() -> None:
    """The answer of a real Ollama to `bad name!!`."""
    routes = {("POST", "/api/pull"): recorded(FOLDER, "pull-bad-name")}
    with ReplayServer({**routes}) as server, pytest.raises(InvalidValue) as caught:
        await OllamaKeeper().pull(server.address, None, "bad name!!", ignore)
    assert caught.value.message == "'bad name!!' is no name of a model for Ollama."


async def test_a_pull_that_ends_early_is_no_success_and_goes_on_when_asked_again() -> None:
    """Without its last word it is not complete; what came lies with Ollama."""
    with OllamaFake() as fake:
        fake.pulled = PULLED[:3]
        with pytest.raises(UserError) as caught:
            await OllamaKeeper().pull(fake.address, None, "qwen3", ignore)
        fake.pulled = PULLED
        await OllamaKeeper().pull(fake.address, None, "qwen3", ignore)
    assert caught.value.code == "pull_failed"
    assert caught.value.remedy == "Run the command again: it goes on where it stopped."


@pytest.mark.parametrize("fault", [dropped(2), dropped(2, reset=True), half_closed])
async def test_a_line_that_drops_is_told_as_such(fault: object) -> None:
    """The connection to Ollama itself, cut in the middle of a pull."""
    with OllamaFake() as fake:
        fake.fault("/api/pull", fault)  # type: ignore[arg-type] # each is a Fault
        with pytest.raises(UserError) as caught:
            await OllamaKeeper().pull(fake.address, None, "qwen3", ignore)
    assert caught.value.code == "engine_unreachable"


async def test_nobody_there_is_told_as_such() -> None:
    """A port where nothing listens."""
    with OllamaFake() as fake:
        gone = fake.address
    with pytest.raises(UserError) as caught:
        await OllamaKeeper().remove(gone, None, "tiny")
    assert caught.value.message == f"Nothing answers at {gone.url}."


async def test_whoever_stops_waiting_hangs_up() -> None:
    """A pull that is cancelled here is paused there: Ollama sees the connection end."""
    with OllamaFake() as fake:
        seen = asyncio.Event()
        fake.fault("/api/pull", paused(2, threading.Event()))
        task = asyncio.get_running_loop().create_task(
            OllamaKeeper().pull(fake.address, None, "qwen3", lambda _: seen.set())
        )
        async with asyncio.timeout(10):
            await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.disconnected.wait, 10)


async def test_a_model_is_deleted() -> None:
    """And is gone from its list."""
    with OllamaFake() as fake:
        await OllamaKeeper().remove(fake.address, None, "tiny")
        assert "tiny:latest" not in fake.models


async def test_what_is_not_there_cannot_be_deleted() -> None:
    """The answer of a real Ollama."""
    routes = {("DELETE", "/api/delete"): recorded(FOLDER, "delete-unknown")}
    with ReplayServer({**routes}) as server, pytest.raises(NotFound) as caught:
        await OllamaKeeper().remove(server.address, None, "no-such-model")
    assert caught.value.message == "The engine has no model no-such-model."


async def test_a_model_is_loaded_with_the_context_that_requests_ask_for() -> None:
    """With another one, the first request would have it loaded again."""
    steps: list[Step] = []
    with OllamaFake() as fake:
        await OllamaKeeper().load(fake.address, None, "scripted-think", 1024, steps.append)
        assert fake.loaded["scripted-think:latest"] == 1024
        assert asked_for(fake.seen[0]) == {
            "model": "scripted-think",
            "stream": False,
            "options": {"num_ctx": 1024},
        }
    assert steps == [Step("Loading {model}", {"model": "scripted-think"})]


async def test_a_model_that_only_embeds_is_loaded_too() -> None:
    """`/api/generate` refuses it, so nothing is embedded instead."""
    with OllamaFake() as fake:
        await OllamaKeeper().load(fake.address, None, "tiny-embed", None, ignore)
        assert "tiny-embed:latest" in fake.loaded
        assert [seen.path for seen in fake.seen] == ["/api/generate", "/api/embed"]


async def test_what_a_real_ollama_says_to_loading_and_unloading_is_a_success() -> None:
    """Recorded: `done_reason` is `load` and `unload`, nothing else comes."""
    for name in ("load", "generate-unload"):
        with ReplayServer({("POST", "/api/generate"): recorded(FOLDER, name)}) as server:
            await OllamaKeeper().load(server.address, None, "tiny", None, ignore)
            await OllamaKeeper().unload(server.address, None, "tiny")


async def test_a_model_is_unloaded() -> None:
    """And is no longer in memory; one that Ollama does not have is named."""
    with OllamaFake() as fake:
        await OllamaKeeper().unload(fake.address, None, "tiny")
        assert fake.loaded == {}
        with pytest.raises(NotFound):
            await OllamaKeeper().unload(fake.address, None, "nothing")


async def test_a_model_too_large_for_memory_says_so() -> None:
    """In Ollama's own words, with its own numbers."""
    said = "model requires more system memory (12.1 GiB) than is available (7.5 GiB)"
    with OllamaFake() as fake:
        fake.fault("/api/generate", instead(as_json({"error": said}, "500 Internal Server Error")))
        with pytest.raises(EngineError) as caught:
            await OllamaKeeper().load(fake.address, None, "tiny", None, ignore)
    assert caught.value.message == f"The engine answered: {said}"


async def test_the_key_of_a_locked_engine_is_sent_and_asked_for() -> None:
    """A proxy before an Ollama may want one."""
    with OllamaFake() as fake:
        await OllamaKeeper().unload(fake.address, "sesame", "tiny")
        assert fake.seen[0].headers["authorization"] == "Bearer sesame"
        fake.fault("/api/generate", instead(as_json({}, "401 Unauthorized")))
        with pytest.raises(UserError) as caught:
            await OllamaKeeper().unload(fake.address, None, "tiny")
    assert caught.value.code == "needs_key"


async def test_a_port_of_another_protocol_is_no_success() -> None:
    """What answers with no HTTP at all ends with an error, not with a traceback."""
    routes = {("DELETE", "/api/delete"): b"220 mail ESMTP\r\n"}
    with ReplayServer({**routes}) as server, pytest.raises(UserError) as caught:
        await OllamaKeeper().remove(server.address, None, "tiny")
    assert caught.value.code == "engine_unreachable"
