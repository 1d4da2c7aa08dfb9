"""One invocation of `flm`: its language, format, data directory, and the services it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from flm.cli import output
from flm.cli.clicktext import teach_click
from flm.language import Language, Words, load
from flm.ports.clock import Clock, SystemClock

if TYPE_CHECKING:
    from flm.app import Services

Format = Literal["text", "json", "csv"]
FORMATS: tuple[Format, ...] = ("text", "json")
"""What every command can answer in."""

ALL_FORMATS: tuple[Format, ...] = get_args(Format)
"""What some command can answer in."""


class Session:
    """What the options that every command has decided, and how this invocation speaks."""

    def __init__(
        self,
        environ: Mapping[str, str],
        words: Words,
        form: Format = "text",
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.environ = environ
        self.words = words
        self.form: Format = form
        self.data_dir: str | None = None
        self.debug = False
        self.asked_language: str | None = None
        teach_click(words)

    @property
    def json(self) -> bool:
        """Whether a program reads the answer."""
        return self.form == "json"

    def speak(self, language: Language) -> None:
        """Go on in that language."""
        self.words = load(language)
        teach_click(self.words)

    def services(self) -> Services:
        """The use cases of the data directory that was chosen; to be closed after use."""
        from flm.app import open_services

        return open_services(self.data_dir, self.environ)

    def write(self, text: str = "") -> None:
        """Lines on stdout, as they are."""
        output.write(text)

    def say(self, template: str, /, **values: object) -> None:
        """A message on stdout, in the reader's language."""
        output.write(self.words(template, **values))

    def note(self, template: str, /, **values: object) -> None:
        """A message on stderr, in the reader's language."""
        output.note(self.words(template, **values))

    def document(self, data: Any) -> None:
        """The answer for programs: one JSON document on stdout."""
        output.write(output.document(data))

    def answer(self, data: Any, template: str, /, **values: object) -> None:
        """What was done: the document for programs, the message for people."""
        if self.json:
            self.document(data)
        else:
            self.say(template, **values)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on stdout; the headings are `N_` messages."""
        output.table([self.words(heading) for heading in headings], rows)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values under each other on stdout; the names are `N_` messages."""
        output.facts([(self.words(name), value) for name, value in rows])
