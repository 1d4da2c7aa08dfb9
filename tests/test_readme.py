"""The README's commands and examples, run as they stand, and the same in both languages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import PATIENCE, PORT, blocks, demo, run_in_shell, variables

ROOT = Path(__file__).parent.parent
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
JAPANESE = (ROOT / "README.ja.md").read_text(encoding="utf-8")


def of_kind(kind: str, holding: str) -> str:
    """The one block of that kind that holds these words."""
    (text,) = [
        block.text for block in blocks(ENGLISH) if block.kind == kind and holding in block.text
    ]
    return text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`flm up --demo`, and the variables of somebody who exported the key it showed."""
    with demo(tmp_path_factory.mktemp("readme") / "data") as environ:
        yield environ


def test_both_languages_show_the_same_code() -> None:
    """What is run for the one holds for the other."""
    assert blocks(ENGLISH) == blocks(JAPANESE)


def test_both_languages_have_the_same_sections() -> None:
    """Heading for heading."""
    english, japanese = (re.findall(r"^#+ ", text, re.MULTILINE) for text in (ENGLISH, JAPANESE))

    assert english == japanese


@pytest.mark.needs_embedded
def test_the_first_request_is_answered(served: dict[str, str]) -> None:
    """The curl lines, with the key in the environment."""
    text = of_kind("sh", "curl http://").replace(PORT, served["TEST_PORT"])
    lines = text.replace("export FLM_API_KEY=flm_…\n", "")

    answer = json.loads(run_in_shell(lines, served))

    assert (answer["object"], answer["model"]) == ("chat.completion", "flm-demo")


@pytest.mark.needs_embedded
def test_the_sdk_streams(served: dict[str, str], tmp_path: Path) -> None:
    """The Python example, saved and run."""
    example = tmp_path / "example.py"
    example.write_text(of_kind("python", "OpenAI(").replace(PORT, served["TEST_PORT"]))

    assert run_in_shell(f"{sys.executable} {example}", served).endswith("\n")


@pytest.mark.needs_embedded
def test_the_everyday_commands_work(served: dict[str, str]) -> None:
    """One after the other, on the FLM that runs."""
    shown = run_in_shell(of_kind("sh", "flm engines detect"), served)

    assert "embedded" in shown
    assert "flm-demo" in shown
    assert "laptop" in shown
    assert re.search(r"^flm_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}$", shown, re.MULTILINE)
    assert "server.port" in shown


def test_the_background_commands_work(tmp_path: Path) -> None:
    """Start, status, stop."""
    shown = run_in_shell(of_kind("sh", "flm proxy start"), variables(tmp_path / "data"))

    assert "FLM serves http://127.0.0.1:" in shown
    assert re.search(r"^State +running$", shown, re.MULTILINE)
    assert "has stopped" in shown


def test_every_make_target_exists() -> None:
    """`make` knows what the README names, and would run it."""
    targets = set(
        re.findall(r"\bmake ([a-z]+)\b", "".join(block.text for block in blocks(ENGLISH)))
    )

    assert targets == {"up", "test", "check", "help"}
    for target in sorted(targets):
        subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=True
        )


def test_every_command_it_names_exists(tmp_path: Path) -> None:
    """In the text as well as in the blocks."""
    import click

    from flm.cli.root import flm

    context = click.Context(flm)
    for line in re.findall(r"`flm ([a-z-]+(?: [a-z-]+)?)", ENGLISH + JAPANESE):
        name, _, inner = line.partition(" ")
        member = flm.get_command(context, name)
        assert member is not None, line
        if isinstance(member, click.Group) and line != "proxy restart":
            assert member.get_command(context, inner) is not None, line


def test_every_page_it_links_to_exists() -> None:
    """Relative links, in both languages."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", ENGLISH + JAPANESE)
    missing = [link for link in links if not (ROOT / link).exists()]

    assert missing == []


def test_the_folder_is_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux, without any variable."""
    from flm.paths import default_data_dir

    monkeypatch.setenv("HOME", "/srv/somebody")
    monkeypatch.delenv("XDG_DATA_HOME")

    assert "`~/.local/share/FLM`" in ENGLISH
    assert default_data_dir({}) == Path("/srv/somebody/.local/share/FLM")
