"""Connect a client: the settings it needs, written and undone, with a key of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from msgspec import structs

from flm.domain.engines import Finding
from flm.domain.keys import ApiKey, has_form, id_of
from flm.domain.models import Model
from flm.errors import N_, Conflict, FlmError, InvalidValue, NotFound, NotRunning
from flm.ports.clock import Clock
from flm.ports.machine import Machine
from flm.ports.processes import Lock
from flm.ports.user_files import UserFiles
from flm.services.connect import proof
from flm.services.connect.choosing import best, chosen, concerns
from flm.services.connect.keeping import Connection, Keeping, Kept
from flm.services.connect.registry import REGISTRY
from flm.services.connect.situation import (
    Chosen,
    Client,
    ClientName,
    Facts,
    Settings,
    Situation,
)
from flm.services.connect.wishes import Made, Undone, Wish, check, of_files, of_rivals
from flm.services.connect.writing import (
    Plan,
    Writing,
    Written,
    values_in,
)
from flm.wire.control import Status

START_SECONDS = 10.0


class Running(Protocol):
    """What serves the data directory."""

    def status(self, wait: float = 0.0) -> Status | None:
        """What runs, None when nothing does."""
        ...

    def owner_key(self) -> str:
        """The key for the owner's own requests."""
        ...


class Keys(Protocol):
    """API keys."""

    def create(self, label: str, expires_at: float | None = None) -> tuple[ApiKey, str]:
        """A new key and its clear text."""
        ...

    def get(self, key: str) -> ApiKey:
        """One key. Raises `NotFound`."""
        ...

    def revoke(self, key: str) -> ApiKey:
        """Revoke a key now."""
        ...


