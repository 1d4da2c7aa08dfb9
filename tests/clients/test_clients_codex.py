"""Codex itself, `codex exec`, with the configuration that `flm connect codex` writes.

It sees no network: what it asks elsewhere goes to a proxy that is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clients_engines import ActingEngine
from clients_house import SENTENCE, House
from clients_stage import NOTE, THOUGHT, WRITE

from support.running_flm import Flm

pytestmark = pytest.mark.timeout(300)

THINKING = ("-c", 'model_reasoning_effort="high"', "-c", 'model_reasoning_summary="auto"')
"""What Codex is told of a model it does not know."""

NOWHERE = "http://127.0.0.1:9"


class Codex(NamedTuple):
    """An installed Codex with a home and a working folder of its own."""

    program: Path
    home: Path
    work: Path

    def run(self, question: str, *flags: str) -> tuple[int, list[dict[str, Any]]]:
        """Its exit status and the events of one `codex exec`, which may do what it likes here."""
        done = subprocess.run(
            [
                *("node", self.program, "exec", "--json", "--skip-git-repo-check"),
                *("--dangerously-bypass-approvals-and-sandbox", *flags, question),
            ],
            cwd=self.work,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "CODEX_HOME": str(self.home),
                "http_proxy": NOWHERE,
                "https_proxy": NOWHERE,
                "no_proxy": "127.0.0.1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def does(self, question: str, *flags: str) -> list[dict[str, Any]]:
        """What it said and did, item by item; it goes well."""
        code, events = self.run(question, *flags)
        assert code == 0, events
        return [each["item"] for each in events if each["type"] == "item.completed"]


@pytest.fixture(scope="module")
def home(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `flm connect codex --write` leaves, after its own real request as proof."""
    folder = tmp_path_factory.mktemp("codex")
    flm = Flm(house.flm.data, {"CODEX_HOME": str(folder)})
    flags = ("--model", "long", "--write", "--key-stdin")
    told = flm.tell("connect", "codex", *flags, stdin=house.key)
    assert told["proof"]["path"] == "/v1/responses"
    assert 'wire_api = "responses"' in (folder / "config.toml").read_text()
    return folder


@pytest.fixture
def codex(node: Path, home: Path, tmp_path: Path) -> Codex:
    """Codex in an empty folder."""
    return Codex(node / "node_modules" / "@openai" / "codex" / "bin" / "codex.js", home, tmp_path)


def texts(items: list[dict[str, Any]]) -> list[str]:
    """What it said."""
    return [item["text"] for item in items if item["type"] == "agent_message"]


def test_a_real_model_answers_codex(codex: Codex) -> None:
    """Its prompt of 20,000 characters is read by llama.cpp, and the sentence comes back whole."""
    code, events = codex.run("Say it twice.")
    items = [each["item"] for each in events if each["type"] == "item.completed"]
    assert (code, texts(items)) == (0, [SENTENCE])
    usage = events[-1]["usage"]
    assert events[-1]["type"] == "turn.completed"
    assert usage["input_tokens"] > 10_000
    assert usage["output_tokens"] == 24


def test_codex_runs_a_whole_loop(codex: Codex, house: House, engine: ActingEngine) -> None:
    """A command is called, runs, leaves a file, its output goes back, the answer comes."""
    before = len(engine.chats)
    items = codex.does("Write a note.", "-m", house.name(engine, "coder"))
    (command,) = [item for item in items if item["type"] == "command_execution"]
    assert WRITE in command["command"].replace("'\\''", "'")
    assert (command["exit_code"], command["aggregated_output"]) == (0, NOTE)
    assert (codex.work / "note.txt").read_text() == NOTE
    assert texts(items) == ["I write a note.", f"Wrote the note, and heard: {NOTE}"]
    first, second = engine.chats[before:]
    names = [tool["function"]["name"] for tool in first["tools"]]
    assert "exec_command" in names
    assert [message["role"] for message in second["messages"]][-2:] == ["assistant", "tool"]


def test_codex_is_told_thoughts_and_brings_them_back(
    codex: Codex, house: House, engine: ActingEngine
) -> None:
    """Within a loop the engine reads what it thought before it called."""
    items = codex.does("Write a note.", "-m", house.name(engine, "thinker"), *THINKING)
    thoughts = [item["text"] for item in items if item["type"] == "reasoning"]
    (before,) = [each for each in engine.chats[-1]["messages"] if each["role"] == "assistant"]
    assert thoughts == [THOUGHT]
    assert THOUGHT in before.values()


def test_codex_patches_a_file(codex: Codex, house: House) -> None:
    """A model it knows gets `apply_patch`, a tool of free text: a function for the engine."""
    items = codex.does("Write a note.", "-m", "gpt-5.5")
    (change,) = [item for item in items if item["type"] == "file_change"]
    assert change["status"] == "completed"
    assert (codex.work / "note.txt").read_text() == f"{NOTE}\n"
    call = house.openai.chats[-1]["messages"][-2]["tool_calls"][0]["function"]
    assert call["name"] == "apply_patch"
    assert json.loads(call["arguments"])["input"].startswith("*** Begin Patch\n")


def test_codex_runs_code(codex: Codex, house: House) -> None:
    """The newest models write JavaScript for a tool of free text that lies in a namespace."""
    items = codex.does("Write a note.", "-m", "gpt-6.1-sol")
    assert (codex.work / "note.txt").read_text() == NOTE
    assert texts(items) == ["I write a note.", f"Wrote the note, and heard: {NOTE}"]
    assert "functions__exec" in [
        each["function"]["name"] for each in house.openai.chats[-1]["tools"]
    ]


def test_codex_goes_on_with_a_session(codex: Codex, house: House, engine: ActingEngine) -> None:
    """What was said before is in the next request, once each."""
    codex.does("Write a note.", "-m", house.name(engine, "coder"))
    code, events = codex.run("Thank you.", "-m", house.name(engine, "coder"), "resume", "--last")
    assert code == 0, events
    said = [str(message["content"]) for message in engine.chats[-1]["messages"]]
    assert said.count("Write a note.") == said.count("Thank you.") == 1


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("words", "Codex ran out of room in the model's context window"),
        ("nobody", "The model 'nobody' does not exist here."),
    ],
)
def test_codex_understands_a_refusal(codex: Codex, model: str, told: str) -> None:
    """It stops at once, and says what is the matter."""
    code, events = codex.run("hi", "-m", model)
    errors = [each["message"] for each in events if each["type"] == "error"]
    assert code == 1
    assert len(errors) == 1
    assert errors[0].startswith(told)
