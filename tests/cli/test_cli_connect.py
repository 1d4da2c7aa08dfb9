"""`flm connect` as it is typed, with a real FLM behind it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Flm, Ran

from flm.domain.keys import KEY_PATTERN
from flm.services.connect.situation import CLIENTS, ClientName
from support import running_flm

pytest.importorskip("xllamacpp", reason="pip install 'flm-gateway[embedded]'")
pytestmark = pytest.mark.needs_embedded

Here = Callable[..., Ran]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running_flm.Flm]:
    """A gateway with the demo model, in the background."""
    folder = tmp_path_factory.mktemp("connect") / "data"
    flm = running_flm.Flm(folder, {"OLLAMA_HOST": "127.0.0.1:1"})
    flm.start("--demo")
    yield flm
    flm.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder, empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def here(house: running_flm.Flm, home: Path, flm: Flm) -> Here:
    """Runs `flm connect` for that user on what is served."""
    variables = {"FLM_DATA_DIR": str(house.data), "HOME": str(home), "PATH": os.environ["PATH"]}
    return lambda *argv: flm("connect", *argv, environ=variables)


def keys(house: running_flm.Flm, label: str) -> list[str]:
    """The states of the keys of that label."""
    return [key["state"] for key in house.tell("api-keys", "list")["keys"] if key["label"] == label]


def test_settings_are_shown_without_a_key(here: Here, home: Path) -> None:
    """The file, what goes into it, and one real answer."""
    ran = here("continue")

    assert ran.code == 0, ran
    assert f"Into {home}/.continue/config.yaml:" in ran.out
    assert '      apiKey: "$FLM_API_KEY"' in ran.out
    assert "`flm connect continue --write` makes one" in ran.out
    assert re.search(r"/v1/chat/completions answered in [\d.]+ s: flm-demo, \d+ tokens in", ran.out)
    assert not re.search(KEY_PATTERN, ran.out + ran.err)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("client", "heading"),
    [
        ("claude", r"Claude Code → http://127\.0\.0\.1:\d+"),
        ("codex", r"Codex → http://127\.0\.0\.1:\d+/v1"),
    ],
)
def test_the_heading_names_the_address_that_the_client_takes(
    here: Here, client: str, heading: str
) -> None:
    """Anthropic's clients begin without `/v1`."""
    assert re.fullmatch(heading, here(client).out.splitlines()[0])


@pytest.mark.parametrize("client", CLIENTS)
def test_every_clients_request_is_answered(here: Here, client: ClientName) -> None:
    """In its own dialect, by the model that was chosen."""
    ran = here(client, "--format", "json")

    assert ran.code == 0, ran
    proof = ran.data["proof"]
    assert (proof["model"], proof["models"]) in (("flm-demo", None), ("flm-demo", 1))
    assert ran.data["api_key"] is None


def test_the_context_of_the_demo_is_warned_of(here: Here) -> None:
    """It is too short for anything."""
    assert "flm-demo has a context of 2,048 tokens" in here("zed").err


def test_settings_are_written_and_undone(here: Here, home: Path, house: running_flm.Flm) -> None:
    """With a key that is printed nowhere, and revoked in the end."""
    path = home / ".aider.conf.yml"
    path.write_text("# mine\ndark-mode: true\n")

    written = here("aider", "--write", "--format", "json")

    assert written.code == 0, written
    key = re.search(KEY_PATTERN, path.read_text())
    assert key is not None
    assert not re.search(KEY_PATTERN, written.out + written.err)
    assert written.data["proof"]["model"] == "flm-demo"
    backup = written.data["written"][0]["backup"]
    assert Path(backup).read_text() == "# mine\ndark-mode: true\n"
    again = here("aider", "--write", "--format", "json").data["written"]
    assert [each["changed"] for each in again] == [False, False]
    assert keys(house, "aider (flm connect)") == ["active"]
    undone = here("aider", "--undo", "--format", "json").data
    assert [(each["changed"], each["removed"]) for each in undone["files"]] == [
        (True, False),
        (True, True),
    ]
    assert path.read_text() == "# mine\ndark-mode: true\n"
    assert keys(house, "aider (flm connect)") == ["revoked"]


