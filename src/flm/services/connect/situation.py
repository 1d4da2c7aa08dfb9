"""What a client's settings are made of, and what they are: pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

from flm.domain.engines import Finding
from flm.ports.machine import Platform

ClientName = Literal["claude", "codex", "open-webui", "continue", "aider", "zed", "env"]
CLIENTS: tuple[ClientName, ...] = get_args(ClientName)

VARIABLE = "FLM_API_KEY"
PLACEHOLDER = f"${VARIABLE}"
"""Stands where the key goes, in settings that are only shown."""

FormatName = Literal["json", "toml", "yaml"]
Dialect = Literal["messages", "responses", "chat", "models"]
"""What the client asks first: the request that proves the connection."""


class Element(NamedTuple):
    """A step of a path into a list: the mapping in it whose ``field`` is ``value``."""

    field: str
    value: str


Step = str | Element
Path = tuple[Step, ...]


def dotted(path: Path) -> str:
    """A path for people."""
    return ".".join(step.value if isinstance(step, Element) else step for step in path)


class Entry(NamedTuple):
    """One thing FLM sets in a file: where, and what. ``only_new``: only where nothing is yet."""

    path: Path
    value: Any
    only_new: bool = False


class FileSettings(NamedTuple):
    """What belongs into one of a client's files. ``path`` is absolute."""

    path: str
    format: FormatName
    entries: tuple[Entry, ...]


class Chosen(NamedTuple):
    """The model a client is to ask for; None and False: not known."""

    name: str
    engine: str
    context: int | None = None
    trained: int | None = None
    tools: bool = False
    vision: bool = False
    remote: bool = False


@dataclass(frozen=True)
class Situation:
    """This system, the gateway and the model. ``base_url`` ends with `/v1`; ``key`` None: the
    settings are shown without one."""

    platform: Platform
    environ: Mapping[str, str]
    home: str
    base_url: str
    model: Chosen
    key: str | None = None

    @property
    def root_url(self) -> str:
        """Without `/v1`: where Anthropic's and Ollama's clients begin."""
        return self.base_url.removesuffix("/v1")

    @property
    def secret(self) -> str:
        """The key, or what stands for it."""
        return self.key or PLACEHOLDER


class Settings(NamedTuple):
    """Everything a client needs. ``files``: what can be written; ``lines``: to be run or pasted
    in this shell; ``notes``: what to know besides; ``rivals``: what else in a file would go before
    FLM's entries."""

    files: tuple[FileSettings, ...] = ()
    lines: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()
    rivals: tuple[Path, ...] = ()


class Facts(NamedTuple):
    """What a client is like.

    ``needs``: the context in tokens without which it is of little use, 0: whatever;
    ``wants_tools``: it works by calling tools; ``keeps_key``: the key lies in the file that is
    written; ``variable``: as they are shown, the settings go by `FLM_API_KEY`; ``writes``: it has
    a file to write at all.
    """

    name: ClientName
    title: str
    dialect: Dialect
    needs: int = 8_192
    wants_tools: bool = False
    keeps_key: bool = True
    variable: bool = False
    writes: bool = True


class Client(Protocol):
    """A program that speaks to FLM."""

    @property
    def facts(self) -> Facts:
        """What it is like."""
        ...

    def settings(self, situation: Situation) -> Settings:
        """The exact settings for this situation. Pure."""
        ...


def note(code: str, message: str, remedy: str = "", **values: str) -> Finding:
    """Something good to know; the texts are `N_` templates."""
    return Finding(code=code, message=message, remedy=remedy, values=values, level="note")


def warning(code: str, message: str, remedy: str = "", **values: str) -> Finding:
    """Something that will not work as hoped."""
    return Finding(code=code, message=message, remedy=remedy, values=values)
