"""The Vercel AI SDK: its providers for chat completions, Responses and Messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from clients_house import PIXEL, SENTENCE, SENTENCE_TOKENS, House
from clients_stage import PIECES, TEXT, THOUGHT

pytestmark = pytest.mark.timeout(300)

QUESTIONS = (
    *(("text", "words"), ("stream", "words"), ("text", "nobody"), ("picture", "stage/actor")),
    *(("object", "ollama/actor:latest"), ("object-stream", "ollama/actor:latest")),
    *(("object-by-tool", "stage/actor"), ("object-by-tool", "ollama/actor:latest")),
    *(("reasoning", "ollama/thinker:latest"), ("reasoning-stream", "ollama/thinker:latest")),
    *((case, "stage/actor") for case in ("stream", "tools", "tools-stream")),
    *((case, "ollama/actor:latest") for case in ("stream", "tools", "tools-stream")),
    *(("broken", "stage/breaker"), ("broken", "ollama/breaker:latest"), ("embed", "stage/actor")),
)
"""What is asked: `node/ask.mjs` tells what each case does."""

THOUGHT_BY = {**dict.fromkeys(("compatible", "responses", "anthropic"), THOUGHT), "chat": None}
"""OpenAI's own provider for chats looks for no thoughts."""

Told = Mapping[tuple[str, str], Any]


@pytest.fixture(scope="module", params=["compatible", "chat", "responses", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def told(node: Path, house: House, provider: str) -> Told:
    """What came of each question."""
    done = subprocess.run(
        ["node", node / "ask.mjs", provider, json.dumps(QUESTIONS)],
        env={
            "PATH": os.environ["PATH"],
            "FLM_BASE_URL": house.base_url,
            "FLM_KEY": house.key,
            "FLM_PICTURE": PIXEL,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(QUESTIONS, json.loads(done.stdout), strict=True))


@pytest.fixture(params=["stage/{}", "ollama/{}:latest"], ids=["openai", "ollama"])
def engine(request: pytest.FixtureRequest) -> str:
    """How the models of each acting engine are named."""
    return str(request.param)


def test_a_real_model_is_heard_word_for_word(told: Told) -> None:
    """Whole and streamed, with the usage."""
    whole = {"text": SENTENCE, "finish": "stop", "usage": [21, SENTENCE_TOKENS]}
    streamed = dict(told["stream", "words"])
    assert told["text", "words"] == whole
    assert "".join(streamed.pop("pieces")) == SENTENCE
    assert streamed == whole


def test_the_engines_pieces_arrive(told: Told, engine: str) -> None:
    """On both engines, none of them lost."""
    found = told["stream", engine.format("actor")]
    assert tuple(found["pieces"]) == PIECES
    assert (found["text"], found["finish"], found["usage"]) == (TEXT, "stop", [9, 4])


@pytest.mark.parametrize("case", ["tools", "tools-stream"])
def test_tools_are_run_and_their_results_answered(told: Told, engine: str, case: str) -> None:
    """Two at once; the SDK runs the loop."""
    first, last = told[case, engine.format("actor")]
    assert first["calls"] == [["get_weather", {"city": "東京"}], ["get_weather", {"city": "Köln"}]]
    assert last == {"calls": [], "text": "It is 晴れ and rain."}


@pytest.mark.parametrize("case", ["object", "object-stream"])
def test_an_object_of_a_schema(told: Told, case: str) -> None:
    """zod's schema, strict."""
    assert told[case, "ollama/actor:latest"] == {"name": "灯台", "height": 31}


def test_a_picture_arrives(told: Told) -> None:
    """As the provider encodes it."""
    assert told["picture", "stage/actor"]["text"] == "1 picture."


@pytest.mark.parametrize("case", ["reasoning", "reasoning-stream"])
def test_thoughts_stand_apart(told: Told, provider: str, case: str) -> None:
    """Responses has them as summaries."""
    found = told[case, "ollama/thinker:latest"]
    assert found["text"] == "42."
    assert found.get("thought") == THOUGHT_BY[provider]


def test_an_unknown_model_fails(told: Told) -> None:
    """With its status, and not to be tried again."""
    found = told["text", "nobody"]
    assert (found["status"], found["again"]) == (404, False)
    assert found["failed"] == "The model 'nobody' does not exist here."


def test_a_stream_that_breaks_is_an_error(told: Told, engine: str) -> None:
    """What was said arrives; then the error does."""
    found = told["broken", engine.format("breaker")]
    assert found["pieces"] == ["Grüße", " aus"]
    assert found["errors"]


@pytest.mark.parametrize("provider", ["anthropic"], indirect=True)
def test_an_object_by_a_tool_that_must_be_called(told: Told) -> None:
    """What Anthropic's provider does unless told otherwise; Ollama makes no model call a tool."""
    assert told["object-by-tool", "stage/actor"] == {"name": "灯台", "height": 31}
    refused = told["object-by-tool", "ollama/actor:latest"]
    assert (refused["status"], refused["again"]) == (400, False)
    assert refused["failed"].startswith("Ollama cannot be made to call a tool")


@pytest.mark.parametrize("provider", ["compatible"], indirect=True)
def test_embeddings(told: Told) -> None:
    """As floats."""
    assert told["embed", "stage/actor"] == [[0.5, -0.25, 0.75]] * 2
