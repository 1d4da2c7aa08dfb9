"""`llm`, by its command and its documented file `extra-openai-models.yaml`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clients_engines import ActingEngine
from clients_house import PIXEL_BYTES, SENTENCE, House
from clients_stage import TEXT

TOOL = """
def get_weather(city: str) -> str:
    "Tell the weather of a city."
    return {"東京": "晴れ", "Köln": "rain"}[city]
"""


class Llm(NamedTuple):
    """The program, with a folder of its own."""

    folder: Path

    def says(self, *argv: str) -> str:
        """What it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "llm", *argv],
            env={**os.environ, "LLM_USER_PATH": str(self.folder), "PYTHONWARNINGS": "ignore"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")


@pytest.fixture(scope="module")
def llm(house: House, tmp_path_factory: pytest.TempPathFactory) -> Llm:
    """Three models by their API: chat completions, Responses, completions."""
    folder = tmp_path_factory.mktemp("llm")
    common: dict[str, Any] = {"api_base": house.base_url, "api_key_name": "flm"}
    able = {"supports_tools": True, "supports_schema": True, "vision": True}
    models: list[dict[str, Any]] = [{"model_id": "words", "model_name": "words"}]
    for engine in (house.openai, house.ollama):
        name = house.name(engine, "actor")
        models.append({"model_id": name, "model_name": name, **able})
    responses = {"model_name": "ollama/actor:latest", "responses": True, **able}
    models.append({"model_id": "responses", **responses})
    models.append({"model_id": "plain", "model_name": "words", "completion": True})
    # JSON is YAML.
    text = json.dumps([{**model, **common} for model in models])
    (folder / "extra-openai-models.yaml").write_text(text)
    (folder / "keys.json").write_text(json.dumps({"flm": house.key}))
    (folder / "pixel.png").write_bytes(PIXEL_BYTES)
    (folder / "tool.py").write_text(TOOL)
    return Llm(folder)


@pytest.mark.parametrize("flags", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_a_real_model_is_heard_word_for_word(llm: Llm, flags: tuple[str, ...]) -> None:
    """Japanese and emoji included."""
    assert llm.says("-m", "words", *flags, "hi") == SENTENCE


def test_a_plain_prompt_is_completed(llm: Llm) -> None:
    """By the older API."""
    assert llm.says("-m", "plain", "-o", "max_tokens", "3", "hi") == "Say it twice: "


def test_tools_are_run_and_their_results_answered(
    llm: Llm, house: House, engine: ActingEngine
) -> None:
    """The whole loop, by the program itself."""
    name = house.name(engine, "actor")
    told = llm.says("-m", name, "--functions", "tool.py", "Weather in 東京 and Köln?")
    assert told.endswith("It is 晴れ and rain.")


def test_its_responses_are_served_alike(llm: Llm) -> None:
    """Tools again, by the other API."""
    told = llm.says("-m", "responses", "--functions", "tool.py", "Weather in 東京 and Köln?")
    assert told.endswith("It is 晴れ and rain.")


def test_a_schema_and_a_picture(llm: Llm) -> None:
    """`--schema` and `-a`."""
    thing = llm.says("-m", "stage/actor", "--schema", "name, height int", "hi")
    assert json.loads(thing) == {"name": "灯台", "height": 31}
    assert llm.says("-m", "ollama/actor:latest", "-a", "pixel.png", "What?") == "1 picture."


def test_a_conversation_goes_on(llm: Llm, house: House) -> None:
    """`-c` sends what was said before."""
    assert llm.says("-m", "stage/actor", "one") == TEXT
    assert llm.says("-m", "stage/actor", "-c", "two") == TEXT
    said = [message["content"] for message in house.openai.chats[-1]["messages"]]
    assert said == ["one", TEXT, "two"]
