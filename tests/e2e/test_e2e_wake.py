"""Models of the embedded engine come and go; whoever asks for one is answered."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import e2e_later
import pytest
from e2e_engines import SENTENCE, WORDS
from e2e_house import CHAT, Stream, call, chat, code_of, text_of

from support.running_flm import Flm, Served, alive, started, until


@pytest.fixture
def two(flm: Flm, gguf: Path) -> tuple[Flm, str]:
    """A data directory with the models `words`, `other` and `endless`, and a key.

    `endless` has its whole context. In the 8,192 tokens that a model gets by itself its stream is
    2 MB, which the system takes off the gateway at once (up to 4 MB wait for a client there): it
    would end unread, and the model be idle. In 65,536 it is 15 MB, and lasts as long as a test.
    """
    with flm.services() as services:
        for name in ("words", "other", "endless"):
            services.models.add(str(gguf / f"{name}.gguf"))
        services.settings.set("engines.embedded.num_ctx[endless]", "65536")
        _, key = services.keys.create("test")
    return flm, key


def said(port: int, key: str, model: str, stream: bool) -> str:
    """What the model says, whole."""
    if stream:
        with Stream(port, key, model) as events:
            pieces = [events.first_word()]
            while (event := events.next()) != "[DONE]":
                pieces.append(text(event))
            return "".join(pieces)
    answer = call(port, CHAT, key, chat(model))
    assert answer.status == 200, answer
    return str(answer.json["choices"][0]["message"]["content"])


def state(port: int, key: str, model: str) -> str:
    """What the gateway knows of the model."""
    return str(call(port, f"/v1/models/{model}", key).json["state"])


def text(event: str) -> str:
    """The text of an event, which is no error."""
    assert '"error"' not in event, event
    return text_of(event)


def test_two_models_take_turns_and_every_request_is_answered(two: tuple[Flm, str]) -> None:
    """`embedded.max_loaded` is 1: eight clients ask both in turn, whole and streamed."""
    flm, key = two
    served = flm.start()
    asked = [(model, stream) for model in ("words", "other") for stream in (False, True)] * 4
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda each: said(served.port, key, *each), asked))
    assert answers == [SENTENCE, SENTENCE, WORDS, WORDS] * 4
    assert len(served.embedded()) == 1


def test_concurrent_requests_share_one_load(two: tuple[Flm, str]) -> None:
    """Eight clients wait for the same model: it is started once."""
    flm, key = two
    served = flm.start()
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: said(served.port, key, "words", False), range(8)))
    assert answers == [SENTENCE] * 8
    log = (flm.data / "controller.log").read_text()
    assert log.count("words is loaded") == 1


def test_an_idle_model_is_unloaded_and_comes_back(two: tuple[Flm, str], tmp_path: Path) -> None:
    """After `embedded.idle_minutes`, on a clock of the test's own; a busy one stays."""
    flm, key = two
    flm.tell("config", "set", "embedded.max_loaded", "2")
    flm.tell("config", "set", "embedded.idle_minutes", "2")
    offset = tmp_path / "offset"
    offset.write_text("0")
    command = [sys.executable, "-P", e2e_later.__file__, str(offset)]
    with started([*command, "--data-dir", str(flm.data), "--port", "0"]):
        with flm.services() as services:
            until(lambda: services.proxies.status(wait=10), "the start")
        served = Served(flm, until(lambda: (told := flm.status())["running"] and told, "a start"))
        assert said(served.port, key, "words", False) == SENTENCE
        (idle,) = served.embedded()
        with Stream(served.port, key, "endless", ignore_eos=True) as stream:
            stream.first_word()
            (busy,) = set(served.embedded()) - {idle}
            offset.write_text("121")
            until(lambda: not alive(idle), "the idle one's end")
            # It is loaded again when the look that unloaded it is over: that met both of them.
            assert said(served.port, key, "words", False) == SENTENCE
            assert alive(busy)
            assert stream.first_word()
        flm.tell("proxy", "stop")


def test_a_model_killed_in_the_middle_ends_its_stream_with_an_error(two: tuple[Flm, str]) -> None:
    """The record says it failed, and the next request is answered by a new process."""
    flm, key = two
    served = flm.start()
    with Stream(served.port, key, "endless", ignore_eos=True) as stream:
        stream.first_word()
        (child,) = served.embedded()
        os.kill(child, signal.SIGKILL)
        events = stream.rest()
    assert code_of(events[-1]) == "stream_interrupted"
    assert "[DONE]" not in events
    until(lambda: state(served.port, key, "endless") == "sleeping", "its end to be seen", 2)
    assert said(served.port, key, "endless", False) == "On and on it goes."
    assert served.embedded() != [child]
    record = flm.record(stream.id)
    assert (record["status"], record["error"]) == (200, "stream_interrupted")


def test_a_client_that_leaves_frees_the_model(two: tuple[Flm, str]) -> None:
    """Its record says so, and with one slot the next request is answered, not queued."""
    flm, key = two
    flm.tell("config", "set", "embedded.parallel", "1")
    served = flm.start()
    with Stream(served.port, key, "endless", ignore_eos=True) as stream:
        stream.first_word()
    assert said(served.port, key, "endless", False) == "On and on it goes."
    record = flm.record(stream.id)
    assert (record["status"], record["error"]) == (499, "client_closed")


def test_a_model_whose_file_is_gone_is_refused_and_the_others_are_served(
    two: tuple[Flm, str], gguf: Path
) -> None:
    """503 that names the model, and no path of this machine."""
    flm, key = two
    lost = flm.data.parent / "lost.gguf"
    lost.write_bytes((gguf / "other.gguf").read_bytes())
    flm.tell("models", "add", str(lost))
    served = flm.start()
    lost.unlink()
    answer = call(served.port, CHAT, key, chat("lost"))
    assert (answer.status, answer.code) == (503, "model_load_failed")
    assert "'lost'" in answer.json["error"]["message"]
    assert str(lost.parent) not in answer.json["error"]["message"]
    assert said(served.port, key, "words", False) == SENTENCE


def test_another_context_length_loads_the_model_again(two: tuple[Flm, str]) -> None:
    """`engines.embedded.num_ctx` is what is listed and what is held to, without a restart."""
    flm, key = two
    served = flm.start()
    assert said(served.port, key, "words", False) == SENTENCE
    flm.tell("config", "set", "engines.embedded.num_ctx", "512")
    listed = call(served.port, "/v1/models/words", key).json
    body = chat("words")
    body["messages"][0]["content"] = "word " * 200
    refused = call(served.port, CHAT, key, body)
    assert listed["context_length"] == 512
    assert (refused.status, refused.code) == (400, "context_length_exceeded")
    assert "512 tokens" in refused.json["error"]["message"]
