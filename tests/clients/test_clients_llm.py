"""`llm`, by its command and its documented file `extra-openai-models.yaml`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from clients_house import PIXEL_BYTES, SENTENCE, WHERE, House
from clients_stage import TEXT

TOOL = """
def get_weather(city: str) -> str:
    "Tell the weather of a city."
    return {"東京": "晴れ", "Köln": "rain"}[city]
"""
TOOLS = ("--functions", "tool.py", WHERE)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "streamed": ("-m", "words", "hi"),
    "whole": ("-m", "words", "--no-stream", "hi"),
    "plain": ("-m", "plain", "-o", "max_tokens", "3", "hi"),
    "tools": ("-m", "stage/actor", *TOOLS),
    "tools of Ollama": ("-m", "ollama/actor:latest", *TOOLS),
    "tools by Responses": ("-m", "responses", *TOOLS),
    "schema": ("-m", "stage/actor", "--schema", "name, height int", "hi"),
    "picture": ("-m", "ollama/actor:latest", "-a", "pixel.png", "What is it?"),
    "one": ("-m", "stage/actor", "one"),
    "two": ("-m", "stage/actor", "-c", "two"),
}


@pytest.fixture(scope="module")
def folder(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`llm`'s own folder with the models of FLM, by each API it can speak."""
    made = tmp_path_factory.mktemp("llm")
    common: dict[str, Any] = {"api_base": house.base_url, "api_key_name": "flm"}
    able = {"supports_tools": True, "supports_schema": True, "vision": True}
    models: list[dict[str, Any]] = [
        {"model_id": "words", "model_name": "words"},
        {"model_id": "plain", "model_name": "words", "completion": True},
        {"model_id": "stage/actor", "model_name": "stage/actor", **able},
        {"model_id": "ollama/actor:latest", "model_name": "ollama/actor:latest", **able},
        {"model_id": "responses", "model_name": "stage/actor", "responses": True, **able},
    ]
    text = json.dumps([{**model, **common} for model in models])  # JSON is YAML
    (made / "extra-openai-models.yaml").write_text(text)
    (made / "keys.json").write_text(json.dumps({"flm": house.key}))
    (made / "pixel.png").write_bytes(PIXEL_BYTES)
    (made / "tool.py").write_text(TOOL)
    return made


@pytest.fixture(scope="module")
def said(folder: Path) -> Mapping[str, str]:
    """What each command printed."""
    asked = json.dumps([list(command) for command in COMMANDS.values()])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("ask_llm.py"), asked],
        env={**os.environ, "LLM_USER_PATH": str(folder)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(COMMANDS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("how", ["streamed", "whole"])
def test_a_real_model_is_heard_word_for_word(said: Mapping[str, str], how: str) -> None:
    """Japanese and emoji included."""
    assert said[how] == SENTENCE


def test_a_plain_prompt_is_completed(said: Mapping[str, str]) -> None:
    """By the older API."""
    assert said["plain"] == "Say it twice: "


@pytest.mark.parametrize("how", ["tools", "tools of Ollama", "tools by Responses"])
def test_tools_are_run_and_their_results_answered(said: Mapping[str, str], how: str) -> None:
    """The whole loop, by the program itself; two calls at once."""
    assert said[how].endswith("It is 晴れ and rain.")


def test_a_schema_is_obeyed(said: Mapping[str, str]) -> None:
    """`--schema`, in its short form."""
    assert json.loads(said["schema"]) == {"name": "灯台", "height": 31}


def test_a_picture_arrives(said: Mapping[str, str]) -> None:
    """`-a`."""
    assert said["picture"] == "1 picture."


def test_a_conversation_goes_on(said: Mapping[str, str], house: House) -> None:
    """`-c` sends what was said before."""
    asked = [[each["content"] for each in chat["messages"]] for chat in house.openai.chats]
    assert (said["one"], said["two"]) == (TEXT, TEXT)
    assert ["one", TEXT, "two"] in asked
