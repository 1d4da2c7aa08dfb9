"""Models fetched, shown, loaded, unloaded and deleted while an FLM serves them."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_engines import SENTENCE
from e2e_house import CHAT, Stream, call, chat

from support.fakes.base import asked_for, paused
from support.fakes.ollama import OllamaFake
from support.fakes.textgen import TextGenerationWebuiFake
from support.running_flm import FLM, Flm, Served, started, until
from support.web_server import WebServer, web_server

CLOUD = "gpt-oss:120b-cloud"


@pytest.fixture
def ollama() -> Iterator[OllamaFake]:
    """An Ollama with a model in the cloud."""
    with OllamaFake(cloud=[CLOUD]) as fake:
        yield fake


@pytest.fixture
def flm(tmp_path: Path, ollama: OllamaFake) -> Iterator[Flm]:
    """A data directory that knows that Ollama; its processes end with the test."""
    made = Flm(tmp_path / "data", {"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})
    yield made
    made.close()


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server with nothing on it."""
    with web_server() as made:
        yield made


def listed(served: Served, key: str) -> dict[str, Any]:
    """What `/v1/models` says, by id."""
    return {each["id"]: each for each in call(served.port, "/v1/models", key).json["data"]}


def begun(flm: Flm) -> tuple[Served, str]:
    """A started FLM that has looked at its engines, and a key."""
    served = flm.start()
    _, key = flm.key()
    flm.tell("engines", "detect")
    return served, key


def test_a_model_from_the_web_is_chatted_with_loaded_unloaded_and_deleted(
    flm: Flm, web: WebServer, gguf: Path
) -> None:
    """A real GGUF from a web server whose line drops, in a real llama.cpp."""
    sha = web.put("/a/words.gguf", (gguf / "words.gguf").read_bytes())
    web.cuts[:] = [10_000]
    served, key = begun(flm)
    pulled = flm.tell("models", "pull", web.url("/a/words.gguf"), "--sha256", sha)
    path = Path(pulled["path"])
    assert (pulled["pulled"], pulled["engine"]) == ("words", "embedded")
    assert pulled["model"]["context_length"] == 2048
    assert path.is_relative_to(flm.data / "models")

    loaded = flm.tell("models", "load", "words")
    assert (loaded["engine"], loaded["loaded"]) == ("embedded", True)
    assert len(served.embedded()) == 1
    answer = call(served.port, CHAT, key, chat("words"))
    assert answer.json["choices"][0]["message"]["content"] == SENTENCE

    assert flm.tell("models", "unload", "words")["loaded"] is False
    assert served.embedded() == []
    assert listed(served, key)["words"]["state"] == "sleeping"

    refused = flm.run("models", "remove", "words")
    assert (refused.code, refused.error["code"]) == (1, "not_confirmed")
    assert flm.tell("models", "remove", "words", "--yes")["files"] == [str(path)]
    assert not path.exists()
    assert call(served.port, CHAT, key, chat("words")).status == 404


def test_an_interrupted_download_is_gone_on_with(flm: Flm, web: WebServer, gguf: Path) -> None:
    """After Ctrl-C, from where it was; nothing half is served."""
    web.put("/a/words.gguf", (gguf / "words.gguf").read_bytes())
    web.cuts[:] = [20_000]
    web.hold = threading.Event()
    command = [*FLM, "models", "pull", web.url("/a/words.gguf"), "--data-dir", str(flm.data)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=flm.environ)
    with running:
        until(lambda: list(flm.data.glob("models/*/words.gguf.part.json")), "the first bytes")
        until(web.reached.is_set, "the pause")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "run the same command again" in said
    assert flm.tell("models", "list", "--engine", "embedded")["models"] == []
    web.hold.set()
    web.hold = None
    flm.tell("models", "pull", web.url("/a/words.gguf"))
    assert web.ranges_asked()[-1] == "bytes=20000-"


def test_a_model_that_an_engine_fetched_is_served_at_once(flm: Flm, ollama: OllamaFake) -> None:
    """And not any more when it was deleted: nobody waits for the next look."""
    served, key = begun(flm)
    spare = {**ollama.models["tiny:latest"], "name": "new:latest", "model": "new:latest"}
    ollama.models["new:latest"] = spare
    assert "new:latest" not in listed(served, key)
    pulled = flm.tell("models", "pull", "ollama/new")
    assert (pulled["pulled"], pulled["model"]["capabilities"]) == ("new:latest", ["chat"])
    assert "new:latest" in listed(served, key)
    assert call(served.port, CHAT, key, chat("new")).status == 200
    flm.tell("models", "remove", "new", "--engine", "ollama", "--yes")
    assert "new:latest" not in listed(served, key)


def test_what_the_user_sets_holds_in_lists_and_requests(flm: Flm, ollama: OllamaFake) -> None:
    """Capabilities and context length, under the name without `:latest` too."""
    served, key = begun(flm)
    flm.tell("config", "set", "engines.ollama.capabilities[tiny]", "chat,vision")
    flm.tell("config", "set", "engines.ollama.num_ctx[tiny]", "1024")
    shown = flm.tell("models", "show", "tiny", "--fresh")["homes"][0]
    assert (shown["capabilities"], shown["context_length"]) == (["chat", "vision"], 1024)
    assert (shown["sources"]["capabilities"], shown["sources"]["family"]) == ("setting", "engine")
    assert [(each["setting"], each["in_force"]) for each in shown["overrides"]] == [
        ("engines.ollama.num_ctx[tiny]", True),
        ("engines.ollama.capabilities[tiny]", True),
    ]
    entry = listed(served, key)["tiny:latest"]
    assert (entry["capabilities"], entry["context_length"]) == (["chat", "vision"], 1024)
    call(served.port, CHAT, key, chat("tiny"))
    assert asked_for(ollama.asked("/api/chat")[-1])["options"]["num_ctx"] == 1024


