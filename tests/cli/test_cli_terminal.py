"""Widths, wrapping, and what a terminal must not be shown."""

from __future__ import annotations

from flm.cli import terminal


def test_japanese_takes_two_columns_a_character() -> None:
    """Kanji, kana and full-width punctuation are wide; combining marks take nothing."""
    assert terminal.cells("モデル: demo") == 12
    assert terminal.cells("e\u0301") == 1


def test_columns_line_up_under_japanese_headings() -> None:
    """Each column starts at the same place in every line."""
    assert terminal.columns([["エンジン", "状態"], ["ollama", "ok"]]) == [
        "エンジン  状態",
        "ollama    ok",
    ]


def test_japanese_is_wrapped_between_characters() -> None:
    """There are no spaces to break at, and no line begins with a full stop."""
    assert terminal.wrap("モデルを追加します。", 10) == ["モデルを追", "加します。"]
    assert terminal.wrap("あいうえ。", 8) == ["あいう", "え。"]


def test_an_opening_bracket_does_not_end_a_line() -> None:
    """It goes with what it opens."""
    assert terminal.wrap("あいう「えお」", 8) == ["あいう", "「えお」"]


def test_english_is_wrapped_at_spaces_and_long_words_stay_whole() -> None:
    """A URL is not cut."""
    assert terminal.wrap("see http://127.0.0.1:8356/v1 now", 10) == [
        "see",
        "http://127.0.0.1:8356/v1",
        "now",
    ]


def test_a_mix_is_wrapped_between_the_scripts() -> None:
    """A Latin word in Japanese stays whole."""
    assert terminal.wrap("設定はconfigで見ます", 10) == ["設定は", "configで見", "ます"]


def test_an_empty_text_is_one_empty_line() -> None:
    """So that a table of help always has something beside the term."""
    assert terminal.wrap("", 10) == [""]


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    """Escape sequences, C1 controls, direction marks and lone surrogates."""
    assert terminal.visible("a\x1b[31mb\x9b\u202ec\udc80\n") == "a\\x1b[31mb\\x9b\\u202ec\\udc80\\n"


def test_lines_of_an_answer_stay_lines() -> None:
    """In a chat answer only line feeds and tabs are obeyed."""
    assert terminal.visible_lines("a\tb\nc\r\x07") == "a\tb\nc\\r\\x07"


def test_a_table_that_is_too_wide_leaves_out_what_tells_nothing() -> None:
    """Columns of dashes and zeros, but never the first; where there is room they stay."""
    headings = ("Model", "Requests", "Thoughts", "Remote")
    rows = [("-", "7", "0", "-"), ("-", "0", "0", "-")]
    assert terminal.fitted(headings, rows, 33) == ([*headings], rows)
    assert terminal.fitted(headings, rows, 32) == (
        ["Model", "Requests"],
        [["-", "7"], ["-", "0"]],
    )


def test_a_table_without_rows_has_its_names() -> None:
    """However narrow the terminal is."""
    assert terminal.fitted(("エンジン", "状態"), [], 8) == (["エンジン"], [])
