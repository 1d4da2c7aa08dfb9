"""`docs/api.md` and its Japanese sister: examples run, routes, parameters and engines held."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flm.cli import api_page, parameter_table
from flm.dialects.client_anthropic.form import KNOWN as ANTHROPIC
from flm.dialects.client_ollama.options import KNOWN as OPTIONS
from flm.dialects.client_ollama.request import CHAT_KNOWN as OLLAMA
from flm.dialects.client_responses.asked import KNOWN as RESPONSES
from flm.dialects.openai_chat import KNOWN as CHAT
from flm.domain.engines import KINDS
from flm.engines.registry import adapters
from flm.gateway.endpoints.table import route_table
from flm.language import load
from support.documents import PORT, blocks, demo, run_in_shell

DOCS = Path(__file__).parent.parent / "docs"
ENGLISH = (DOCS / "api.md").read_text(encoding="utf-8")
JAPANESE = (DOCS / "api.ja.md").read_text(encoding="utf-8")
PAGES = (ENGLISH, JAPANESE)
STRICT = 'curl() { command curl -sS --fail-with-body "$@"; }\n'
TELLING = 'curl() { command curl -sS -w "\\n%{http_code}\\n" "$@"; }\n'
WAV = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00"

EXAMPLES = [block.text for block in blocks(ENGLISH) if block.kind == "sh"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`flm up --demo`, as the page says."""
    with demo(tmp_path_factory.mktemp("api") / "data") as environ:
        yield environ


def of_kind(kind: str) -> str:
    """The one block of that kind."""
    (text,) = [block.text for block in blocks(ENGLISH) if block.kind == kind]
    return text


@pytest.mark.needs_embedded
@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_works(served: dict[str, str], text: str) -> None:
    """With the key in the environment, each line answered with 200."""
    shown = run_in_shell(STRICT + text.replace(PORT, served["TEST_PORT"]), served)

    assert shown.strip()
    assert '"error":' not in shown.replace('"error":null', "")


@pytest.mark.needs_embedded
def test_what_the_demo_cannot_do_says_so(served: dict[str, str], tmp_path: Path) -> None:
    """The requests themselves are good: it is the engine that cannot."""
    (tmp_path / "hello.wav").write_bytes(WAV)
    text = TELLING + of_kind("sh refused").replace(PORT, served["TEST_PORT"])
    lines = run_in_shell(text, served, tmp_path).splitlines()
    bodies, statuses = lines[0::2], lines[1::2]

    assert statuses == ["400"] * 4
    assert {json.loads(body)["error"]["code"] for body in bodies} == {"unsupported_operation"}


@pytest.mark.needs_embedded
def test_errors_look_as_they_are_shown(served: dict[str, str]) -> None:
    """In the form of each dialect."""
    shown = run_in_shell(TELLING + of_kind("sh error").replace(PORT, served["TEST_PORT"]), served)
    lines = shown.splitlines()
    bodies, statuses = lines[0::2], lines[1::2]

    assert statuses == ["404"] * 3
    for body, pattern in zip(bodies, of_kind("text").splitlines(), strict=True):
        assert re.fullmatch(re.escape(pattern).replace("…", ".*"), body)


def test_both_languages_show_the_same_code() -> None:
    """And have the same headings and tables, one for one."""
    assert blocks(ENGLISH) == blocks(JAPANESE)
    for pattern in (r"^#+ ", r"^\|", r"^<!-- .*"):
        english, japanese = (re.findall(pattern, page, re.MULTILINE) for page in PAGES)
        assert english == japanese


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_every_route_stands_in_the_table(page: str) -> None:
    """Those of the table and no other, with how much body each takes."""
    table = route_table()
    routes = [*table.exact.values(), *table.prefixes]
    named = re.findall(r"`(GET|POST|DELETE) (/[^`\s]*)`", page.partition("## ")[2])

    assert {(route.method.decode(), route.name) for route in routes} ^ set(named) == {
        ("POST", "/v1/responses/{id}"),  # of the table alone, and of the page alone:
        ("POST", "/v1/responses/{id}/cancel"),
        ("GET", "/v1/responses/{id}/input_items"),
    }
    for route in routes:
        if route.body_limit > 1 << 20:
            (row,) = [
                line
                for line in page.splitlines()
                if line.startswith("| `") and f"`{route.method.decode()} {route.name}`" in line
            ]
            assert f"| {route.body_limit >> 20} MiB |" in row


@pytest.mark.parametrize(
    ("dialect", "known"),
    [
        ("openai", CHAT - {"model", "messages"}),
        ("responses", RESPONSES - {"model", "input"}),
        ("anthropic", ANTHROPIC - {"model", "messages"}),
        ("ollama", OLLAMA - {"model", "messages", "options"} | {f"options.{n}" for n in OPTIONS}),
    ],
)
def test_every_parameter_has_a_row(dialect: str, known: frozenset[str]) -> None:
    """Each that the dialect knows."""
    (table,) = [each for each in parameter_table.TABLES if each.dialect == dialect]

    assert known - table.values.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_the_page_has_every_part(page: str) -> None:
    """A table for each dialect, and one of the kinds of engines."""
    assert api_page.parts(page) == [
        "apis",
        "parameters openai",
        "parameters responses",
        "parameters anthropic",
        "parameters ollama",
    ]


def test_the_tables_say_what_the_dialects_do() -> None:
    """Some of their rows, by hand."""
    rows = {
        (table.dialect, row[0]): row[1:]
        for table in parameter_table.TABLES
        for row in parameter_table.rows(table, load("en"))
    }

    assert rows["openai", "`max_tokens`"] == ["as it is", "`options.num_predict`"]
    assert rows["openai", "`n`"] == ["as it is", "400 `unsupported_parameter`"]
    assert rows["openai", "`user`"] == ["as it is", "dropped"]
    assert rows["anthropic", "`system`"] == ["as it is", "`messages`", "`messages`"]
    assert rows["anthropic", "`thinking`"] == ["as it is", "`reasoning_effort`", "`think`"]
    assert rows["responses", "`store`"] == ["by FLM", "by FLM"]
    assert rows["ollama", "`options.num_ctx`"] == ["dropped", "dropped"]


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_what_engines_leave_aside_is_what_their_adapters_know(page: str) -> None:
    """Every name of a parameter that a kind's traits hold stands in its row."""
    rows = {
        kind: line
        for line in page.splitlines()
        for kind in KINDS
        if line.startswith("| `") and f"`{kind}`" in line.split("|")[1] and line.count("|") == 4
    }
    for adapter in adapters():
        if adapter.traits.translated:
            continue  # FLM writes its requests itself
        for told in (*adapter.traits.ignored, *adapter.traits.rejected):
            name = told.split(" ")[0].strip(",").partition(".")[0]
            assert f"`{name}`" in rows[adapter.kind] or name == "what"
