"""GGUF files for the embedded engine."""

from __future__ import annotations

import os
from pathlib import Path

from flm.domain.models import GgufFile, name_of_file, nearest
from flm.errors import N_, InvalidValue, NotFound, UserError
from flm.ports.clock import Clock
from flm.ports.engines import ModelLauncher
from flm.ports.notify import Notify
from flm.ports.repositories import GgufRepository

MAX_NAME = 200


class ModelService:
    """The use cases of GGUF files. They stay where they are; FLM remembers their paths."""

    def __init__(
        self, files: GgufRepository, launcher: ModelLauncher, clock: Clock, notify: Notify
    ) -> None:
        self._files = files
        self._launcher = launcher
        self._clock = clock
        self._notify = notify

    def add(self, path: str, name: str | None = None) -> GgufFile:
        """Serve the GGUF file at `path` as `name` (None: the file's name without its ending).

        Raises `InvalidValue` when it is not there, not readable or no GGUF, `Conflict` when the
        name is taken, `UserError` when the embedded engine is not installed.
        """
        self.check_engine()
        absolute = readable(path)
        self._launcher.inspect(absolute)
        file = GgufFile(
            name=model_name(name_of_file(absolute) if name is None else name),
            path=absolute,
            added_at=self._clock.now(),
        )
        self._files.add(file)
        self._notify.poke()
        return file

    def is_here(self) -> bool:
        """Whether the embedded engine is installed."""
        return self._launcher.missing() is None

    def check_engine(self) -> None:
        """Raise `UserError` (`engine_missing`) when the embedded engine is not installed."""
        why = self._launcher.missing()
        if why is not None:
            raise UserError(why, code="engine_missing")

    def remove(self, name: str) -> None:
        """Stop serving a file; the file stays. Raises `NotFound`, naming the nearest ones."""
        if self._files.remove(name):
            self._notify.poke()
            return
        known = [file.name for file in self._files.all()]
        likely = nearest(name, known) or tuple(known[:3])
        if likely:
            raise NotFound(
                N_("No file was added as {name}."),
                remedy=N_("Did you mean {nearest}?"),
                name=name,
                nearest=", ".join(likely),
            )
        raise NotFound(
            N_("No file was added as {name}; none was added at all."),
            remedy=N_("`flm models list` shows the models there are."),
            name=name,
        )

    def files(self) -> list[GgufFile]:
        """The files that were added, by name."""
        return self._files.all()


def readable(path: str) -> str:
    """The absolute path of a file that can be read. Links stay: what they lead to may change.

    Raises `InvalidValue` for everything else.
    """
    absolute = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links
    if not absolute.is_file():
        raise InvalidValue(
            N_("There is no file {path}."),
            remedy=N_("Give the path of a .gguf file."),
            path=absolute,
        )
    try:
        with absolute.open("rb"):
            return str(absolute)
    except OSError as error:
        raise InvalidValue(
            N_("{path} cannot be read: {why}."),
            remedy=N_("Give this user the right to read it."),
            path=absolute,
            why=error.strerror or str(error),
        ) from error


def model_name(text: str) -> str:
    """`text` without blanks around it, as a model's name. Raises `InvalidValue` if it is none."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable() or name.startswith("flm:"):
        raise InvalidValue(
            N_("{text!r} cannot be a model's name."),
            remedy=N_("Use 1 to {maximum} printable characters that do not begin with flm:"),
            text=text,
            maximum=MAX_NAME,
        )
    return name
