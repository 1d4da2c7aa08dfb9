"""Languages: which one a person reads, and the words in it.

English is what the source says; Japanese comes from a gettext catalogue. A message is written as
an English `str.format` template marked `N_` where it stands and translated here, at the edge.
"""

from __future__ import annotations

import gettext
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from flm.errors import N_, FlmError, InvalidValue, Refusal

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
VARIABLE = "FLM_LANG"
DOMAIN = "flm"
LOCALES = Path(__file__).parent / "locales"

_SYSTEM = ("LC_ALL", "LC_MESSAGES", "LANG")


def _known(tag: str) -> Language | None:
    """The language of a tag such as `ja`, `ja_JP.UTF-8`, `ja-JP` or Windows' `Japanese_Japan`."""
    first = tag.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    if first in ("ja", "japanese"):
        return "ja"
    return "en" if first in ("en", "english") else None


def choose(asked: str | None, environ: Mapping[str, str], platform_tag: str = "") -> Language:
    """The language to speak: what was asked for, `FLM_LANG`, else the system's, else English.

    The system's is the first of LC_ALL, LC_MESSAGES and LANG that is set (POSIX), and where none
    is, `platform_tag` (what Windows calls the user's locale). Raises `InvalidValue` when a
    language was asked for that FLM does not speak; a system in another language gets English.
    """
    for source, tag in (("--lang", asked), (VARIABLE, environ.get(VARIABLE))):
        if not tag:
            continue
        known = _known(tag)
        if known is None:
            raise InvalidValue(
                N_("{source} is {tag!r}, a language that FLM does not speak."),
                remedy=N_("Use one of: {languages}."),
                source=source,
                tag=tag,
                languages=", ".join(LANGUAGES),
            )
        return known
    system = next((environ[name] for name in _SYSTEM if environ.get(name)), platform_tag)
    return _known(system) or "en"


class Phrases(NamedTuple):
    """An error in somebody's language; ``remedy`` is '' when nothing can be said."""

    message: str
    remedy: str


class Words:
    """The messages in one language."""

    def __init__(self, language: Language, catalogue: gettext.NullTranslations) -> None:
        self.language = language
        self._catalogue = catalogue

    def gettext(self, message: str) -> str:
        """The message in this language, unformatted; itself when the catalogue lacks it."""
        return self._catalogue.gettext(message) if message else ""

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form for `count` in this language, unformatted."""
        return self._catalogue.ngettext(one, many, count)

    def __call__(self, template: str, /, **values: object) -> str:
        """The template in this language with its values filled in."""
        text = self.gettext(template)
        return text.format(**values) if values else text

    def plural(self, one: str, many: str, count: int, /, **values: object) -> str:
        """The form for `count` with `{count}` and the other values filled in."""
        return self.ngettext(one, many, count).format(count=count, **values)

    def error(self, error: FlmError) -> Phrases:
        """The error's message and remedy. A refusal quotes its client and is never formatted."""
        if isinstance(error, Refusal):
            return Phrases(self.gettext(error.message), self.gettext(error.remedy))
        values = {name: self._value(value) for name, value in error.values.items()}
        return Phrases(
            self._fill(error.template, values), self._fill(error.remedy_template, values)
        )

    def _fill(self, template: str, values: Mapping[str, object]) -> str:
        text = self.gettext(template)
        return text.format(**values) if values else text

    def _value(self, value: object) -> object:
        """An error inside an error is told in the same language."""
        return self.error(value).message if isinstance(value, FlmError) else value


def load(language: Language) -> Words:
    """The words of that language, from the compiled catalogue beside this module."""
    return Words(language, gettext.translation(DOMAIN, LOCALES, [language], fallback=True))
