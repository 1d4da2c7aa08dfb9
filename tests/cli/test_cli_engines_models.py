"""`flm engines` and `flm models` with nothing running: the store, and a real look."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Flm

NOWHERE = "http://127.0.0.1:1/v1"


def test_an_added_engine_is_listed_before_anybody_looked(flm: Flm) -> None:
    """And how it is, once somebody has."""
    added = flm("engines", "add", "mine", "--url", NOWHERE)
    before = flm("engines", "list").out
    flm("engines", "detect")
    after = flm("engines", "list").out

    assert "The engine mine at http://127.0.0.1:1 is added." in added.out
    assert "added, not looked at yet" in before
    assert "does not answer: " in after


def test_an_engines_key_comes_through_stdin_and_is_never_shown(
    flm: Flm, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """Neither on the screen nor in the databases in clear."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sk-verysecret\n")))

    added = flm("engines", "add", "mine", "--url", NOWHERE, "--api-key-stdin", "--format", "json")

    assert added.data == {
        "id": "mine",
        "kind": "auto",
        "url": "http://127.0.0.1:1",
        "remote": False,
        "ca_file": None,
        "has_key": True,
    }
    listed = flm("engines", "list", "--format", "json")
    stored = b"".join(path.read_bytes() for path in data_dir.iterdir() if path.is_file())
    assert "sk-verysecret" not in added.out + listed.out
    assert b"sk-verysecret" not in stored


def test_a_kind_that_is_none_is_refused(flm: Flm) -> None:
    """With those there are."""
    ran = flm("engines", "add", "x", "--url", NOWHERE, "--kind", "koboldcpp")

    assert ran.code == 1
    assert "'lmstudio'" in ran.err


def test_a_removed_engine_is_gone(flm: Flm) -> None:
    """And cannot be removed twice."""
    flm("engines", "add", "mine", "--url", NOWHERE)

    assert flm("engines", "remove", "mine").out == "The engine mine is removed.\n"
    assert flm("engines", "list", "--format", "json").data["added"] == []
    assert flm("engines", "remove", "mine").code == 1


def test_a_file_that_is_no_model_is_refused(flm: Flm, tmp_path: Path) -> None:
    """With its path, in the reader's language."""
    file = tmp_path / "notes.gguf"
    file.write_text("not a model")

    ran = flm("models", "add", str(file), "--lang", "ja")

    assert ran.code == 1
    assert f"ファイル {file} は GGUF のモデルではない" in ran.err


@pytest.mark.needs_embedded
def test_a_file_is_added_listed_and_removed(flm: Flm, tmp_path: Path) -> None:
    """It stays where it is all the time."""
    gguf = pytest.importorskip("gguf", reason="pip install 'flm-gateway[embedded]'")
    del gguf
    from flm.engines.embedded.demo import write_demo

    file = tmp_path / "tiny.gguf"
    write_demo(file)

    assert flm("models", "add", str(file)).out == f"The model tiny is added: {file}\n"
    listed = flm("models", "list", "--format", "json").data
    assert [(model["id"], model["engine"]) for model in listed["models"]] == [("tiny", "embedded")]
    assert [each["path"] for each in listed["files"]] == [str(file)]
    assert "tiny" in flm("models", "list", "--engine", "embedded").out
    assert "No model is there." in flm("models", "list", "--engine", "ollama").out
    assert flm("models", "remove", "tiny").code == 0
    assert file.exists()


def test_nothing_runs_and_nothing_was_served(flm: Flm) -> None:
    """Said as sentences, and as empty documents."""
    assert flm("proxy", "status").out.startswith("Nothing runs.")
    assert flm("proxy", "status", "--format", "json").data == {"running": False}
    assert flm("proxy", "stop").out == "Nothing ran.\n"
    assert flm("proxy", "stop", "--format", "json").data == {"stopped": False, "pid": None}
    assert flm("logs").err == "Nothing was served that matches.\n"
    assert flm("logs", "--format", "json").data == {"records": []}


def test_a_chat_with_nobody_names_flm_up(flm: Flm) -> None:
    """Exit code 1."""
    ran = flm("chat", "--model", "m", "--prompt", "hi")

    assert ran.code == 1
    assert "flm up" in ran.err


@pytest.mark.parametrize("command", [("up",), ("proxy", "start")])
def test_an_address_beyond_loopback_is_refused_with_the_reason(
    flm: Flm, command: tuple[str, ...]
) -> None:
    """Before anything is started."""
    ran = flm(*command, "--bind", "0.0.0.0", "--format", "json")

    assert (ran.code, ran.error["code"]) == (1, "not_permitted")
    assert "other machines could reach it" in ran.error["message"]


@pytest.mark.parametrize("command", [("up",), ("proxy", "start")])
def test_a_port_that_is_none_is_refused(flm: Flm, command: tuple[str, ...]) -> None:
    """With the range."""
    ran = flm(*command, "--port", "70000")

    assert ran.code == 1
    assert "from 0 to 65535" in ran.err
