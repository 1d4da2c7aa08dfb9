"""`flm models` with nothing running: over an Ollama, and a web server on its bad days."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Flm, Ran

from flm.cli import output
from support.fakes.ollama import OllamaFake
from support.web_server import WebServer, web_server

CLOUD = "gpt-oss:120b-cloud"


@pytest.fixture
def ollama() -> Iterator[OllamaFake]:
    """An Ollama with a model in the cloud."""
    with OllamaFake(cloud=[CLOUD]) as fake:
        yield fake


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server with nothing on it."""
    with web_server() as made:
        yield made


@pytest.fixture
def here(flm: Flm, ollama: OllamaFake) -> Flm:
    """`flm` on a machine with that Ollama."""

    def call(*argv: str) -> Ran:
        return flm(*argv, environ={"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})

    return call


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Somebody sits at the terminal, and types what is put here."""
    typed = io.StringIO()
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    return typed


def row(ran: Ran, name: str) -> str:
    """The line of the table that begins with `name`."""
    return next(line for line in ran.out.splitlines() if line.startswith(name))


def test_the_list_tells_what_is_known_of_each_model(here: Flm) -> None:
    """What it can do, its context, how large it is, and whether it is loaded or remote."""
    here("config", "set", "engines.ollama.cloud", "true")
    listed = here("models", "list", "--engine", "ollama")
    assert row(listed, "tiny:latest").split("  ")[-1].strip() == "loaded"
    assert "chat" in row(listed, "tiny:latest")
    assert "128K" in row(listed, "tiny:latest")
    assert row(listed, CLOUD).endswith("remote")


def test_a_model_is_shown_with_who_says_what(here: Flm) -> None:
    """The engine, or a setting."""
    here("config", "set", "engines.ollama.num_ctx[tiny]", "1024")
    shown = here("models", "show", "tiny")
    lines = {line.split("  ")[1]: line for line in shown.out.splitlines()[1:]}
    assert shown.out.splitlines()[0] == "ollama/tiny:latest"
    assert lines["Can do"].split() == ["Can", "do", "chat", "the", "engine"]
    assert "1,024 tokens" in lines["Context"]
    assert lines["Context"].endswith("set: engines.ollama.num_ctx[tiny]")
    assert lines["Remote"].split() == ["Remote", "no"]


def test_a_model_that_is_nowhere_names_the_nearest(here: Flm) -> None:
    """Exit code 1."""
    ran = here("models", "show", "tinny", "--format", "json")
    assert (ran.code, ran.error["code"]) == (1, "model_not_found")
    assert "tiny:latest" in ran.error["remedy"]


def test_a_pull_tells_how_far_it_is(here: Flm) -> None:
    """A line for each tenth where nobody sits; the answer on stdout."""
    ran = here("models", "pull", "ollama/tiny")
    assert ran.out == "The model tiny:latest is there, on ollama.\n"
    assert "Fetching tiny: 30 % (2 kB of 4 kB)\n" in ran.err


def test_a_pull_for_programs_is_one_document(here: Flm) -> None:
    """And says nothing else."""
    ran = here("models", "pull", "tiny", "--engine", "ollama", "--format", "json")
    assert (ran.data["pulled"], ran.data["engine"], ran.data["remote"], ran.err) == (
        "tiny:latest",
        "ollama",
        False,
        "",
    )


def test_a_full_disk_at_the_engine_is_said(here: Flm, ollama: OllamaFake) -> None:
    """With what to do."""
    ollama.pulled = [{"error": "write /srv/blobs/sha256-6a: no space left on device"}]
    ran = here("models", "pull", "qwen3", "--engine", "ollama", "--format", "json")
    assert (ran.code, ran.error["code"]) == (1, "disk_full")
    assert "Make room" in ran.error["remedy"]


def test_an_address_with_nothing_behind_it_is_said(flm: Flm, web: WebServer) -> None:
    """And nothing is added."""
    ran = flm("models", "pull", web.url("/gone.gguf"), "--format", "json")
    assert (ran.code, ran.error["code"]) == (1, "download_not_found")


def test_deleting_is_asked_about(here: Flm, ollama: OllamaFake, person: io.StringIO) -> None:
    """What is deleted, how large it is and where; anything but a yes leaves it."""
    person.write("no\n")
    person.seek(0)
    refused = here("models", "remove", "tiny", "--engine", "ollama")
    assert (refused.code, "tiny:latest" in ollama.models) == (1, True)
    assert "Delete tiny:latest (520 kB) from ollama? [y/N]" in refused.err
    person.seek(0)
    person.write("yes\n")
    person.seek(0)
    agreed = here("models", "remove", "tiny", "--engine", "ollama")
    assert (agreed.code, "tiny:latest" in ollama.models) == (0, False)


def test_nothing_is_deleted_where_nobody_can_be_asked(here: Flm, ollama: OllamaFake) -> None:
    """Scripts say --yes."""
    refused = here("models", "remove", "tiny", "--engine", "ollama", "--format", "json")
    assert (refused.code, refused.error["code"]) == (1, "not_confirmed")
    assert "--yes" in refused.error["remedy"]
    removed = here("models", "remove", "tiny", "--engine", "ollama", "--yes", "--format", "json")
    assert removed.data == {
        "removed": "tiny:latest",
        "engine": "ollama",
        "deleted": True,
        "files": [],
    }


def test_a_model_is_loaded_and_unloaded_without_anything_that_serves(
    here: Flm, ollama: OllamaFake
) -> None:
    """The engine does it itself."""
    loaded = here("models", "load", "scripted-tools", "--engine", "ollama")
    assert loaded.out == (
        "The model scripted-tools:latest is in memory, on ollama, with a context of 4,096 tokens.\n"
    )
    unloaded = here("models", "unload", "tiny", "--engine", "ollama")
    assert unloaded.out == "The model tiny:latest is out of memory, on ollama.\n"
    assert list(ollama.loaded) == ["scripted-tools:latest"]


@pytest.mark.needs_embedded
def test_a_fetched_file_is_deleted_and_one_of_the_users_is_not(
    flm: Flm, web: WebServer, tmp_path: Path, data_dir: Path
) -> None:
    """Though both are served by the embedded engine."""
    pytest.importorskip("gguf", reason="pip install 'flm-gateway[embedded]'")
    from flm.engines.embedded.demo import write_demo

    write_demo(tmp_path / "mine.gguf")
    sha = web.put("/theirs.gguf", (tmp_path / "mine.gguf").read_bytes())
    flm("models", "pull", str(tmp_path / "mine.gguf"), "--sha256", sha)
    flm("models", "pull", web.url("/theirs.gguf"), "--sha256", sha)
    shown = flm("models", "show", "theirs", "--format", "json").data["homes"][0]
    assert Path(shown["path"]).is_relative_to(data_dir / "models")

    removed = flm("models", "remove", "mine")
    assert removed.out == "The model mine is removed; its file stays.\n"
    assert flm("models", "remove", "theirs", "--yes").code == 0
    assert (tmp_path / "mine.gguf").exists()
    assert not Path(shown["path"]).exists()
