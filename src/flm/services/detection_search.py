"""One look's search: every engine that is to be described, each with its id and its key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from flm.domain.engines import EMBEDDED, Address, EngineId, EngineKind, serves
from flm.ports.engines import EngineAdapter, Identity, Prober
from flm.ports.machine import Host, Listener, Machine
from flm.services.detection_finding import Finder, Found, Identify, engines_among
from flm.services.detection_names import Names
from flm.services.detection_places import (
    around,
    claims,
    listener_at,
    own_claims,
    program_kind,
    to_search,
)
from flm.services.detection_settling import Known, Place
from flm.services.detection_wanted import Added, Wanted
from flm.tasks import Tasks

T = TypeVar("T")


class Surroundings(NamedTuple):
    """What the machine told: who listens here, and what is around it."""

    listeners: tuple[Listener, ...]
    hosts: tuple[Host, ...]


class Search:
    """Asks everybody once who they are. ``known``: what is remembered from looks before."""

    def __init__(
        self,
        adapters: Mapping[EngineKind, EngineAdapter],
        prober: Prober,
        identify: Identify,
        machine: Machine,
        known: Mapping[EngineId, Known],
    ) -> None:
        self._adapters = adapters
        self._prober = prober
        self._identify = identify
        self._machine = machine
        self._known = known

    async def places(
        self,
        tasks: Tasks,
        wanted: Wanted,
        here: Surroundings,
        names: Names,
        ports: Sequence[int],
        seconds: float,
    ) -> list[Place]:
        """Every engine to be described: added ones, and those that are here."""
        claimed = {claim for each in wanted.added for claim in claims(each.definition.address)}
        claimed |= own_claims(here.listeners, self._machine.own_pid)
        searched: dict[Address, Host | None] = dict.fromkeys(
            to_search(self._adapters.values(), self._machine, here.listeners, ports)
        )
        searched |= {each.address: each.host for each in around(here.hosts, ports)}
        for known in self._known.values():  # one that was found elsewhere may have fallen silent
            if known.place.source == "detected":
                searched.setdefault(known.place.address, known.place.host)
        free = [
            (address, host)
            for address, host in searched.items()
            if (address.host, address.port) not in claimed
        ]
        finder = Finder(self._identify, self._prober, here.listeners, self._trusted())
        vouched = [
            tasks.start(f"added:{each.definition.id}", self._who_is(each, seconds))
            for each in wanted.added
        ]
        finding = tasks.start("look:find", finder.find(tasks, free, seconds))
        await asyncio.wait([finding, *vouched], timeout=seconds + 0.1)
        found = result_of(finding) or []
        return [
            *(
                self._added(each, result_of(told), wanted, here.hosts)
                for each, told in zip(wanted.added, vouched, strict=True)
            ),
            *self._detected(found, wanted, here, names),
        ]

    def _trusted(self) -> dict[Address, tuple[str, Identity]]:
        """Who was where at the last look and served."""
        return {
            each.place.address: (each.place.mark, each.place.identity)
            for each in self._known.values()
            if each.place.identity is not None
            and not each.place.identity.loading
            and serves(each.health.state)
        }

    # What the user added.

    async def _who_is(self, added: Added, seconds: float) -> Identity | None:
        """Asked again only when it did not serve: the user vouches for the address."""
        of = added.definition
        before = self._known.get(of.id)
        if (
            before is not None
            and before.place.address == of.address
            and serves(before.health.state)
        ):
            return before.place.identity
        try:
            async with asyncio.timeout(seconds):
                return await self._identify(self._prober, of.address, added.key)
        except TimeoutError:
            return None

    def _added(
        self, added: Added, told: Identity | None, wanted: Wanted, hosts: Sequence[Host]
    ) -> Place:
        of = added.definition
        before = self._known.get(of.id)
        kind: EngineKind = "custom"
        if of.kind != "auto":
            kind = of.kind
        elif told is not None:
            kind = told.kind
        elif before is not None and before.place.address == of.address:
            kind = before.place.adapter.kind
        return Place(
            of.id,
            self._adapters[kind],
            of.address,
            "added",
            added.key,
            identity=told if told is None or told.kind == kind else None,
            host=next((each for each in hosts if each.address == of.address.host), None),
            is_ourselves=told is not None
            and told.instance != ""
            and told.instance == wanted.instance,
        )

    # What is here by itself.

    def _detected(
        self, found: Sequence[Found], wanted: Wanted, here: Surroundings, names: Names
    ) -> list[Place]:
        engines = engines_among(found, here.listeners, self._machine.own_pid)
        others = {each.address: each for each in found if each not in engines}
        places = [self._place(each, names, wanted) for each in engines]
        taken = {place.id for place in places} | {EMBEDDED}
        for known in self._known.values():
            # what was here before and is not told now comes last: its place may be another's
            other = others.get(known.place.address)
            is_added = known.place.source == "added"
            if other is None or is_added or known.place.id in taken:
                continue
            places.append(self._lost(known, other, names, wanted))
            taken.add(places[-1].id)
        return places + self._coming_up(
            [each for each in others.values() if each.silent], places, here, names
        )

    def _place(self, found: Found, names: Names, wanted: Wanted) -> Place:
        assert found.identity is not None
        id_ = names.of(found.identity, found.address)
        return Place(
            id_,
            self._adapters[found.identity.kind],
            found.address,
            "detected",
            wanted.keys.get(id_),
            identity=found.identity,
            host=found.host,
            mark=found.mark,
        )

    def _lost(self, known: Known, found: Found, names: Names, wanted: Wanted) -> Place:
        place = known.place
        product = place.identity.product if place.identity is not None else ""
        id_ = names.again(place.adapter.kind, product, place.address, place.id)
        return place._replace(id=id_, key=wanted.keys.get(id_), gone=not found.silent, mark="")

    def _coming_up(
        self,
        silent: Sequence[Found],
        places: Sequence[Place],
        here: Surroundings,
        names: Names,
    ) -> list[Place]:
        """vLLM has its port before it answers: whose it is tells that it is on its way."""
        known = {place.address for place in places}
        made: list[Place] = []
        for each in silent:
            listener = listener_at(each.address, here.listeners)
            if each.address in known or listener is None or not listener.chain:
                continue
            if program_kind(listener.chain[0][1]) == "vllm":
                identity = Identity(kind="vllm", product="vLLM", loading=True)
                id_ = names.of(identity, each.address)
                made.append(
                    Place(id_, self._adapters["vllm"], each.address, "detected", starting=True)
                )
        return made


def result_of(task: asyncio.Task[T]) -> T | None:
    """What a task found; None when it did not end in time or failed, which `Tasks` has logged."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()
