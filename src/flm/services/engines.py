"""Engines the user adds by URL."""

from __future__ import annotations

import re

from flm.domain.engines import (
    KINDS,
    EngineDefinition,
    EngineId,
    EngineKind,
    engine_id,
    local_address,
)
from flm.domain.models import nearest
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.notify import Notify
from flm.ports.repositories import EngineRepository, Secrets

RESERVED: tuple[EngineId, ...] = tuple(EngineId(n) for n in ("ollama", "llamacpp", "embedded"))
"""The names of the engines that FLM finds or carries itself."""

ADDABLE: tuple[EngineKind, ...] = tuple(kind for kind in KINDS if kind != "embedded")
"""The kinds an engine can be added as."""

_KEY = re.compile(r"[!-~]{1,4096}")


class EngineService:
    """The use cases of engine definitions. An engine's own key is sealed before it is stored."""

    def __init__(self, engines: EngineRepository, secrets: Secrets, notify: Notify) -> None:
        self._engines = engines
        self._secrets = secrets
        self._notify = notify

    def add(
        self, name: str, url: str, kind: str = "custom", key: str | None = None
    ) -> EngineDefinition:
        """Store an engine that listens at `url` on this machine.

        Raises `Conflict` when the name is taken or FLM's own, `InvalidValue` for a name, URL,
        kind or key that is none, and `NotPermitted` for another host or HTTPS.
        """
        engine = engine_id(name)
        if engine in RESERVED:
            raise Conflict(
                N_("{name} is the name of an engine that FLM finds by itself."),
                remedy=N_("Give yours another name, for example my-{name}."),
                name=name,
            )
        definition = EngineDefinition(
            id=engine,
            kind=_kind(kind),
            address=local_address(url),
            sealed_key=None if key is None else self._sealed(engine, key),
        )
        self._engines.add(definition)
        self._notify.poke()
        return definition

    def remove(self, name: str) -> None:
        """Forget an engine. Raises `NotFound`, or `Conflict` for one that FLM finds by itself."""
        if name in RESERVED:
            raise Conflict(
                N_("{name} was not added, FLM finds it by itself; it cannot be removed."),
                remedy=N_("Stop the engine, and FLM no longer serves it."),
                name=name,
            )
        if not self._engines.remove(EngineId(name)):
            raise self._unknown(name)
        self._notify.poke()

    def definitions(self) -> list[EngineDefinition]:
        """The engines that were added, by name."""
        return self._engines.definitions()

    def key_of(self, definition: EngineDefinition) -> str | None:
        """The engine's own key in clear, None when it has none. Raises `StoreError`."""
        if definition.sealed_key is None:
            return None
        return self._secrets.open(definition.sealed_key, _purpose(definition.id)).decode()

    def _sealed(self, engine: EngineId, key: str) -> bytes:
        # What is no visible ASCII cannot stand in an HTTP header, and could begin another one.
        if not _KEY.fullmatch(key):
            raise InvalidValue(
                N_("An engine's key is 1 to 4096 visible ASCII characters without spaces."),
                remedy=N_("Look for a line break or a space at its end."),
            )
        return self._secrets.seal(key.encode(), _purpose(engine))

    def _unknown(self, name: str) -> NotFound:
        known = [definition.id for definition in self._engines.definitions()]
        likely = nearest(name, known) or tuple(known[:3])
        if not likely:
            return NotFound(
                N_("There is no engine called {name}: none was added."),
                remedy=N_("`flm engines list` shows the engines that were found."),
                name=name,
            )
        return NotFound(
            N_("There is no added engine called {name}."),
            remedy=N_("Did you mean {nearest}? `flm engines list` shows all of them."),
            name=name,
            nearest=", ".join(likely),
        )


def _kind(text: str) -> EngineKind:
    for kind in ADDABLE:
        if kind == text:
            return kind
    raise InvalidValue(
        N_("{text!r} is no kind of engine that can be added."),
        remedy=N_("Use one of: {kinds}."),
        text=text,
        kinds=", ".join(ADDABLE),
    )


def _purpose(engine: EngineId) -> str:
    return f"engine:{engine}"
