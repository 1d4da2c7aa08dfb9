"""`flm engines`: real engines of the test's own, looked at by nothing but the command."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Flm

from flm.domain.instance import instance_of
from flm.paths import data_paths
from flm.store import FileSecrets
from support import engines
from support.fakes import emulators
from support.replay import ReplayServer

NOWHERE = "http://127.0.0.1:1/v1"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put that on stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_an_engine_is_found_by_its_variable_and_listed_afterwards(flm: Flm) -> None:
    """With its version; what was found is known without another look."""
    with ReplayServer(engines.ollama()) as server:
        environ = {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}
        detected = flm("engines", "detect", "--format", "json", environ=environ).data["engines"]
    listed = flm("engines", "list", "--format", "json").data["engines"]
    (ollama,) = [each for each in detected if each["kind"] == "ollama"]
    assert (ollama["id"], ollama["state"], ollama["version"], ollama["remote"]) == (
        "ollama", "running-healthy", "0.33.0-rc2", False,
    )  # fmt: skip
    assert [each["id"] for each in listed] == [each["id"] for each in detected]


def test_an_added_engine_goes_by_its_true_name(flm: Flm) -> None:
    """Told by what it answers."""
    with ReplayServer(emulators.koboldcpp()) as server:
        flm("engines", "add", "mine", "--url", server.url)
        told = flm("engines", "detect").out
    assert "KoboldCpp" in told
    assert "1.102" in told


def test_an_engine_elsewhere_is_added_and_marked(flm: Flm) -> None:
    """By name and over HTTPS; that prompts leave the machine is said at once."""
    ran = flm("engines", "add", "far", "--url", "https://box.invalid/v1")
    added = flm("engines", "list", "--format", "json").data["added"]
    assert "prompts to its models leave this machine" in ran.err
    assert (added[0]["url"], added[0]["remote"]) == ("https://box.invalid:443", True)


def test_an_engine_elsewhere_is_marked_in_the_list(flm: Flm) -> None:
    """And plain HTTP across the network is warned of."""
    flm("engines", "add", "far", "--url", "http://box.invalid:8000/v1")
    ran = flm("engines", "detect")
    assert "http://box.invalid:8000 (remote)" in ran.out
    assert "far: Prompts to far cross the network unencrypted." in ran.err


def test_a_ca_file_that_is_none_is_refused(flm: Flm, tmp_path: Path) -> None:
    """Before anything is stored."""
    ran = flm(
        *("engines", "add", "far", "--url", "https://box.invalid"),
        *("--ca-file", str(tmp_path / "missing.pem"), "--format", "json"),
    )
    assert (ran.code, ran.error["code"]) == (1, "invalid_value")
    assert flm("engines", "list", "--format", "json").data["added"] == []


def test_a_locked_engine_says_which_command_stores_its_key(
    flm: Flm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That command works for an engine that was found, and the key is sent from then on."""
    with ReplayServer(engines.llamacpp_locked()) as server:
        environ = {"LLAMA_CPP_PORT": str(server.port)}
        locked = flm("engines", "detect", environ=environ)
        typed(monkeypatch, "sesame\n")
        stored = flm("engines", "set-key", "llamacpp", "--api-key-stdin", environ=environ)
        flm("engines", "detect", environ=environ)
    assert "wants a key" in locked.out
    assert "`flm engines set-key llamacpp --api-key-stdin` stores it." in locked.err
    assert stored.out == "The key of llamacpp is stored, sealed.\n"
    assert "Bearer sesame" in {seen.headers.get("authorization") for seen in server.seen}


def test_a_key_is_forgotten(flm: Flm, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--forget`; it is said which of the two is meant."""
    typed(monkeypatch, "sesame\n")
    flm("engines", "add", "mine", "--url", NOWHERE, "--api-key-stdin")
    assert flm("engines", "set-key", "mine", "--forget").out == "The key of mine is forgotten.\n"
    assert not flm("engines", "list", "--format", "json").data["added"][0]["has_key"]
    neither = flm("engines", "set-key", "mine", "--format", "json")
    assert (neither.code, neither.error["code"]) == (1, "invalid_value")


def test_a_renamed_engine_keeps_its_name_at_the_next_look(flm: Flm) -> None:
    """It was found, and is found again under the user's name."""
    with ReplayServer(engines.ollama()) as server:
        environ = {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}
        flm("engines", "detect", environ=environ)
        renamed = flm("engines", "rename", "ollama", "big-box")
        detected = flm("engines", "detect", "--format", "json", environ=environ).data["engines"]
    assert renamed.out == "The engine ollama is called big-box now.\n"
    assert [each["id"] for each in detected if each["kind"] == "ollama"] == ["big-box"]


def test_this_flm_is_not_added_and_another_is(flm: Flm, data_dir: Path) -> None:
    """Told by its instance, whatever address it has."""
    flm("engines", "list")
    own = instance_of(FileSecrets(data_paths(data_dir)).pepper())
    with (
        ReplayServer(emulators.flm(own)) as ours,
        ReplayServer(emulators.flm("0123456789abcdef")) as other,
    ):
        refused = flm("engines", "add", "me", "--url", ours.url, "--format", "json")
        taken = flm("engines", "add", "neighbour", "--url", other.url)
    assert (refused.code, refused.error["code"]) == (1, "own_address")
    assert taken.code == 0
