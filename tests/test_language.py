"""Which language a person reads, and how errors are told in it."""

from __future__ import annotations

import gettext

import pytest

from flm.errors import FlmError, InvalidValue, NotFound, Refusal
from flm.language import Words, choose, load


def test_what_is_asked_for_goes_before_everything() -> None:
    """`--lang` wins over FLM_LANG, which wins over the system."""
    environ = {"FLM_LANG": "en", "LANG": "en_US.UTF-8"}

    assert choose("ja", environ) == "ja"


def test_the_variable_goes_before_the_system() -> None:
    """FLM_LANG wins over LC_ALL."""
    assert choose(None, {"FLM_LANG": "ja", "LC_ALL": "en_US.UTF-8"}) == "ja"


def test_a_variable_may_be_written_as_a_locale() -> None:
    """FLM_LANG=ja_JP.UTF-8 is Japanese."""
    assert choose(None, {"FLM_LANG": "ja_JP.UTF-8"}) == "ja"


def test_the_first_locale_variable_that_is_set_decides() -> None:
    """LC_ALL, then LC_MESSAGES, then LANG, as POSIX has it; an empty one is not set."""
    assert choose(None, {"LC_ALL": "", "LC_MESSAGES": "ja_JP.UTF-8", "LANG": "en_US"}) == "ja"
    assert choose(None, {"LC_ALL": "C", "LANG": "ja_JP.UTF-8"}) == "en"


def test_what_windows_calls_japanese_is_japanese() -> None:
    """Without variables the platform's own name for the locale decides."""
    assert choose(None, {}, "Japanese_Japan") == "ja"
    assert choose(None, {}, "ja-JP") == "ja"


def test_a_system_in_another_language_gets_english() -> None:
    """Nobody is refused for the language of their system."""
    assert choose(None, {"LANG": "de_DE.UTF-8"}) == "en"


@pytest.mark.parametrize(("asked", "environ"), [("fr", {}), (None, {"FLM_LANG": "fr"})])
def test_a_language_that_was_asked_for_and_is_not_spoken_is_refused(
    asked: str | None, environ: dict[str, str]
) -> None:
    """Asking for French says which languages there are."""
    with pytest.raises(InvalidValue) as refused:
        choose(asked, environ)

    assert refused.value.remedy == "Use one of: en, ja."


def test_an_error_is_told_in_the_readers_language() -> None:
    """Template and remedy are translated, then filled in."""
    error = InvalidValue("{name!r} is wrong.", remedy="Use {right}.", name="x", right="y")
    words = Words("ja", Catalogue({"{name!r} is wrong.": "{name!r}は誤りです。"}))

    assert words.error(error) == ("'x'は誤りです。", "Use y.")


def test_an_error_inside_an_error_is_translated_too() -> None:
    """A value that is itself an error of ours speaks the same language."""
    inner = NotFound("Nothing here.")
    words = Words("ja", Catalogue({"Nothing here.": "ありません。"}))

    assert words.error(FlmError("It failed: {why}", why=inner)).message == "It failed: ありません。"


def test_a_refusal_is_never_formatted() -> None:
    """What a client sent may hold braces."""
    refusal = Refusal(400, "invalid_request", "unknown field {x}")

    assert load("ja").error(refusal).message == "unknown field {x}"


def test_plurals_follow_the_language() -> None:
    """English has two forms."""
    words = load("en")

    assert words.plural("{count} cat", "{count} cats", 1) == "1 cat"
    assert words.plural("{count} cat", "{count} cats", 2) == "2 cats"


def test_an_empty_message_stays_empty() -> None:
    """gettext answers '' with the catalogue's header; nobody wants to read that."""
    assert load("ja").gettext("") == ""


class Catalogue(gettext.NullTranslations):
    """A catalogue of the messages it is given."""

    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__()
        self._messages = messages

    def gettext(self, message: str) -> str:
        return self._messages.get(message, message)
