"""`docs/connect.md` and its Japanese sister show what `flm connect` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.services.connect.formats import applied
from flm.services.connect.registry import REGISTRY
from flm.services.connect.situation import CLIENTS, ClientName
from services.connect_support import situation

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("connect.md", "connect.ja.md")


def page(name: str) -> str:
    """The page's text."""
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_settings_are_those_of_the_program(name: str, client: ClientName) -> None:
    """Every file and every line, for the model and the port the page names."""
    settings = REGISTRY[client].settings(situation())
    text = page(name)

    blocks = [
        f"```{file.format}\n{applied(file.format, '', file.entries)}```" for file in settings.files
    ]
    assert [block for block in blocks if block not in text] == []
    assert [line for line in settings.lines if f"{line}\n" not in f"{text}\n"] == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_and_its_context_stand_in_the_table(name: str, client: ClientName) -> None:
    """With the route it asks, and how much context it needs."""
    facts = REGISTRY[client].facts
    (row,) = [line for line in page(name).splitlines() if line.startswith(f"| `{client}`:")]
    routes = {
        "messages": "`/v1/messages`",
        "responses": "`/v1/responses`",
        "chat": "`/v1/chat/completions`",
        "models": "`/v1/models`",
    }

    assert row.endswith(
        f"| {routes[facts.dialect]} | {f'{facts.needs:,}' if facts.needs else '-'} |"
    )


@pytest.mark.parametrize("name", PAGES)
def test_dockers_way_elsewhere_stands_there_too(name: str) -> None:
    """With the setting it needs."""
    *_, allow, docker = REGISTRY["open-webui"].settings(situation("darwin")).lines

    assert f"{allow}\n{docker}\n" in page(name)
