"""Engines the user adds by URL, and the names and keys of those that were found."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal, get_args

from flm.domain.engines import (
    EMBEDDED,
    KINDS,
    Address,
    EngineDefinition,
    EngineId,
    EngineKind,
    KnownEngine,
    engine_address,
    engine_id,
)
from flm.domain.instance import instance_of
from flm.domain.models import nearest
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.notify import Notify
from flm.ports.repositories import EngineRepository, Secrets, SettingsRepository
from flm.settings import member

RESERVED: tuple[EngineId, ...] = tuple(EngineId(kind) for kind in KINDS if kind != "custom")
"""The names of the engines that FLM finds or carries itself."""

AddableKind = Literal[
    "auto", "ollama", "vllm", "lmstudio", "llamacpp", "text-generation-webui", "custom"
]
ADDABLE: tuple[AddableKind, ...] = get_args(AddableKind)
"""The kinds an engine can be added as; `auto`: told by what it answers."""

Visitor = Callable[[Address], str | None]
"""The instance (`flm.domain.instance`) of the FLM that serves at an address; None: no FLM."""

_KEY = re.compile(r"[!-~]{1,4096}")


class EngineService:
    """The use cases of engine definitions. An engine's own key is sealed before it is stored.

    ``settings``: where the settings of a renamed engine are; ``visit`` asks an address whether
    an FLM is there, None: nobody is asked; ``owned``: the engines that what runs has started.
    """

    def __init__(
        self,
        engines: EngineRepository,
        secrets: Secrets,
        notify: Notify,
        settings: SettingsRepository | None = None,
        visit: Visitor | None = None,
        owned: Callable[[], Collection[EngineId]] = tuple,
    ) -> None:
        self._engines = engines
        self._secrets = secrets
        self._notify = notify
        self._settings = settings
        self._visit = visit
        self._owned = owned

    def add(
        self, name: str, url: str, kind: str = "auto", key: str | None = None, ca_file: str = ""
    ) -> EngineDefinition:
        """Store an engine that listens at `url`, on this machine or another.

        ``ca_file``: the authority of its certificate, where that is not one of the system's.
        Raises `Conflict` when the name is taken or FLM's own, or when this FLM itself serves
        there, and `InvalidValue` for a name, URL, kind, key or CA file that is none.
        """
        engine = engine_id(name)
        if engine in RESERVED:
            raise Conflict(
                N_("{name} is the name of an engine that FLM finds by itself."),
                remedy=N_("Give yours another name, for example my-{name}."),
                name=name,
            )
        if any(known.id == engine for known in self._engines.known()):
            raise _taken(engine)
        definition = EngineDefinition(
            id=engine,
            kind=_kind(kind),
            address=engine_address(url, _authority(ca_file) if ca_file else ""),
            sealed_key=None if key is None else self._sealed(engine, key),
        )
        self._refuse_ourselves(definition.address)
        self._engines.add(definition)
        self._notify.poke()
        return definition

    def remove(self, name: str) -> None:
        """Forget an engine. Raises `NotFound`, or `Conflict` for one that FLM finds by itself."""
        if name in RESERVED or any(known.id == name for known in self._engines.known()):
            raise Conflict(
                N_("{name} was not added, FLM finds it by itself; it cannot be removed."),
                remedy=N_("Stop the engine, and FLM no longer serves it."),
                name=name,
            )
        if not self._engines.remove(EngineId(name)):
            raise self._unknown(name)
        self._notify.poke()

    def rename(self, name: str, new: str) -> EngineId:
        """Give an engine, added or found, another name; its key and settings go with it.

        Raises `NotFound`, `InvalidValue` for what is no name, and `Conflict` when it is taken, or
        when FLM started the engine and has not stopped it: what runs goes by the name it has.
        """
        to = engine_id(new)
        if EMBEDDED in (name, to):
            raise Conflict(
                N_("{name} is the name of the engine that FLM carries; it stays."),
                remedy=N_("Choose another name."),
                name=EMBEDDED,
            )
        one = self._one(name)
        if to == one.id:
            return to
        self._refuse_started(one.id, to)
        key = self.key_of(one)
        sealed = None if key is None else self._sealed(to, key)
        if not self._engines.rename(one.id, to, self._moved(one.id, to), sealed):
            raise self._unknown(name)
        self._notify.poke()
        return to

    def set_key(self, name: str, key: str | None) -> None:
        """Store the key that an engine, added or found, wants; None forgets it.

        Raises `NotFound`, and `InvalidValue` for what can be no key.
        """
        one = self._one(name)
        self._engines.set_key(one.id, None if key is None else self._sealed(one.id, key))
        self._notify.poke()

    def definitions(self) -> list[EngineDefinition]:
        """The engines that were added, by name."""
        return self._engines.definitions()

    def known(self) -> list[KnownEngine]:
        """The engines that were ever found, by name."""
        return self._engines.known()

    def key_of(self, engine: EngineDefinition | KnownEngine) -> str | None:
        """The engine's own key in clear, None when it has none. Raises `StoreError`."""
        if engine.sealed_key is None:
            return None
        return self._secrets.open(engine.sealed_key, purpose_of(engine.id)).decode()

    def _one(self, name: str) -> EngineDefinition | KnownEngine:
        for added in self._engines.definitions():
            if added.id == name:
                return added
        for found in self._engines.known():
            if found.id == name:
                return found
        raise self._unknown(name)

    def _moved(self, old: EngineId, new: EngineId) -> dict[str, str]:
        """The settings that are one engine's own, with their names under its new one."""
        stored = self._settings.all() if self._settings is not None else {}
        found = ((name, member(name)) for name in stored)
        before = f"engines.{old}."
        return {
            name: f"engines.{new}.{name[len(before) :]}"
            for name, of in found
            if of is not None and of.engine == old
        }

    def _refuse_started(self, one: EngineId, to: EngineId) -> None:
        owned = self._owned()
        if to in owned:  # by its first start, which has not noted it yet
            raise _taken(to)
        if one in owned:
            raise Conflict(
                N_("FLM started {engine}, which keeps its name until it is stopped."),
                remedy=N_("Stop it first: `flm engines stop {engine}`."),
                engine=one,
            )

    def _refuse_ourselves(self, address: Address) -> None:
        there = self._visit(address) if self._visit is not None else None
        if there is not None and there == instance_of(self._secrets.pepper()):
            raise Conflict(
                N_("{url} is this FLM itself."),
                remedy=N_("Add the engines behind it; FLM cannot be its own engine."),
                code="own_address",
                url=address.url,
            )

    def _sealed(self, engine: EngineId, key: str) -> bytes:
        # What is no visible ASCII cannot stand in an HTTP header, and could begin another one.
        if not _KEY.fullmatch(key):
            raise InvalidValue(
                N_("An engine's key is 1 to 4096 visible ASCII characters without spaces."),
                remedy=N_("Look for a line break or a space at its end."),
            )
        return self._secrets.seal(key.encode(), purpose_of(engine))

    def _unknown(self, name: str) -> NotFound:
        known = [added.id for added in self._engines.definitions()]
        known += [found.id for found in self._engines.known()]
        likely = nearest(name, known) or tuple(known[:3])
        if not likely:
            return NotFound(
                N_("There is no engine called {name}: none was added."),
                remedy=N_("`flm engines list` shows the engines that were found."),
                name=name,
            )
        return NotFound(
            N_("There is no engine called {name}."),
            remedy=N_("Did you mean {nearest}? `flm engines list` shows all of them."),
            name=name,
            nearest=", ".join(likely),
        )


def _taken(name: str) -> Conflict:
    return Conflict(
        N_("There is an engine called {name} already."),
        remedy=N_("Choose another name."),
        name=name,
    )


def _authority(path: str) -> str:
    """The absolute path of a file of certificates."""
    found = Path(path).expanduser().absolute()
    try:
        ssl.create_default_context(cafile=str(found))
    except (OSError, ValueError) as error:
        raise InvalidValue(
            N_("{path} holds no certificate that could be read: {why}."),
            remedy=N_("Give the authority's certificate in PEM form."),
            path=found,
            why=getattr(error, "strerror", None) or str(error) or type(error).__name__,
        ) from error
    return str(found)


def _kind(text: str) -> EngineKind | Literal["auto"]:
    for kind in ADDABLE:
        if kind == text:
            return kind
    raise InvalidValue(
        N_("{text!r} is no kind of engine that can be added."),
        remedy=N_("Use one of: {kinds}."),
        text=text,
        kinds=", ".join(ADDABLE),
    )


def purpose_of(engine: EngineId) -> str:
    """What an engine's key is sealed for: its id is part of the seal."""
    return f"engine:{engine}"
