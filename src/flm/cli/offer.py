"""No engine runs here: say what was looked for, and offer what can be done about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flm.cli import output, phrases
from flm.cli.session import Session
from flm.domain.engines import EngineKind, InstalledOnly
from flm.errors import N_, FlmError

if TYPE_CHECKING:
    from flm.app import Found, Services

LOOKED_FOR = N_(
    "No engine with a model was found. Looked for: Ollama, vLLM, LM Studio, llama.cpp, "
    "text-generation-webui and others that speak OpenAI's API, by their ports, variables and "
    "programs; engines that were added; GGUF files that were added."
)
NOTHING_YET = N_(
    "Serving nothing yet. In another terminal: `flm engines start NAME` starts an engine that is "
    "installed, `flm engines install ollama` installs one, `flm engines add NAME --url URL` adds "
    "one, `flm models add FILE.gguf` a file. What is there is served at once."
)
INSTALLED = N_(
    "{engine} is installed but does not run. `{line}` starts it, in another terminal and once FLM "
    "serves."
)
_ARGUMENTS: Mapping[EngineKind, str] = {"vllm": " -- MODEL"}
"""What a start cannot do without."""


def wanted(session: Session, services: Services) -> bool:
    """Whether the demo is to be served, asked when there is nothing else and somebody to ask.

    Without a person it says in a sentence what can be done, and FLM serves an empty list.
    """
    found = _look(services)
    if found.models:
        return False
    session.note(LOOKED_FOR)
    _say_what_is_installed(session, found)
    if not (output.is_terminal(sys.stdin) and output.is_terminal(sys.stdout)):
        session.note(NOTHING_YET)
        return False
    return _ask(session, services)


def _look(services: Services) -> Found:
    """What was seen last if it has models, else what is there now."""
    known = services.detection.known()
    return known if known.models else services.detection.detect()


def _ask(session: Session, services: Services) -> bool:
    words = session.words
    while True:
        session.note(
            N_("\n  1  serve a GGUF file of yours\n"
               "  2  look again, when you have started an engine\n"
               "  3  serve the demo: a tiny model of random weights; its words are gibberish\n"
               "  4  serve nothing for now; `flm engines start NAME` works then\n"
               "  5  install Ollama for yourself (1 to 2 GB; admin rights are not needed)")
        )  # fmt: skip
        answer = output.ask(words(N_("What shall it be? [3]"))) or "3"
        if answer == "1" and _add_file(session, services):
            return False
        if answer == "2" and services.detection.detect().models:
            return False
        if answer == "3":
            return True
        if answer == "4":
            session.note(NOTHING_YET)
            return False
        if answer == "5" and _install(session, services):
            return False


def _install(session: Session, services: Services) -> bool:
    """Whether Ollama is installed now; it is started when something runs that may start it."""
    from flm.cli.progress import progress

    try:
        with progress(session) as show:
            outcome = asyncio.run(services.installing.install(None, update=False, progress=show))
    except FlmError as error:
        _say_why(session, error)
        return False
    session.note(
        N_("ollama {version} is installed. Serving nothing yet: `flm engines start ollama` in "
           "another terminal starts it, and `flm models pull` fetches a model for it."),
        version=outcome.installed.version,
    )  # fmt: skip
    return True


def _add_file(session: Session, services: Services) -> bool:
    """Whether a file was given that can be served."""
    path = output.ask(session.words(N_("The file's path:")))
    try:
        services.models.add(path.strip("'\""))
    except FlmError as error:
        _say_why(session, error)
        return False
    return True


def _say_why(session: Session, error: FlmError) -> None:
    phrases = session.words.error(error)
    session.note(N_("{message} {remedy}"), message=phrases.message, remedy=phrases.remedy)


def _say_what_is_installed(session: Session, found: Found) -> None:
    for engine in found.engines:
        if not isinstance(engine.state, InstalledOnly):
            continue
        if engine.findings:  # in Windows, seen from WSL: it is not FLM's to start
            for finding in engine.findings:
                output.note("\n".join(phrases.finding(session.words, finding)))
            continue
        arguments = _ARGUMENTS.get(engine.kind, "")
        session.note(INSTALLED, engine=engine.id, line=f"flm engines start {engine.id}{arguments}")
