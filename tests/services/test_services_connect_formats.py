"""Changing JSON with comments, TOML and YAML in place: golden texts, and properties of any."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flm.services.connect.formats import FORMATS, applied, reverted
from flm.services.connect.situation import Element, Entry, FormatName
from flm.services.connect.tree import Fault

PROVIDER = Entry(("language_models", "openai_compatible", "FLM"), {"api_url": "u"})
TOKEN = Entry(("env", "TOKEN"), "secret")
MODEL = Entry(("model",), "qwen3:8b")
TABLE = Entry(("model_providers", "flm"), {"name": "FLM"})
ITEM = Entry(("models", Element("name", "FLM")), {"name": "FLM", "model": "q:8b"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "env": {\n    "TOKEN": "secret"\n  }\n}\n'),
        ("// mine\n", '// mine\n{\n  "env": {\n    "TOKEN": "secret"\n  }\n}\n'),
        ("{}", '{\n  "env": {\n    "TOKEN": "secret"\n  }\n}'),
        ("{ /* no */ }\n", '{ /* no */\n  "env": {\n    "TOKEN": "secret"\n  }\n}\n'),
        ('{"a":1}', '{"a":1, "env": {"TOKEN": "secret"}}'),
        ('{"a":1,}', '{"a":1, "env": {"TOKEN": "secret"},}'),
        (
            '{\n\t"a": 1 // one\n}\n',
            '{\n\t"a": 1, // one\n\t"env": {\n\t\t"TOKEN": "secret"\n\t}\n}\n',
        ),
        (
            '{\n    "a": 1, // one\n}\n',
            '{\n    "a": 1, // one\n    "env": {\n        "TOKEN": "secret"\n    },\n}\n',
        ),
        (
            '{\n  "env": {\n    "A": "x" /* y */\n  }, "z": 1\n}\n',
            '{\n  "env": {\n    "A": "x", /* y */\n    "TOKEN": "secret"\n  }, "z": 1\n}\n',
        ),
        ('{"env": {"TOKEN": 1, "B": 2}}', '{"env": {"TOKEN": "secret", "B": 2}}'),
        ('{"env": null}', '{"env": {\n  "TOKEN": "secret"\n}}'),
        ('{"env": 1, "env": {}}', '{"env": 1, "env": {\n  "TOKEN": "secret"\n}}'),
    ],
)  # fmt: skip
def test_json_is_added_to_in_its_own_style(before: str, after: str) -> None:
    """Indentation, comments and trailing commas stay; of names that come twice the last counts."""
    assert applied("json", before, [TOKEN]) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = 1", 'a = 1\nmodel = "qwen3:8b"\n\n[model_providers.flm]\nname = "FLM"\n'),
        (
            '# mine\nmodel = "gpt" # fav\n\n# tools\n[mcp.x]\ncommand = "npx"\n',
            ('# mine\nmodel = "qwen3:8b" # fav\n\n# tools\n[mcp.x]\ncommand = "npx"\n\n'
            '[model_providers.flm]\nname = "FLM"\n'),
        ),
        (
            'a = [\n  [1],\n]\n\n# tools\n[mcp]\nx = 1\n',
            ('a = [\n  [1],\n]\nmodel = "qwen3:8b"\n\n# tools\n[mcp]\nx = 1\n\n'
            '[model_providers.flm]\nname = "FLM"\n'),
        ),
        (
            "[t]\nx = 1\n",
            'model = "qwen3:8b"\n\n[t]\nx = 1\n\n[model_providers.flm]\nname = "FLM"\n',
        ),
    ],
)  # fmt: skip
def test_toml_gets_root_keys_above_its_tables(before: str, after: str) -> None:
    """And comments stay with what they are about."""
    assert applied("toml", before, [MODEL, TABLE]) == after


def test_a_table_beside_others_of_its_kind() -> None:
    """Other providers stay as they are."""
    before = '[model_providers.azure]\nname = "Azure" # a\n\n[tui]\ntheme = "x"\n'

    after = applied("toml", before, [TABLE])

    assert FORMATS["toml"].parse(after) == {
        "model_providers": {"azure": {"name": "Azure"}, "flm": {"name": "FLM"}},
        "tui": {"theme": "x"},
    }
    assert '[model_providers.azure]\nname = "Azure" # a\n' in after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "models:\n  - name: FLM\n    model: \"q:8b\"\n"),
        ("# mine\n", "# mine\nmodels:\n  - name: FLM\n    model: \"q:8b\"\n"),
        ("name: x", "name: x\nmodels:\n  - name: FLM\n    model: \"q:8b\"\n"),
        ("models: []\nz: 1\n", "models:\n  - name: FLM\n    model: \"q:8b\"\nz: 1\n"),
        ("models:\nz: 1\n", "models:\n  - name: FLM\n    model: \"q:8b\"\nz: 1\n"),
        ("models: [{name: a}]\n", 'models: [{name: a}, {"name": "FLM", "model": "q:8b"}]\n'),
        (
            "models:\n- name: a # one\n  roles:\n  - chat # c\n\n# rules\nrules: []\n",
            ("models:\n- name: a # one\n  roles:\n  - chat # c\n- name: FLM\n  model: \"q:8b\"\n\n"
            "# rules\nrules: []\n"),
        ),
        (
            "models:\n    - name: FLM\n      model: old\n      x: |\n        text\n    - name: b\n",
            "models:\n    - name: FLM\n      model: \"q:8b\"\n    - name: b\n",
        ),
    ],
)  # fmt: skip
def test_yaml_gets_an_element_in_its_list(before: str, after: str) -> None:
    """In the list's own indentation, behind the last or in the place of the one before."""
    assert applied("yaml", before, [ITEM]) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model: gpt # fav\nz: 1\n", 'model: "qwen3:8b" # fav\nz: 1\n'),
        ("model:\nz: 1\n", 'model: "qwen3:8b"\nz: 1\n'),
        ("model: |\n  a\n  b\nz: 1\n", 'model: "qwen3:8b"\nz: 1\n'),
        ("model:\n  - a\nz: 1\n", 'model:\n  "qwen3:8b"\nz: 1\n'),
        ("{z: 1}\n", '{z: 1, "model": "qwen3:8b"}\n'),
        ("---\nz: 1\n...\n", '---\nz: 1\nmodel: "qwen3:8b"\n...\n'),
    ],
)
def test_yaml_gets_a_value_at_its_root(before: str, after: str) -> None:
    """Whatever was there."""
    assert applied("yaml", before, [MODEL]) == after


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("json", '{"a": }', "a value is expected here"),
        ("json", '{\n"a" 1}', ": is expected here"),
        ("json", "[1]", "it is no object"),
        ("json", '{"env": 3}', "`env` holds something else than expected"),
        ("json", '{"a": "\\q"}', "Invalid \\escape: line 1 column 2 (char 1)"),
        ("json", '{} {}', "something follows the end"),
        ("json", '{"a": ' + "[" * 101 + "]" * 101 + "}", "it is nested more than 100 deep"),
        ("toml", "a = ", "Invalid value (at end of document)"),
        ("toml", 'model_providers = "x"', "`model_providers` holds something else than expected"),
        ("yaml", "a: [1", "expected ',' or ']', but got '<stream end>'"),
        ("yaml", "- a\n", "it is no mapping"),
        ("yaml", "a: 1\na: 2\n", 'found duplicate key "a" with value "2" (original value: "1")'),
        ("yaml", "models: x\n", "`models` holds something else than expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(form: FormatName, text: str, why: str) -> None:
    """With what is wrong with it."""
    entry = {"json": TOKEN, "toml": TABLE, "yaml": ITEM}[form]
    with pytest.raises(Fault) as caught:
        applied(form, text, [entry])

    assert caught.value.why == why


def test_a_text_whose_meaning_would_change_is_refused() -> None:
    """A last line without its end counts: the block would become another text."""
    with pytest.raises(Fault, match="cannot change without touching other things"):
        applied("yaml", "x: |\n  no end", [MODEL])


def test_a_value_that_somebody_changed_stays() -> None:
    """And what FLM wrote beside it goes."""
    before = '{"env": {"A": "1"}}'
    written = applied("json", before, [TOKEN, Entry(("env", "B"), "2")])
    edited = written.replace('"secret"', '"own"')

    text, kept = reverted("json", edited, before, [TOKEN, Entry(("env", "B"), "2")])

    assert json.loads(text) == {"env": {"A": "1", "TOKEN": "own"}}
    assert kept == (("env", "TOKEN"),)


@pytest.mark.parametrize(
    ("form", "before", "entries", "edit", "after"),
    [
        ("json", '{\n  "a": 1\n}\n', [TOKEN], ('"a": 1', '"a": 2'), '{\n  "a": 2\n}\n'),
        ("json", '{\n  "a": 1, // x\n}\n', [TOKEN], ("// x", "// y"), '{\n  "a": 1, // y\n}\n'),
        ("json", '{"env": {"TOKEN": 1}}', [TOKEN], ("}}", "} }"), '{"env": {"TOKEN": 1} }'),
        ("json", '{"a": 1}', [PROVIDER], ("1", "2"), '{"a": 2}'),
        ("toml", 'model = "gpt" # f\n', [MODEL, TABLE], ("# f", "# g"), 'model = "gpt" # g\n'),
        ("toml", "[t]\nx = 1\n", [MODEL, TABLE], ("x = 1", "x = 2"), "\n[t]\nx = 2\n"),
        ("yaml", "model: gpt\n", [MODEL, ITEM], ("models:", "y: 1\nmodels:"), "model: gpt\ny: 1\n"),
        (
            "yaml",
            "models:\n  - name: a\n",
            [ITEM],
            ("name: a", "name: b"),
            "models:\n  - name: b\n",
        ),
        ("yaml", "models: []\n", [ITEM], ("models:", "y: 1\nmodels:"), "y: 1\nmodels: []\n"),
    ],
)  # fmt: skip
def test_a_file_that_was_changed_since_loses_flms_entries_only(
    form: FormatName, before: str, entries: list[Entry], edit: tuple[str, str], after: str
) -> None:
    """What was before in their place comes back."""
    edited = applied(form, before, entries).replace(*edit, 1)

    text, kept = reverted(form, edited, before, entries)

    assert FORMATS[form].parse(text) == FORMATS[form].parse(after)
    assert text.strip() == after.strip()
    assert kept == ()


def is_woven_into(text: str, longer: str) -> bool:
    """Whether every character of `text` is in `longer`, in the same order."""
    rest = iter(longer)
    return all(character in rest for character in text)


# Texts as people write them.

names = some.sampled_from(["a", "env", "theme", "日本語", "x y", "b1", "models", "model"])
words = some.text(some.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
comments = some.sampled_from(["", " ", "  ", " // c, }\n", " /* { */ ", "\n", "\n  ", "\n\t// é\n"])


@some.composite
def jsonc(draw: some.DrawFn, depth: int = 0) -> str:
    """An object with comments, odd blanks, and trailing commas or none."""

    def gap() -> str:
        return draw(comments)

    members: list[str] = []
    for name in draw(some.lists(names, max_size=4, unique=True)):
        if name in ("env", "models") or (depth < 2 and draw(some.booleans())):
            value = draw(jsonc(depth + 1))
        else:
            plain = some.one_of(some.none(), some.booleans(), some.integers(), words,
                                some.lists(some.integers(), max_size=3))  # fmt: skip
            value = json.dumps(draw(plain), ensure_ascii=draw(some.booleans()))
        members.append(f"{gap()}{json.dumps(name)}{gap()}:{gap()}{value}{gap()}")
    tail = "," + gap() if members and draw(some.booleans()) else gap()
    return "{" + ",".join(members) + tail + "}"


toml_lines = some.sampled_from(
    ["# comment", "", "  # indented", 'model = "gpt-5" # fav', "n = 1",
     'multi = """\n[x]\n# y\n"""',
     "list = [\n  1, # one\n]", "d = 2026-01-01", "[t]", "[t.u]", "[[arr]]", "[model_providers.z]",
     'k = "日本語"', "inline = { a = 1 }", "x.y = 2"]
)  # fmt: skip
yaml_lines = some.sampled_from(
    ["# comment", "", "name: x # n", "model: gpt", "read: [a, b]", "list:\n  - a\n  - b # two",
     "models:\n  - name: a\n    roles: [chat]\n\n  - name: b # l\n    x: >\n      fold\n      on",
     "models: []", "text: |\n  # no comment\n  line", 'q: "日本語"',
     "map:\n    a: 1\n    # in\n    b: 2", "dash:\n  -\n  - # c\n",
     "models:\n- name: FLM\n  model: theirs\n- uses: some/model", "null_key:"]
)  # fmt: skip


def readable(form: FormatName, text: str) -> bool:
    """Whether it is a text of that format at all."""
    try:
        FORMATS[form].parse(text)
    except Fault:
        return False
    return True


def made_of(lines: some.SearchStrategy[str], form: FormatName) -> some.SearchStrategy[str]:
    """Files of such lines, with or without an end of the last one."""
    ends = some.sampled_from(["", "\n", "\n\n"])
    drawn = some.tuples(some.lists(lines, max_size=8), ends)
    return drawn.map(lambda t: "\n".join(t[0]) + t[1]).filter(lambda text: readable(form, text))


def round_trip(form: FormatName, text: str, entries: list[Entry]) -> None:
    """FLM's entries in, and nothing else changed; out again, and what was is there."""
    written = applied(form, text, entries)
    assert applied(form, written, entries) == written
    fresh = [entry for entry in entries if is_fresh(form, text, entry)]
    assert is_woven_into(text, applied(form, text, fresh))
    try:
        text_again, kept = reverted(form, written, text, entries)
    except Fault as error:
        assert "order that FLM cannot keep" in error.why
    else:
        assert FORMATS[form].parse(text_again) == FORMATS[form].parse(text)
        assert kept == ()


def is_fresh(form: FormatName, text: str, entry: Entry) -> bool:
    """Whether nothing of it was there, nor an empty list in its place."""
    data: Any = FORMATS[form].parse(text)
    here = data.get(entry.path[0])
    return entry.path[0] not in data or (isinstance(here, dict) and entry.path[1] not in here)


@given(jsonc())
def test_any_json_gets_flms_entries_and_keeps_everything_else(text: str) -> None:
    """Every character of it, comments and commas included."""
    round_trip("json", text, [TOKEN, PROVIDER])


@given(made_of(toml_lines, "toml"))
def test_any_toml_gets_flms_entries_and_keeps_everything_else(text: str) -> None:
    """Or is refused, where a value is replaced and tables are out of their order."""
    try:
        applied("toml", text, [MODEL, TABLE])
    except Fault as error:
        assert "order that FLM cannot keep" in error.why
        return
    round_trip("toml", text, [MODEL, TABLE])


@given(made_of(yaml_lines, "yaml"))
def test_any_yaml_gets_flms_entries_and_keeps_everything_else(text: str) -> None:
    """Or is refused, where its last line's end would change what it says."""
    try:
        applied("yaml", text, [MODEL, ITEM])
    except Fault as error:
        assert "touching other things" in error.why
        return
    round_trip("yaml", text, [MODEL, ITEM])
