"""The Vercel AI SDK: its providers for chat completions, Responses and Messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients_engines import ActingEngine
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, House
from clients_stage import PIECES, TEXT, THOUGHT

pytestmark = pytest.mark.timeout(300)

PROVIDERS = ("compatible", "chat", "responses", "anthropic")
Ask = Callable[[str, str], Any]


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider in turn."""
    return str(request.param)


@pytest.fixture
def ask(node: Path, house: House, provider: str) -> Ask:
    """What `node/ask.mjs` prints for a case and a model."""

    def run(case: str, model: str) -> Any:
        done = subprocess.run(
            ["node", node / "ask.mjs", provider, case, model],
            env={
                "PATH": os.environ["PATH"],
                "FLM_BASE_URL": house.base_url,
                "FLM_KEY": house.key,
                "FLM_PICTURE": PIXEL,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_real_model_is_heard_word_for_word(ask: Ask) -> None:
    """Whole and streamed, with the usage."""
    whole = {"text": SENTENCE, "finish": "stop", "usage": [21, SENTENCE_TOKENS]}
    streamed = ask("stream", "words")
    assert ask("text", "words") == whole
    assert "".join(streamed.pop("pieces")) == SENTENCE
    assert streamed == whole


def test_the_engines_pieces_arrive(ask: Ask, house: House, engine: ActingEngine) -> None:
    """On both engines, none of them lost."""
    told = ask("stream", house.name(engine, "actor"))
    assert tuple(told["pieces"]) == PIECES
    assert (told["text"], told["finish"], told["usage"]) == (TEXT, "stop", [9, 4])


@pytest.mark.parametrize("case", ["tools", "tools-stream"])
def test_tools_are_run_and_their_results_answered(
    ask: Ask, house: House, engine: ActingEngine, case: str
) -> None:
    """Two at once; the SDK runs the loop."""
    first, last = ask(case, house.name(engine, "actor"))
    assert first["calls"] == [["get_weather", {"city": "東京"}], ["get_weather", {"city": "Köln"}]]
    assert last == {"calls": [], "text": "It is 晴れ and rain."}


@pytest.mark.parametrize("case", ["object", "object-stream"])
def test_an_object_of_a_schema(ask: Ask, case: str) -> None:
    """zod's schema, strict."""
    assert ask(case, "ollama/actor:latest") == {"name": "灯台", "height": 31}


def test_a_picture_arrives(ask: Ask) -> None:
    """As the provider encodes it."""
    assert ask("picture", "stage/actor")["text"] == "1 picture."


@pytest.mark.parametrize("case", ["reasoning", "reasoning-stream"])
def test_thoughts_stand_apart(ask: Ask, provider: str, case: str) -> None:
    """OpenAI's own chat provider knows none; Responses has them as summaries."""
    told = ask(case, "ollama/thinker:latest")
    assert told["text"] == "42."
    assert (told.get("thought") or "") == ("" if provider == "chat" else THOUGHT)


def test_an_unknown_model_fails(ask: Ask) -> None:
    """With its status, and not to be tried again."""
    told = ask("text", "nobody")
    assert (told["status"], told["again"]) == (404, False)
    assert told["failed"] == "The model 'nobody' does not exist here."


def test_a_stream_that_breaks_is_an_error(ask: Ask, house: House, engine: ActingEngine) -> None:
    """What was said arrives; then the error does."""
    told = ask("broken", house.name(engine, "breaker"))
    assert told["pieces"] == ["Grüße", " aus"]
    assert told["errors"]


@pytest.mark.parametrize("provider", ["anthropic"], indirect=True)
def test_an_object_by_a_tool_that_must_be_called(ask: Ask) -> None:
    """What Anthropic's provider does unless told otherwise; Ollama makes no model call a tool."""
    assert ask("object-by-tool", "stage/actor") == {"name": "灯台", "height": 31}
    refused = ask("object-by-tool", "ollama/actor:latest")
    assert (refused["status"], refused["again"]) == (400, False)
    assert refused["failed"].startswith("Ollama cannot be made to call a tool")


@pytest.mark.parametrize("provider", ["compatible"], indirect=True)
def test_embeddings(ask: Ask) -> None:
    """As floats."""
    assert ask("embed", "stage/actor") == [[0.5, -0.25, 0.75]] * 2
