"""The pages of `docs/engines` say what the code does: commands, settings, places, abilities."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import click
import pytest

from flm.cli.root import flm
from flm.cli.session import Session
from flm.domain.engines import KINDS, EngineKind, EngineState
from flm.domain.traits import Keeping
from flm.engines.registry import adapters
from flm.language import load
from flm.locales import catalogues
from flm.ports.engines import EngineAdapter
from flm.ports.machine import Platform
from flm.services.detection_names import PRODUCTS, base_of
from flm.services.detection_places import PORTS
from flm.services.exposure import HOLES
from flm.settings import FAMILIES, setting
from support.machines import HOMES, MadeUp

FOLDER = Path(__file__).parent.parent / "docs" / "engines"
NAMES = ("README", *KINDS)
PAGES = sorted(FOLDER.glob("*.md"))
FENCE = re.compile(r"^```([a-z ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(
    r"(?!server\.py)(?:server|streams|engines?|embedded|logs|journal)\.[A-Za-z][\w.-]*(?:\[.*])?"
)
SYSTEMS: Mapping[str, Platform] = {"Linux": "linux", "macOS": "darwin", "Windows": "win32"}
SOURCE = "".join(
    re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8"))
    for path in (FOLDER.parent.parent / "src" / "flm").rglob("*.py")
)
WINDOWS_OWN = {"LOCALAPPDATA", "PROGRAMFILES"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
every_adapter = pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.kind)


def english(name: str) -> str:
    """An English page."""
    return (FOLDER / f"{name}.md").read_text("utf-8")


def japanese(name: str) -> str:
    """A Japanese page."""
    return (FOLDER / f"{name}.ja.md").read_text("utf-8")


def section(page: str, number: int) -> str:
    """The section with that number, from 1, without its heading."""
    return re.split(r"^## .*\n", page, flags=re.MULTILINE)[number]


def found_by(adapter: EngineAdapter) -> tuple[str, str]:
    """`How FLM finds it` in both languages."""
    return section(english(adapter.kind), 2), section(japanese(adapter.kind), 2)


def rows(text: str, *, cells: int) -> list[list[str]]:
    """The rows of tables with so many columns, without headings and rules."""
    split = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    told = [[cell.strip() for cell in row] for row in split]
    rules = [number for number, row in enumerate(told) if set("".join(row)) == {"-"}]
    heads = {number for rule in rules for number in (rule - 1, rule)}
    return [row for number, row in enumerate(told) if number not in heads and len(row) == cells]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each line in a block that runs `flm`, without what the shell does around it."""
    for _, block in FENCE.findall(text):
        for line in block.splitlines():
            ran = re.match(r"(?:.*\| )?flm (.*)", line)
            if ran is not None:
                words = shlex.split(ran[1].replace("\\", "/"), comments=True)
                yield words[: words.index("<")] if "<" in words else words


def mentioned(text: str) -> Iterator[list[str]]:
    """The words of each `flm …` in the text itself."""
    for words in INLINE.findall(FENCE.sub("", text)):
        if words.startswith("flm "):
            yield shlex.split(words)[1:]


def quoted(page: str, name: str) -> Iterator[str]:
    """What FLM is said to show: in the first column of the tables of states and of troubles."""
    told = re.split(r"^## .*\n", page, flags=re.MULTILINE)
    states = rows(told[3], cells=4) if name == "README" else []
    for row in [*states, *rows(told[-2], cells=2)]:
        for words in INLINE.findall(row[0]):
            if re.search(r"[^\x00-\u2fff]|^(?!flm ).* ", words):
                yield words


def says(message: str, words: str) -> bool:
    """Whether a message says those words, `…` and numbers standing for anything."""
    rest = message.replace("`", "")
    for part in re.split(r"…|\d+", words):
        _, found, rest = rest.partition(part) if part else ("", "-", rest)
        if not found:
            return False
    return True


