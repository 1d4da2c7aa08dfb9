"""The snapshot in force, with what changes while it is: in-flight counts and last uses."""

from __future__ import annotations

from typing import Final

from flm.domain.digester import Digester
from flm.domain.engines import EngineLoad
from flm.domain.instance import instance_of
from flm.domain.models import nearest, resolve
from flm.errors import Refusal
from flm.gateway.choosing import Places, ordered
from flm.gateway.keyless import KeylessClients
from flm.gateway.published import Plan, plan
from flm.gateway.published import found as found_model
from flm.gateway.upstream.breaker import Breaker
from flm.gateway.upstream.pool import Pool
from flm.gateway.upstream.secure import Secured, Trust
from flm.wire.channel import TargetStats
from flm.wire.snapshot import KeyEntry, Keys, ModelEntry, Routes, Rules, Snapshot, Target

MAX_QUOTED: Final = 100


class LiveTarget:
    """A target, how busy it is, and the connections to its engine.

    ``unspoken``: clients' dialects that its kind of engine speaks by itself, and this one does not.
    """

    __slots__ = (
        "_leads",
        "breaker",
        "in_flight",
        "last_use",
        "pool",
        "target",
        "unspoken",
        "withdrawn",
    )

    def __init__(self, target: Target, pool: Pool | None) -> None:
        self.target = target
        self.pool = pool
        self.in_flight = 0
        self.last_use = 0.0
        self.withdrawn = False
        self.breaker = Breaker()
        self.unspoken: set[str] = set()
        self._leads: dict[str, bytes] = {}

    def lead(self, path: str) -> bytes:
        """The start of every request to `path` there; made once for each of a codec's paths."""
        lead = self._leads.get(path)
        if lead is None:
            lead = self._leads[path] = request_lead(self.target, path)
        return lead


def request_lead(target: Target, path: str, kind: str = "application/json") -> bytes:
    """The part of a request's head that is the same for every POST to `path` at `target`.

    Built from scratch: nothing a client sent is in it, least of all its credentials. `kind`: the
    type of the body.
    """
    lead = (
        f"host: {authority(target)}\r\ncontent-type: {kind}\r\n"
        "accept: application/json, text/event-stream, application/x-ndjson\r\n"
        "accept-encoding: identity\r\nuser-agent: flm\r\n"
    )
    if target.authorization:
        lead += f"authorization: {target.authorization}\r\n"
    return f"POST {target.prefix}{path} HTTP/1.1\r\n".encode() + lead.encode("latin-1")


def authority(target: Target) -> str:
    """What `Host` says: the engine's own name, and its port where that is not the usual one."""
    host = target.name or target.host or ""
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"
    return host if target.port == (443 if target.tls else 80) else f"{host}:{target.port}"


_Place = tuple[str, int, bool, str, str]
"""Host, port, TLS, name, CA file: what two connections must share to be in one pool."""


