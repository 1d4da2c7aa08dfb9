"""Who is where: every place is asked who listens there, and each engine gets its id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from flm.domain.engines import Address
from flm.ports.engines import NO_ANSWER, Identity, Probe, Prober
from flm.ports.machine import Host, Listener
from flm.services.detection_places import claims, first_side, is_child, listener_at
from flm.tasks import Tasks

Identify = Callable[[Prober, Address, str | None], Awaitable[Identity | None]]
"""`flm.engines.fingerprint.identify`."""

AROUND_SECONDS = 1.0
"""How long a machine around us may take: it is near, and firewalls there only stay silent."""


class Found(NamedTuple):
    """What is at a place. ``identity`` None: no engine; ``silent``: whoever is there did not
    answer everything, so that nothing is known for sure; ``host``: the machine around us.
    """

    address: Address
    identity: Identity | None
    silent: bool = False
    host: Host | None = None
    mark: str = ""


class Attentive:
    """A prober that remembers whether its questions were answered."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self.silent = False

    async def get(
        self,
        address: Address,
        path: str,
        *,
        key: str | None = None,
        seconds: float = 2.0,
        limit: int = 64 << 10,
    ) -> Probe:
        """As the prober's."""
        probe = await self._prober.get(address, path, key=key, seconds=seconds, limit=limit)
        self.silent = self.silent or probe.error == NO_ANSWER
        return probe

    async def post(
        self,
        address: Address,
        path: str,
        body: bytes,
        *,
        key: str | None = None,
        seconds: float = 5.0,
        limit: int = 1 << 20,
    ) -> Probe:
        """As the prober's."""
        return await self._prober.post(address, path, body, key=key, seconds=seconds, limit=limit)


class Finder:
    """Asks places who is there. A place whose socket is the same as before is not asked again.

    ``trusted``: what was told of addresses before, with the mark of the socket then; only of
    engines that have served since.
    """

    def __init__(
        self,
        identify: Identify,
        prober: Prober,
        listeners: Sequence[Listener],
        trusted: Mapping[Address, tuple[str, Identity]],
    ) -> None:
        self._identify = identify
        self._prober = prober
        self._listeners = listeners
        self._trusted = trusted

    async def find(
        self, tasks: Tasks, places: Iterable[tuple[Address, Host | None]], seconds: float
    ) -> list[Found]:
        """Who is at each place; what has not answered within `seconds` is silent."""
        wanted = list(places)
        watched = [Attentive(self._prober) for _ in wanted]
        looks: list[asyncio.Task[Identity | None]] = []
        by_address: dict[Address, asyncio.Task[Identity | None]] = {}
        for (address, host), attentive in zip(wanted, watched, strict=True):
            side = first_side(address, self._listeners)
            first = by_address.get(side) if side is not None else None
            asking = self._one(attentive, address, host, seconds, first)
            by_address[address] = tasks.start(f"identify:{address.url}", asking)
            looks.append(by_address[address])
        if looks:
            await asyncio.wait(looks, timeout=seconds)
        found: list[Found] = []
        for (address, host), attentive, look in zip(wanted, watched, looks, strict=True):
            ended = look.done() and not look.cancelled() and look.exception() is None
            identity = look.result() if ended else None
            silent = identity is None and (attentive.silent or not ended)
            found.append(Found(address, identity, silent, host, self._mark(address)))
        return found

    async def _one(
        self,
        prober: Prober,
        address: Address,
        host: Host | None,
        seconds: float,
        first: asyncio.Task[Identity | None] | None,
    ) -> Identity | None:
        """Who is there; nobody where ``first``, the other side of the same socket, found them."""
        if first is not None and await first is not None:
            return None
        mark, identity = self._trusted.get(address, ("", None))
        if identity is not None and mark and mark == self._mark(address):
            return identity
        limit = seconds if host is None else min(seconds, AROUND_SECONDS)
        try:
            async with asyncio.timeout(limit):
                return await self._identify(prober, address, None)
        except TimeoutError:
            return None

    def _mark(self, address: Address) -> str:
        if not address.is_loopback:
            return ""
        listener = listener_at(address, self._listeners)
        return listener.mark if listener is not None else ""


def engines_among(
    found: Iterable[Found], listeners: Sequence[Listener], own_pid: int
) -> list[Found]:
    """The engines among what was found: neither FLM nor what another engine started."""
    told = [each for each in found if each.identity is not None and not each.identity.instance]
    started = {
        claim
        for each in told
        if each.identity is not None
        for port in each.identity.children
        for claim in claims(Address(each.address.host, port))
    }
    return [
        each
        for each in told
        if each.identity is not None
        and (each.address.host, each.address.port) not in started
        and not is_child(each.identity, listener_at(each.address, listeners), own_pid)
    ]