@dataclass(frozen=True)
class ConnectService:
    """The use cases of `flm connect`. ``keys`` opens them when one is needed;
    ``lock`` is held while files are changed."""

    running: Running
    keys: Callable[[], Keys]
    files: UserFiles
    keeping: Keeping
    machine: Machine
    clock: Clock
    lock: Callable[[], Lock | None]

    def make(self, wish: Wish) -> Made:
        """The settings for the gateway that runs; written when that is wished.

        Raises `NotRunning` when none does, `InvalidValue` for a file that cannot be changed, and
        `UserError` where the client has no file.
        """
        client = REGISTRY[wish.client]
        situation = self._situation(client, wish.model)
        check(wish, client)
        if wish.write:
            with self._alone():
                return self._write(wish, client, situation)
        key, key_id = wish.key, None
        if wish.label is not None:
            made, key = self.keys().create(wish.label)
            key_id = made.id
        return Made(
            client.facts,
            situation,
            client.settings(situation),
            self._concerns(client, situation),
            key=key,
            key_id=key_id,
            show=wish.label is not None,
        )

    def prove(self, made: Made) -> proof.Proof:
        """One real request, with the client's own key where it is known.

        Raises `NotRunning`, and `UserError` with what to do.
        """
        situation = made.situation
        return proof.prove(
            situation.base_url,
            made.key or self.running.owner_key(),
            made.client.dialect,
            situation.model.name,
            self.clock,
        )

    def undo(self, name: ClientName) -> Undone:
        """Take FLM's entries out of the client's files, and revoke the key that was made for it.

        Needs no gateway. A file that cannot be changed stops it before anything is done.
        """
        facts = REGISTRY[name].facts
        if self.keeping.get(name) is None:
            return Undone(facts)
        with self._alone():
            connection = self.keeping.get(name) or Connection(model="", at=0.0)
            writing = self._writing()
            for kept in connection.files:
                writing.foresee(kept)
            files = tuple(writing.undo(kept) for kept in connection.files)
            self.keeping.set(name, None)
            return Undone(facts, files, self._revoke(connection.key))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self.lock()
        if lock is None:
            raise Conflict(
                N_("Another `flm connect` is changing files."),
                remedy=N_("Run the command again when it has ended."),
                code="connect_running",
            )
        try:
            yield
        finally:
            lock.release()

    def _situation(self, client: Client, asked: str | None) -> Situation:
        status = self.running.status(wait=START_SECONDS)
        if status is None or not status.handles:
            raise NotRunning(
                N_("No FLM runs, so there is nothing to connect to."),
                remedy=N_("Start it with `flm up`, or with `flm proxy start` in the background."),
            )
        base_url = status.handles[0].base_url
        if asked is not None:
            model = self._asked(base_url, asked, status.models)
        elif client.facts.dialect == "models" and not status.models:
            model = Chosen("", "")
        else:
            model = best(status.models)
        if not model.name.isprintable():
            raise InvalidValue(
                N_("{model!r} cannot stand in a client's settings."),
                remedy=N_("Choose another with --model."),
                model=model.name,
            )
        machine = self.machine
        return Situation(machine.platform, machine.environment, machine.home, base_url, model)

    def _asked(self, base_url: str, name: str, models: Sequence[Model]) -> Chosen:
        """The gateway itself says what answers to a name, an API's name included."""
        told = proof.entry(base_url, self.running.owner_key(), name)
        engines = told.get("engines") or [""]
        context = told.get("context_length")
        home = next(
            (model for model in models
             if model.engine in engines and name in (model.name, model.target, f"flm://{model.target}")),
            None,
        )  # fmt: skip
        base = chosen(home) if home is not None else Chosen(name, str(engines[0]))
        able = told.get("capabilities") or ()
        return base._replace(
            name=name,
            context=context if isinstance(context, int) else base.context,
            tools="tools" in able or base.tools,
            vision="vision" in able or base.vision,
            remote=bool(told.get("remote")),
        )

    def _concerns(self, client: Client, situation: Situation) -> tuple[Finding, ...]:
        return concerns(client.facts, situation.model, situation.platform)

    def _writing(self) -> Writing:
        return Writing(self.files, self.keeping, self.clock)

    def _write(self, wish: Wish, client: Client, situation: Situation) -> Made:
        facts = client.facts
        before = self.keeping.get(facts.name)
        known = {kept.path: kept for kept in before.files} if before is not None else {}
        writing = self._writing()
        # With a stand-in for the key first: a file that cannot be changed costs no key.
        trial = replace(situation, key=wish.key or "flm_")
        plans = _planned(writing, client.settings(trial), known)
        key, key_id, fresh = self._key_for(wish, facts, before, plans)
        final = replace(situation, key=key) if facts.keeps_key else situation
        try:
            settings = client.settings(final)
            plans = _planned(writing, settings, known)
            ours = Connection(
                model=situation.model.name,
                at=self.clock.now(),
                key=key_id if wish.key is None else None,
            )
            written = self._write_all(writing, facts, plans, known, ours)
        except FlmError:
            self.keeping.set(facts.name, before)
            self._revoke(key_id if fresh else None)
            raise
        if before is not None and before.key != ours.key:
            self._revoke(before.key)
        return Made(
            facts,
            situation,
            client.settings(situation),
            (
                *self._concerns(client, situation),
                *of_files(written),
                *of_rivals(plans, settings),
            ),
            written,
            key,
            key_id,
            show=fresh and not facts.keeps_key,
        )

    def _write_all(
        self,
        writing: Writing,
        facts: Facts,
        plans: Sequence[Plan],
        known: Mapping[str, Kept],
        ours: Connection,
    ) -> tuple[Written, ...]:
        """All files or none. It is remembered before anything is written, so that what a killed
        process wrote can be undone too."""
        paths = {plan.settings.path for plan in plans}
        elsewhere = tuple(kept for path, kept in known.items() if path not in paths)

        def remember(done: Sequence[Written | None]) -> None:
            kept = map(writing.remembered, plans, done)
            self.keeping.set(facts.name, structs.replace(ours, files=(*elsewhere, *kept)))

        remember([None] * len(plans))
        done: list[Written] = []
        try:
            for plan in plans:
                done.append(writing.write(plan, private=facts.keeps_key))
        except FlmError:
            for plan, each in zip(plans, done, strict=False):
                writing.put_back(plan, each)
            raise
        remember(done)
        return tuple(done)

    def _key_for(
        self, wish: Wish, facts: Facts, before: Connection | None, plans: Sequence[Plan]
    ) -> tuple[str | None, str | None, bool]:
        """The key the client is to have, its id, and whether it was made now.

        The one that was made for it before stays, where it still is what the file holds.
        """
        if wish.key is not None:
            return wish.key, id_of(wish.key.encode()), False
        if before is not None and before.key is not None and wish.label is None:
            text = _key_in(plans, before.key) if facts.keeps_key else None
            if (text is not None or not facts.keeps_key) and self._is_active(before.key):
                return text, before.key, False
        made, clear = self.keys().create(wish.label or f"{facts.title} (flm connect)")
        return clear, made.id, True

    def _is_active(self, key: str) -> bool:
        try:
            return self.keys().get(key).state(self.clock.now()) == "active"
        except NotFound:
            return False

    def _revoke(self, key: str | None) -> str | None:
        """Its id when it was revoked now."""
        if key is None or not self._is_active(key):
            return None
        self.keys().revoke(key)
        return key


def _planned(writing: Writing, settings: Settings, known: Mapping[str, Kept]) -> list[Plan]:
    return [writing.plan(file, known.get(file.path)) for file in settings.files]


def _key_in(plans: Sequence[Plan], key_id: str) -> str | None:
    """The key of that id, as one of the files holds it."""
    for plan in plans:
        for text in values_in(plan):
            if has_form(text.encode()) and id_of(text.encode()) == key_id:
                return text
    return None