class Live:
    """Keys, routes and rules as they are now. Swapped section by section.

    ``loads``: how busy the engines last said they are, by id; a few seconds old. ``places``: where
    conversations were answered; ``has_choice``: whether any model has several homes.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._pools: dict[_Place, Pool] = {}
        self._trust = Trust()
        self._targets: dict[str, LiveTarget] = {}
        self._leaving: list[LiveTarget] = []
        self._single: dict[str, LiveTarget] = {}
        self._alone: dict[str, LiveTarget] = {}
        self.instance = instance_of(snapshot.keys.pepper)
        self.models: dict[str, ModelEntry] = {}
        self.routes = snapshot.routes
        self.has_choice = False
        self.places = Places()
        self.homes: dict[str, tuple[str, ...]] = {}
        self.digest = Digester(snapshot.keys.pepper).digest
        self.entries: dict[bytes, KeyEntry] = {}
        self.routes_revision = -1
        self.loads: dict[str, EngineLoad] = {}
        self.use_rules(snapshot.rules)
        self.use_keys(snapshot.keys)
        self.use_routes(snapshot.routes)

    def use_keys(self, keys: Keys) -> None:
        """Take a new keys section."""
        self.digest = Digester(keys.pepper).digest
        self.entries = {key.encode(): entry for key, entry in keys.entries.items()}
        self.keyless = KeylessClients(keys)

    def use_rules(self, rules: Rules) -> None:
        """Take a new rules section."""
        self.rules = rules
        self.allowed_hosts = frozenset(host.lower() for host in rules.allowed_hosts)

    def use_routes(self, routes: Routes) -> None:
        """Take a new routes section: targets that went or moved are withdrawn."""
        before = self._targets
        self._targets = {}
        for target in routes.targets.values():
            old = before.get(target.id)
            if old is not None and old.target == target:
                self._targets[target.id] = old
                continue
            live = LiveTarget(target, self._pool(target))
            if old is not None:
                live.last_use = old.last_use
                if live.pool is old.pool:
                    live.breaker, live.unspoken = old.breaker, old.unspoken
            self._targets[target.id] = live
        for old in before.values():
            if self._targets.get(old.target.id) is not old and old.in_flight:
                old.withdrawn = True
                self._leaving.append(old)
        self.models = routes.models
        self.routes = routes
        self.has_choice = any(len(entry.targets) > 1 for entry in routes.models.values())
        self._single = {
            name: self._targets[entry.targets[0]]
            for name, entry in routes.models.items()
            if len(entry.targets) == 1 and entry.targets[0] in self._targets
        }
        self.homes = {name: entry.targets for name, entry in routes.models.items()}
        for id_, live in self._targets.items():
            if not self.homes.get(id_):  # no model has that name
                self._single[id_] = live
        self._alone = {
            name: live
            for name, live in self._single.items()
            if live.pool is not None
            and not live.target.remote
            and name not in routes.published
            and found_model(routes, name) is not None
        }
        self.routes_revision = routes.revision
        self._close_unused_pools()

    def _pool(self, target: Target) -> Pool | None:
        if target.host is None:
            return None
        place = (target.host, target.port, target.tls, target.name, target.ca_file)
        pool = self._pools.get(place)
        if pool is None:
            name = target.name or target.host
            secured = Secured(name, target.ca_file, self._trust) if target.tls else None
            pool = self._pools[place] = Pool(target.host, target.port, secured)
        return pool

    def _close_unused_pools(self) -> None:
        used = {live.pool for live in self._targets.values()}
        for place, pool in list(self._pools.items()):
            if pool not in used:
                pool.close()
                del self._pools[place]

    def sweep(self, now: float) -> None:
        """Close connections to engines that have been idle for too long (monotonic `now`)."""
        for pool in self._pools.values():
            pool.sweep(now)

    def plan(self, name: str, key_id: str) -> Plan | None:
        """What the name means for that key; None: the model of that name, and nothing else.

        Raises `Refusal` 404 `model_not_found` where nothing answers to it.
        """
        routes = self.routes
        if not routes.published and not routes.default:
            return None
        meant = plan(routes, name, key_id)
        if not meant.names:
            raise self.unknown_model(name)
        return meant

    def alone(self, name: str) -> LiveTarget | None:
        """The one home of a model that is awake, on this machine, and has nothing of its owner's
        around it: most requests are for one of those. None for all others.
        """
        return self._alone.get(name)

    def only(self, name: str) -> LiveTarget | None:
        """The one home of the model of that name; None: look for its `candidates`."""
        return self._single.get(name)

    def candidates(self, name: str, usual: str, now: float) -> list[LiveTarget]:
        """All homes of the model a client calls `name`, the best first: see `choosing.ordered`.

        Raises `Refusal` 404 `model_not_found` naming the nearest names, 503 when its engine does
        not answer.
        """
        only = self._single.get(name)
        if only is not None:
            return [only]
        ids = resolve(name, self.homes, self._targets)
        homes = [self._targets[target] for target in ids if target in self._targets]
        if homes:
            return ordered(homes, self.loads, usual, now)
        if self._is_known(name):
            raise Refusal(
                503,
                "engine_unavailable",
                f"The engine of the model '{name}' does not answer." + self._elsewhere(name),
                kind="server_error",
                param="model",
                retry_after=5,
            )
        raise self.unknown_model(name)

    def _is_known(self, name: str) -> bool:
        """Whether it is a model's name, or one of an engine's that has it, awake or not."""
        engine, _, model = name.removeprefix("flm://").partition("/")
        for each in (name, model):
            entry = self.models.get(each) or self.models.get(f"{each}:latest")
            if entry is not None and (each is name or engine in entry.engines):
                return True
        return False

    def _elsewhere(self, name: str) -> str:
        """Under which names other machines have it: who wants to go there must say so."""
        ends = (f"/{name}", f"/{name}:latest", f"/{name.removesuffix(':latest')}")
        found = [known for known, of in self.models.items() if of.remote and known.endswith(ends)]
        if not found:
            return ""
        return " Another machine has it too, as " + ", ".join(f"'{each}'" for each in found) + "."

    def entry(self, name: str) -> ModelEntry:
        """The model a client calls `name`, however it may be named in a request.

        Raises `Refusal` 404 `model_not_found` naming the nearest names.
        """
        found = self.models.get(name)
        if found is None:
            targets = resolve(name, self.homes, self._targets)
            own = self.models.get(targets[0]) if targets else None
            found = own or (self.models.get(targets[0].partition("/")[2]) if targets else None)
        if found is None:
            raise self.unknown_model(name)
        return found

    def unknown_model(self, name: str) -> Refusal:
        """The refusal of a name that means nothing here."""
        shown = name if len(name) <= MAX_QUOTED else name[:MAX_QUOTED] + "…"
        message = f"The model '{shown}' does not exist here."
        close = nearest(name, self.models)
        if close:
            message += " Did you mean " + ", ".join(f"'{near}'" for near in close) + "?"
        elif not self.models:
            message += " No engine offers any model at the moment."
        return Refusal(404, "model_not_found", message, param="model")

    def target(self, target_id: str) -> LiveTarget | None:
        """The target of that id as it is now."""
        return self._targets.get(target_id)

    def stats(self) -> dict[str, TargetStats]:
        """In-flight counts and last uses of every target that was used."""
        for left in self._leaving:
            now = self._targets.get(left.target.id)
            if now is not None:
                now.last_use = max(now.last_use, left.last_use)
        figures: dict[str, TargetStats] = {
            live.target.id: TargetStats(live.in_flight, live.last_use)
            for live in self._targets.values()
            if live.last_use or live.in_flight
        }
        self._leaving = [live for live in self._leaving if live.in_flight]
        for live in self._leaving:
            old = figures.get(live.target.id, TargetStats(0, 0.0))
            figures[live.target.id] = TargetStats(
                old.in_flight + live.in_flight, max(old.last_use, live.last_use)
            )
        return figures