def resolved(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that those words run, and the rest of them. Fails when there is none."""
    command: click.Command = flm
    context = click.Context(flm, info_name="flm", obj=Session({}, load("en")))
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        member = command.get_command(context, rest[0])
        assert member is not None, words
        more = member.context_settings
        context = click.Context(member, parent=context, info_name=rest.pop(0), **more)
        command = member
    return command, context, rest


class Asked(dict[str, str]):
    """An environment that remembers which variables were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Nothing is set."""
        self.names.add(key)
        return default


def test_every_kind_has_a_page_in_both_languages() -> None:
    """And there is no page without a kind, the index aside."""
    assert {page.name for page in PAGES} == {
        f"{name}{suffix}.md" for name in NAMES for suffix in ("", ".ja")
    }


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_show_the_same_code(name: str) -> None:
    """What is run for the one holds for the other; so do headings and tables, one for one."""
    pages = (english(name), japanese(name))
    blocks, headings, tables = (
        [re.findall(pattern, page, flags) for page in pages]
        for pattern, flags in (
            (FENCE.pattern, re.MULTILINE | re.DOTALL),
            (r"^#+ ", re.MULTILINE),
            (r"^\|", re.MULTILINE),
        )
    )
    assert [re.sub(" +#.*", "", text) for _, text in blocks[0]] == [
        re.sub(" +#.*", "", text) for _, text in blocks[1]
    ]
    assert headings[0] == headings[1]
    assert len(tables[0]) == len(tables[1])


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_link_to_each_other(name: str) -> None:
    """The first line under the title leads to the other one; pages lead to the index."""
    assert f"[日本語]({name}.ja.md)" in english(name)
    assert f"[English]({name}.md)" in japanese(name)
    assert name == "README" or ("(README.md)" in english(name)
                                and "(README.ja.md)" in japanese(name))  # fmt: skip


@every_page
def test_every_line_that_is_to_be_pasted_is_understood(page: Path) -> None:
    """Command, options, choices and the number of arguments."""
    for words in commands(page.read_text("utf-8")):
        command, context, rest = resolved(words)
        made = command.make_context(context.info_name, rest, parent=context.parent)
        assert made.params is not None, words


@every_page
def test_every_command_in_the_text_is_there_with_its_options(page: Path) -> None:
    """Where arguments are left out, the rest is right all the same."""
    for words in mentioned(page.read_text("utf-8")):
        command, context, rest = resolved(words)
        left, _, _ = command.make_parser(context).parse_args(rest)
        assert left is not None, words


@every_page
def test_every_setting_exists_and_takes_the_value_that_is_shown(page: Path) -> None:
    """`NAME` stands for any engine."""
    text = page.read_text("utf-8")
    for words in INLINE.findall(FENCE.sub("", text)):
        if SETTING.fullmatch(words):
            assert setting(words.replace("NAME", "mine")).name, words
    for words in (*commands(text), *mentioned(text)):
        given = [word for word in words[2:] if word != "--default"]
        if words[:2] == ["config", "set"] and given:
            found = setting(given[0].replace("NAME", "mine"))
            assert len(given) == 1 or found.kind.parse(given[0], given[1]) is not None, words


@every_adapter
def test_the_ports_and_variables_it_names_are_those_that_are_asked(adapter: EngineAdapter) -> None:
    """Of a machine on which nothing is set; the products have their ports in the search for all."""
    asked = Asked()
    machines = [MadeUp(platform=platform, environment=asked) for platform in SYSTEMS.values()]
    ports = {place.port for machine in machines for place in adapter.places(machine)}
    for machine in machines:
        adapter.installed(machine)
    for text in found_by(adapter):
        named = {int(port) for port in re.findall(r"(?<![\d.-])\d{4,5}\b", FENCE.sub("", text))}
        variables = set(re.findall(r"`([A-Z][A-Z_]{5,})`", text))
        assert variables == asked.names - WINDOWS_OWN
        if adapter.kind == "custom":
            assert named <= set(PORTS)
        else:
            assert named == ports


@every_adapter
def test_a_program_is_found_where_the_page_says(adapter: EngineAdapter) -> None:
    """Every path in the table, one after the other, as the only one on a made-up machine."""
    for text in found_by(adapter):
        for systems, where in rows(text, cells=2):
            for system in systems.split(", "):
                platform = SYSTEMS[system]
                home = HOMES[platform]
                for path in INLINE.findall(where):
                    place = path.replace("*", "x").replace("%LOCALAPPDATA%", r"~\AppData\Local")
                    place = home + place[1:] if place.startswith("~") else place
                    inside = ("", "/server.py", "/modules/api/script.py")
                    files = {f"{place}{name}": "" for name in inside}
                    assert adapter.installed(MadeUp(platform, files=files)) is not None, path


@pytest.mark.parametrize("name", NAMES)
def test_the_messages_it_quotes_are_those_that_are_shown(name: str) -> None:
    """In the reader's language; what only clients and programs are told is English in both."""
    known = [message for message in catalogues.read("ja") if message.id]
    english_ones = [str(message.id) for message in known]
    for page, texts in (
        (english(name), english_ones),
        (japanese(name), [str(message.string) for message in known]),
    ):
        for words in quoted(page, name):
            translated = any(says(text, words) for text in texts)
            raw = words.strip("… ") in SOURCE and not any(
                says(text, words) for text in english_ones
            )
            assert translated or raw, words


def test_the_index_tells_what_flm_can_do_with_each_kind() -> None:
    """Started, fetched, deleted, loaded and unloaded, as the adapters' traits say."""
    for page, yes in ((english("README"), ("yes", "part")), (japanese("README"), ("はい", "FLM"))):
        table = {
            row[0].strip("`"): [cell.startswith(yes) for cell in row[1:]]
            for row in rows(section(page, 1), cells=5)
        }
        assert table == {adapter.kind: abilities(adapter) for adapter in adapters()}


def abilities(adapter: EngineAdapter) -> list[bool]:
    """Started, fetches, deletes, loads and unloads."""
    keeping = set(adapter.traits.keeping)
    pairs: tuple[set[Keeping], ...] = ({"pull"}, {"remove"}, {"load", "unload"})
    started = adapter.starter is not None or adapter.kind == "embedded"
    return [started, *(pair <= keeping for pair in pairs)]


def test_the_index_tells_every_state() -> None:
    """By the words that programs see."""
    states = {str(state.__struct_config__.tag) for state in get_args(EngineState)}
    for page in (english("README"), japanese("README")):
        told = {word for row in rows(section(page, 3), cells=4) for word in INLINE.findall(row[1])}
        assert {word for word in told if "-" in word} == states


def test_the_index_tells_every_setting_that_an_engine_can_have() -> None:
    """One row for each family."""
    for page in (english("README"), japanese("README")):
        told = [INLINE.findall(row[0])[0] for row in rows(section(page, 9), cells=3)]
        assert sorted(told) == sorted(f"engines.NAME.{family.leaf}" for family in FAMILIES)


def test_the_products_are_those_that_are_known_by_name() -> None:
    """With the names that they get in the list."""
    for page in (english("custom"), japanese("custom")):
        told = {row[0]: INLINE.findall(row[1])[0] for row in rows(section(page, 2), cells=4)}
        assert told == {name: base_of("custom", name) for name in PRODUCTS}


def test_the_index_tells_which_versions_have_holes() -> None:
    """The version that mends the last one of each."""
    last: dict[EngineKind, str] = {kind: holes[-1].fixed for kind, holes in HOLES.items()}
    assert last == {"ollama": "0.20.3", "vllm": "0.22.0"}
    for page in (english("README"), japanese("README")):
        assert all(version in section(page, 11) for version in last.values())
