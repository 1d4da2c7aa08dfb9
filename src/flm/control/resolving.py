"""What the names of engines mean: looked up here, so that the gateway needs to know addresses only.

A name is looked up again after 30 s, and at once when a connection to its address failed. Of
several addresses the one that works is kept; when it fails, the next one's turn comes. A name may
lead anywhere its user could mean, but not back to this machine (`flm.domain.addresses`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from flm.domain.addresses import LEADS_NOWHERE, UNKNOWN_NAME, forbidden, is_address
from flm.ports.clock import Clock
from flm.ports.names import NameRefused
from flm.tasks import Tasks

logger = logging.getLogger("flm.control.names")

RENEW_SECONDS = 30.0
AGAIN_SECONDS = 2.0
"""How long a failed lookup is believed."""

KEPT_SECONDS = 300.0
"""How long an address counts while the name service does not answer: the engine may well."""

PATIENCE_SECONDS = 1.0
"""How long who has an address waits to hear that it is still the same."""

LOOK_SECONDS = 10.0
"""What one round of lookups may take; what comes later counts for the next."""

Lookup = Callable[[str], Sequence[str]]
"""The addresses of a name, best first. Blocks; raises `OSError` or `ValueError`."""


def system_lookup(name: str) -> list[str]:
    """By the system's own rules, hosts file and both address families included."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


class _Known(NamedTuple):
    """What a name meant. ``reason``: why it means nothing; ``at``: when that was learned, and
    ``sure``: when the name service said so last (monotonic seconds); ``failed``: the address that
    took no connection.
    """

    address: str
    reason: str
    at: float
    sure: float
    failed: str = ""


class Resolving:
    """Implements `flm.ports.names.Names`. Holds what the names of the user's engines meant."""

    def __init__(self, clock: Clock, lookup: Lookup = system_lookup) -> None:
        self._clock = clock
        self._lookup = lookup
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[_Known]] = {}
        self._tasks = Tasks()

    async def address(self, host: str) -> str:
        """The IP address that `host` means now. Raises `NameRefused`."""
        if is_address(host):
            return host
        known = self._known.get(host)
        believed = AGAIN_SECONDS if known is not None and known.reason else RENEW_SECONDS
        if known is None or self._clock.monotonic() - known.at >= believed:
            known = await self._anew(host, known)
        if known.reason:
            raise NameRefused(known.reason)
        return known.address

    def distrust(self, host: str, address: str) -> None:
        """No connection came about there: the name is to be looked up anew."""
        known = self._known.get(host)
        if known is not None and known.address == address:
            self._known[host] = known._replace(at=-math.inf, failed=address)

    def located(self) -> Mapping[str, str]:
        """What every name means that means anything: name → IP address."""
        return {host: known.address for host, known in self._known.items() if not known.reason}

    async def renew(self, hosts: Collection[str]) -> bool:
        """Look up these again, and forget all others; whether one means something else now."""
        names = {host for host in hosts if not is_address(host)}
        before = self.located()
        for gone in self._known.keys() - names:
            del self._known[gone]
        if names:
            await asyncio.wait([self._look(name) for name in names], timeout=LOOK_SECONDS)
        return self.located() != before

    async def close(self) -> None:
        """End the lookups under way."""
        await self._tasks.cancel()

    async def _anew(self, host: str, before: _Known | None) -> _Known:
        """What it means now; what it meant before where the name service takes its time."""
        looking = self._look(host)
        if before is not None and before.address:
            await asyncio.wait([looking], timeout=PATIENCE_SECONDS)
            return self._known.get(host, before)
        return await asyncio.shield(looking)

    def _look(self, host: str) -> asyncio.Task[_Known]:
        """Look it up; who asks meanwhile waits for the same answer."""
        looking = self._looking.get(host)
        if looking is None:
            looking = self._tasks.start(f"look up:{host}", self._looked_up(host))
            self._looking[host] = looking
            looking.add_done_callback(lambda _: self._looking.pop(host, None))
        return looking

    async def _looked_up(self, host: str) -> _Known:
        told: Sequence[str] | OSError | ValueError
        try:
            told = await _apart(lambda: self._lookup(host))
        except (OSError, ValueError) as error:
            told = error
        before, now = self._known.get(host), self._clock.monotonic()
        known = self._known[host] = _meaning(told, before, now)
        was = (before.address, before.reason) if before is not None else ("", "")
        if (known.address, known.reason) != was:
            logger.info("%s means %s", host, known.address or f"nothing: {known.reason}")
        return known


def _meaning(
    told: Sequence[str] | OSError | ValueError, before: _Known | None, now: float
) -> _Known:
    """What a name means that the name service said `told` of."""
    if isinstance(told, OSError | ValueError):
        silent = isinstance(told, socket.gaierror) and told.errno == socket.EAI_AGAIN
        if silent and before is not None and before.address and now - before.sure < KEPT_SECONDS:
            return before._replace(at=now - RENEW_SECONDS + AGAIN_SECONDS, failed="")
        return _Known("", UNKNOWN_NAME, now, now)
    # an address with an interface in it ('%') is no other machine's to be reached by
    found = [each for each in dict.fromkeys(told) if "%" not in each]
    for each in found:
        reason = forbidden(each)
        if reason:
            return _Known("", reason, now, now)
    if not found:
        return _Known("", LEADS_NOWHERE, now, now)
    return _Known(_chosen(found, before), "", now, now)


def _chosen(found: Sequence[str], before: _Known | None) -> str:
    """The address in use as long as it works, else the next one, else the best."""
    if before is not None and before.failed in found:
        return found[(found.index(before.failed) + 1) % len(found)]
    if before is not None and before.address in found:
        return before.address
    return found[0]


async def _apart(work: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Do it in a thread that nobody waits for at the end: a name service may hang for long."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(outcome: Sequence[str] | Exception) -> None:
        if ended.done():
            return
        if isinstance(outcome, Exception):
            ended.set_exception(outcome)
        else:
            ended.set_result(outcome)

    def run() -> None:
        outcome: Sequence[str] | Exception
        try:
            outcome = work()
        except (OSError, ValueError) as error:
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, outcome)

    threading.Thread(target=run, name="name lookup", daemon=True).start()
    return await ended