def test_undo_says_what_it_did(here: Here, home: Path) -> None:
    """And when there was nothing."""
    assert here("zed", "--write").code == 0
    path = home / ".config" / "zed" / "settings.json"
    path.write_text(path.read_text().replace("flm-demo", "mine"))

    undone = here("zed", "--undo")

    assert f"{path} holds nothing of FLM's." in undone.out
    assert "language_models.openai_compatible.FLM was changed since, and stays." in undone.out
    assert "is revoked." in undone.out
    assert "Nothing to undo" in here("zed", "--undo").out


def test_a_new_key_is_printed_once(here: Here, house: running_flm.Flm) -> None:
    """As the line that puts it where the client reads it."""
    ran = here("zed", "--new-key", "my zed")

    (key,) = re.findall(KEY_PATTERN, ran.out + ran.err)
    assert f"\nexport FLM_API_KEY={key}\n" in ran.out
    assert keys(house, "my zed") == ["active"]


def test_a_key_for_a_file_is_printed_alone(here: Here) -> None:
    """The settings beside it have the variable's name in its place."""
    told = here("continue", "--new-key", "mine", "--format", "json").data

    assert re.fullmatch(KEY_PATTERN, told["api_key"])
    assert told["api_key"].startswith(f"flm_{told['key_id']}_")
    assert "$FLM_API_KEY" in told["files"][0]["settings"]


def test_a_key_from_stdin(
    here: Here, home: Path, house: running_flm.Flm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, and shown nowhere."""
    _, clear = house.key("piped")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{clear}\n"))

    ran = here("continue", "--write", "--key-stdin")

    assert ran.code == 0, ran
    assert clear in (home / ".continue" / "config.yaml").read_text()
    assert clear not in ran.out + ran.err


def test_lines_for_this_shell_can_be_evaluated(here: Here) -> None:
    """Everything else goes to stderr."""
    ran = here("env")
    script = 'eval "$1"; printf "%s %s" "$OPENAI_BASE_URL" "$ANTHROPIC_AUTH_TOKEN"'
    shell = subprocess.run(
        ["/bin/sh", "-euc", script, "sh", ran.out],
        env={"FLM_API_KEY": "flm_x"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1 flm_x", shell.stdout)
    assert "/v1/models answered" in ran.err


def test_a_request_that_fails_hides_no_settings(
    here: Here, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told, the error follows, and the exit code is 1."""
    from flm.services.connect import proof

    def broken(*_: Any) -> tuple[int, bytes]:
        return 503, b'{"error": {"message": "The engine is gone.", "code": "engine_gone"}}'

    monkeypatch.setattr(proof, "send", broken)

    ran = here("aider", "--format", "json")

    assert (ran.code, ran.error["code"]) == (1, "engine_gone")
    told = json.loads(ran.out)["data"]
    assert told["proof"] is None
    assert told["files"][0]["path"] == f"{home}/.aider.conf.yml"


@pytest.mark.parametrize(
    "flags",
    [("--undo", "--write"), ("--undo", "--model", "m"), ("--key-stdin", "--new-key", "x")],
)
def test_flags_that_exclude_each_other(here: Here, flags: tuple[str, ...]) -> None:
    """Nothing is done."""
    ran = here("zed", *flags, "--format", "json")

    assert (ran.code, ran.error["code"]) == (1, "usage")


def test_a_client_nobody_knows(here: Here) -> None:
    """The ones there are, are named."""
    ran = here("emacs")

    assert ran.code == 1
    assert "'claude', 'codex', 'open-webui'" in ran.err


def test_without_a_gateway_it_says_how_to_start_one(flm: Flm, home: Path, data_dir: Path) -> None:
    """Exit code 1, and nothing is made."""
    ran = flm("connect", "claude", "--format", "json", environ={"HOME": str(home)})

    assert (ran.code, ran.error["code"]) == (1, "not_running")
    assert "flm up" in ran.error["remedy"]
    assert not data_dir.exists()


def test_undo_without_a_gateway(flm: Flm, home: Path) -> None:
    """There is nothing of FLM's, which is fine."""
    ran = flm("connect", "claude", "--undo", "--format", "json", environ={"HOME": str(home)})

    assert ran.code == 0
    assert ran.data == {"client": "claude", "files": [], "revoked_key_id": None}