def test_what_the_user_sets_for_a_file_holds_too(flm: Flm, gguf: Path) -> None:
    """The embedded engine's models have settings as all others."""
    flm.tell("models", "add", str(gguf / "words.gguf"))
    served, key = begun(flm)
    flm.tell("config", "set", "engines.embedded.capabilities[words]", "chat,tools")
    assert listed(served, key)["words"]["capabilities"] == ["chat", "tools"]
    shown = flm.tell("models", "show", "words")["homes"][0]
    assert (shown["sources"]["capabilities"], shown["path"]) == (
        "setting",
        str(gguf / "words.gguf"),
    )


def test_cloud_models_are_served_only_while_they_are_wanted(flm: Flm, ollama: OllamaFake) -> None:
    """Marked as remote wherever they are listed; gone at once when they are not wanted."""
    served, key = begun(flm)
    assert CLOUD not in listed(served, key)
    assert call(served.port, CHAT, key, chat(CLOUD)).status == 404

    flm.tell("config", "set", "engines.ollama.cloud", "true")
    flm.tell("engines", "detect")
    marks = {name: entry["remote"] for name, entry in listed(served, key).items()}
    assert (marks[CLOUD], marks["tiny:latest"]) == (True, False)
    assert call(served.port, CHAT, key, chat(CLOUD)).status == 200
    remote = [each["id"] for each in flm.tell("models", "list")["models"] if each["remote"]]
    assert remote == [CLOUD]

    flm.tell("config", "set", "engines.ollama.cloud", "false")
    assert CLOUD not in listed(served, key)
    assert call(served.port, CHAT, key, chat(f"ollama/{CLOUD}")).status == 404


def test_a_model_is_unloaded_when_what_runs_on_it_has_ended(flm: Flm, ollama: OllamaFake) -> None:
    """Nothing new comes to it meanwhile, and it is offered again afterwards."""
    served, key = begun(flm)
    go_on = threading.Event()
    ollama.fault("/api/chat", paused(1, go_on))
    with Stream(served.port, key, "tiny") as stream:
        stream.first_word()
        command = flm.command("models", "unload", "tiny")
        with started(command, stdout=subprocess.PIPE, env=flm.environ) as unloading:
            until(lambda: listed(served, key)["tiny:latest"]["state"] == "unavailable", "withdrawn")
            assert call(served.port, CHAT, key, chat("tiny")).status == 503
            assert ollama.asked("/api/generate") == []
            go_on.set()
            assert stream.rest()[-1] == "[DONE]"
            assert unloading.wait(30) == 0
    assert asked_for(ollama.asked("/api/generate")[0])["keep_alive"] == 0
    ollama.mend()
    assert call(served.port, CHAT, key, chat("tiny")).status == 200


def test_a_model_that_stays_busy_is_not_unloaded(flm: Flm, ollama: OllamaFake) -> None:
    """It is said, and it serves on."""
    flm.tell("config", "set", "server.drain_seconds", "1")
    served, key = begun(flm)
    go_on = threading.Event()
    ollama.fault("/api/chat", paused(1, go_on))
    with Stream(served.port, key, "tiny") as stream:
        stream.first_word()
        refused = flm.run("models", "unload", "tiny")
        assert (refused.code, refused.error["code"]) == (1, "model_busy")
        go_on.set()
        assert stream.rest()[-1] == "[DONE]"
    assert ollama.asked("/api/generate") == []
    assert call(served.port, CHAT, key, chat("tiny")).status == 200


def test_a_model_that_takes_anothers_place_waits_for_its_requests(flm: Flm) -> None:
    """text-generation-webui has one model: what runs on the first would be cut."""
    with TextGenerationWebuiFake() as webui:
        flm.tell("engines", "add", "webui", "--url", f"{webui.url}/v1")
        served, key = begun(flm)
        go_on = threading.Event()
        webui.fault("/v1/chat/completions", paused(2, go_on))
        with Stream(served.port, key, "webui/tiny") as stream:
            stream.next()
            command = flm.command("models", "load", "Qwen3-8B-Q4_K_M.gguf", "--engine", "webui")
            with started(command, stdout=subprocess.PIPE, env=flm.environ) as loading:
                until(lambda: listed(served, key)["tiny"]["state"] == "unavailable", "withdrawn")
                assert webui.asked("/v1/internal/model/load") == []
                go_on.set()
                assert stream.rest()[-1] == "[DONE]"
                assert loading.wait(30) == 0
        assert webui.loaded == "Qwen3-8B-Q4_K_M.gguf"
        assert listed(served, key)["tiny"]["state"] == "unavailable"
        flm.tell("engines", "remove", "webui")


def test_a_model_is_loaded_before_the_first_request(flm: Flm, ollama: OllamaFake) -> None:
    """With the context that requests ask for."""
    flm.tell("config", "set", "engines.ollama.num_ctx", "1024")
    begun(flm)
    told = flm.tell("models", "load", "scripted-tools")
    assert told == {
        "model": "scripted-tools:latest",
        "engine": "ollama",
        "loaded": True,
        "context_length": 1024,
    }
    assert ollama.loaded["scripted-tools:latest"] == 1024
