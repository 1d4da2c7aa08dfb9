"""The generated pages of `docs/`, and the catalogues: what the source says, in every language."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.cli import docs
from flm.cli.error_index import ApiError, CommandError, scan
from flm.language import load
from flm.locales import catalogues


def test_the_pages_say_what_the_program_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Else: python -m flm.cli.docs --write."""
    code = docs.main(["--check"])

    assert (code, capsys.readouterr().out) == (0, "")


def test_a_stale_page_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written, the check is content; changed by hand, it is not."""
    monkeypatch.setattr(docs, "FOLDER", tmp_path)
    assert docs.main(["--write"]) == 0
    assert docs.main(["--check"]) == 0

    (tmp_path / "settings.ja.md").write_text("by hand")

    assert docs.main(["--check"]) == 1
    assert "docs/settings.ja.md is stale" in capsys.readouterr().out


def test_every_command_setting_and_flag_is_documented() -> None:
    """In both languages."""
    for suffix, language in (("", "en"), (".ja", "ja")):
        pages = docs.pages(language)  # type: ignore[arg-type]
        assert "## flm api-keys rotate" in pages[f"commands{suffix}.md"]
        assert "--grace SPAN" in pages[f"commands{suffix}.md"]
        assert "`FLM_SERVER_PORT`" in pages[f"settings{suffix}.md"]
        assert "| 404 | `model_not_found` |" in pages[f"errors{suffix}.md"]


def test_errors_are_found_where_they_are_raised(tmp_path: Path) -> None:
    """With statuses, codes, messages by name, values in f-strings, and remedies."""
    (tmp_path / "module.py").write_text(
        'GONE = N_("It is gone.")\n'
        'Refusal(404, "not_there", f"No {name} in {len(x)} places.")\n'
        'StreamBroken("It ended.")\n'
        "LATER: Final = 7\n"
        'Refusal(503, "full", "Later.", kind="server_error", retry_after=LATER,'
        " should_retry=True)\n"
        'NotFound(GONE, remedy=N_("Look."), code="gone")\n'
        'other(1, "a", "b")\n'
    )

    assert scan(tmp_path) == (
        [
            ApiError(404, "not_there", "No {name} in … places."),
            ApiError(502, "stream_interrupted", "It ended.", "upstream_error", 0, "false"),
            ApiError(503, "full", "Later.", "server_error", 7, "true"),
        ],
        [CommandError("gone", 1, "It is gone.", "Look.")],
    )


def test_the_catalogues_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing missing, fuzzy, unused or stale; else: python -m flm.locales.catalogues --extract."""
    code = catalogues.main(["--check"])

    assert (code, capsys.readouterr().out) == (0, "")


@pytest.fixture
def own_catalogues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small package with a message of each kind, and its catalogues, whole."""
    source = tmp_path / "package" / "words.py"
    source.parent.mkdir()
    source.write_text('N_("{count} of {all}")\nwords.plural("{count} cat", "{count} cats", n)\n')
    monkeypatch.setattr(catalogues, "PACKAGE", source.parent)
    monkeypatch.setattr(catalogues, "MODULES", ())
    monkeypatch.setattr(catalogues, "LOCALES", tmp_path / "locales")
    assert catalogues.main(["--extract"]) == 0
    japanese = catalogues.po_path("ja")
    text = japanese.read_text()
    text = text.replace(
        'msgid "{count} of {all}"\nmsgstr ""', 'msgid "{count} of {all}"\nmsgstr "{all}中{count}"'
    ).replace('msgstr[0] ""', 'msgstr[0] "猫{count}匹"')
    japanese.write_text(text)
    catalogues.compile_to(japanese, catalogues.read("ja"))
    assert catalogues.main(["--check"]) == 0
    return source


def faults(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the check complains of."""
    capsys.readouterr()
    assert catalogues.main(["--check"]) == 1
    return capsys.readouterr().out.splitlines()


def test_a_new_message_is_missing_until_it_is_translated(
    own_catalogues: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First in every catalogue, then in Japanese alone: English is its own translation."""
    own_catalogues.write_text(own_catalogues.read_text() + 'N_("New.")\n')

    assert faults(capsys) == ["en: missing: 'New.'", "ja: missing: 'New.'"]
    catalogues.main(["--extract"])
    assert faults(capsys) == ["ja: not translated: 'New.'"]


def test_a_message_that_is_gone_is_unused(
    own_catalogues: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And dropped by the next extraction."""
    own_catalogues.write_text('N_("{count} of {all}")\n')

    assert faults(capsys) == ["en: unused: '{count} cat'", "ja: unused: '{count} cat'"]
    catalogues.main(["--extract"])
    assert catalogues.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"{all}中{count}"', '"{all}中{cuont}"', "other placeholders than the English"),
        ('#, python-brace-format\nmsgid "{count} of', '#, fuzzy\nmsgid "{count} of', "fuzzy"),
    ],
)
def test_a_translation_that_would_fail_is_found(
    own_catalogues: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    fault: str,
) -> None:
    """A wrong placeholder would raise where the message is shown."""
    path = catalogues.po_path("ja")
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))

    assert f"ja: {fault}: '{{count}} of {{all}}'" in faults(capsys)


def test_a_catalogue_that_was_not_compiled_is_found(
    own_catalogues: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is read at run time is the `.mo`."""
    path = catalogues.po_path("ja")
    path.write_text(path.read_text().replace("猫{count}匹", "ねこ{count}匹"))

    assert faults(capsys) == ["ja: flm.mo is not what its .po says"]


def test_click_speaks_japanese() -> None:
    """Every sentence of click's that FLM's users can meet is in the catalogue."""
    words = load("ja")

    assert words.gettext("Missing command.") == "コマンドが指定されていません。"
