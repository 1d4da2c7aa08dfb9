"""Patterns of publications' names, and the texts of prompt templates."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from flm.domain.prompts import around, day, filled, names, pieces, wanted
from flm.domain.publications import best_fit, fits


@given(st.text("ab*", max_size=8), st.text("ab*", max_size=8))
def test_a_star_stands_for_any_text(pattern: str, name: str):
    """As a regular expression says it, stars in the name being letters."""
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
    assert fits(pattern, name) is expected


def test_the_pattern_with_the_most_letters_is_the_best():
    """Of two that are as long the first; exact names are no patterns."""
    known = [("*", 1), ("claude-*", 2), ("*-sonnet", 3), ("claude-sonnet", 4), ("gpt-*", 5)]
    assert best_fit("claude-sonnet", known) == 2
    assert best_fit("x-sonnet", known) == 3
    assert best_fit("x", known) == 1
    assert best_fit("x", [("claude-*", 2)]) is None


def test_a_text_is_taken_apart_at_its_variables():
    """Text, name, text, name, text; what is no name is text."""
    assert pieces("a {{ b }}{{c_1}} {{d-e}} {{}} {{\n}} {f}") == (
        "a ", "b", "", "c_1", " {{d-e}} {{}} {{\n}} {f}",
    )  # fmt: skip
    assert pieces("") == ()
    assert pieces("text") == ("text",)
    assert names("{{a}}{{b}}{{a}}") == ("a", "b", "a")
    assert wanted("{{a}} {{date}}", "{{input}} {{b}} {{a}}") == ("a", "b")


def test_what_is_filled_in_is_text_for_ever():
    """The next look sees no variable in it."""
    once = filled(pieces("{{a}}-{{input}}-{{a}}"), {"a": "{{input}}"})
    assert once == ("{{input}}-", "input", "-{{input}}")
    assert filled(once, {"a": "again"}) == once
    assert filled((), {"a": "b"}) == ()
    assert around(once) == ("{{input}}-", "-{{input}}")


@given(st.text(max_size=40), st.text(max_size=10))
def test_nothing_of_a_text_is_lost(text: str, value: str):
    """Filled in with one value everywhere, it is the text with that value there."""
    parts = pieces(text)
    values = dict.fromkeys(parts[1::2], value)
    assert "".join(filled(parts, values)) == value.join(parts[::2])


def test_the_date_is_the_day_in_utc():
    """A second before midnight, and at it."""
    assert (day(1_767_225_599.9), day(1_767_225_600.0)) == ("2025-12-31", "2026-01-01")
