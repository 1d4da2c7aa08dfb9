"""The snapshot compiler: what is stored and what was seen, as the gateway judges by it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flm.control.publications import published
from flm.domain.addresses import is_address
from flm.domain.engines import EMBEDDED, Address, Engine, EngineId, EngineKind, serves
from flm.domain.keys import OWNER_ID, OWNER_LOOKUP_ID, ApiKey
from flm.domain.models import Capability, Model, ModelState
from flm.domain.policy import Policy
from flm.domain.publications import Profile, PromptTemplate, Publication
from flm.domain.traits import Api
from flm.ports.engines import Sighting
from flm.wire.channel import Delta
from flm.wire.snapshot import (
    EngineDialect,
    KeyEntry,
    Keys,
    ModelEntry,
    Routes,
    Rules,
    Snapshot,
    Target,
)

_BEST_FIRST: tuple[ModelState, ...] = ("ready", "sleeping", "unavailable")


class Running(msgspec.Struct, frozen=True):
    """Where a loaded model of the embedded engine answers, and the key it demands."""

    host: str
    port: int
    key: str


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """All that a snapshot is made from.

    ``engine_keys`` are the engines' own keys in clear; ``held``: engines whose models cannot be
    asked at once, and how they are offered all the same; ``embedded`` are the models of the
    embedded engine, of which those in ``running`` (by name) are loaded; ``contexts`` holds the
    context lengths the user set: engine → model ('' for all of them) → tokens. ``located``: the
    IP addresses of engines known by name; ``native``: the APIs that kinds of engines speak;
    ``lately``: names that engines of this machine had, whether or not they are seen now;
    ``default``: the name that answers for unknown ones, '' for none.
    """

    config_revision: int
    security_revision: int
    pepper: bytes
    keys: Sequence[ApiKey]
    owner_digest: bytes
    policy: Policy
    sightings: Sequence[Sighting]
    held: Mapping[EngineId, ModelState] = {}
    engine_keys: Mapping[str, str]
    embedded: Sequence[Model]
    running: Mapping[str, Running]
    dialects: Mapping[EngineKind, EngineDialect]
    contexts: Mapping[str, Mapping[str, int]]
    rules: Rules
    located: Mapping[str, str] = {}
    native: Mapping[EngineKind, tuple[Api, ...]] = {}
    lately: Mapping[str, EngineId] = {}
    publications: Sequence[Publication] = ()
    templates: Sequence[PromptTemplate] = ()
    profiles: Sequence[Profile] = ()
    default: str = ""


_Home = tuple[ModelState, Model]


def compile_snapshot(sources: Sources, now: float) -> Snapshot:
    """The snapshot at `now` (UTC seconds). Its routes' revision is 0: see `renumbered`."""
    return Snapshot(
        keys=Keys(
            revision=sources.security_revision,
            pepper=sources.pepper,
            entries=_entries(sources.keys, sources.owner_digest, now),
            keyless=tuple(
                (key.keyless_from, str(key.id))
                for key in sources.keys
                if key.keyless_from and key.state(now) == "active"
            ),
        ),
        routes=_with_publications(_routes(sources), sources, now),
        rules=msgspec.structs.replace(
            sources.rules, revision=sources.config_revision, policy=sources.policy
        ),
    )


def _entries(keys: Iterable[ApiKey], owner: bytes, now: float) -> dict[str, KeyEntry]:
    """The usable keys. One that is to be revoked later (a rotation's grace) ends then."""
    entries = {
        str(key.id): KeyEntry(str(key.id), key.digest, _end(key))
        for key in keys
        if key.state(now) == "active"
    }
    entries[OWNER_LOOKUP_ID] = KeyEntry(OWNER_ID, owner)
    return entries


def _end(key: ApiKey) -> float | None:
    ends = [end for end in (key.expires_at, key.revoked_at) if end is not None]
    return min(ends, default=None)


def _routes(sources: Sources) -> Routes:
    targets: dict[str, Target] = {}
    homes: dict[str, list[_Home]] = {}
    for sighting in sources.sightings:
        if sighting.engine.kind == "embedded":
            continue
        engine_is = _state(sighting.engine, sources)
        for model in sighting.models:
            waits = engine_is == "ready" and model.by_hand and not model.loaded
            state: ModelState = "unavailable" if waits else engine_is
            if state != "unavailable":
                targets[model.target] = _target(sighting.engine, model, sources, state)
            here = _marked(model, sighting.engine)
            homes.setdefault(model.name, []).append((state, here))
    for model in sources.embedded:
        server = sources.running.get(model.name)
        targets[model.target] = _embedded_target(model, server, sources)
        homes.setdefault(model.name, []).append(("ready" if server else "sleeping", model))
    models = _named(homes, sources.lately)
    return Routes(revision=0, models=dict(sorted(models.items())), targets=targets)


def _with_publications(routes: Routes, sources: Sources, now: float) -> Routes:
    return msgspec.structs.replace(
        routes,
        published=published(
            sources.publications, sources.templates, sources.profiles, sources.keys, routes, now
        ),
        default=sources.default,
    )


def _named(
    homes: Mapping[str, Sequence[_Home]], lately: Mapping[str, EngineId]
) -> dict[str, ModelEntry]:
    """Every name with its entry.

    A name that has or had a home on this machine stays on it, though that may not answer just
    now: what leaves the machine is never chosen in silence. Its remote homes go by `engine/name`.
    """
    local = {name: [each for each in found if not each[1].remote] for name, found in homes.items()}
    here = {_plain(name) for name, found in local.items() if found} | set(map(_plain, lately))
    models = {name: _entry(name, found) for name, found in local.items() if found}
    shadowed: list[_Home] = []
    for name, found in homes.items():
        if _plain(name) not in here:
            models[name] = _entry(name, found)
        else:
            shadowed += [each for each in found if each[1].remote]
    for state, model in shadowed:
        models.setdefault(model.target, _entry(model.target, [(state, model)]))
    wanted = {_plain(model.name) for _, model in shadowed}
    for name, engine in lately.items():
        if _plain(name) in wanted and name not in models:
            models[name] = ModelEntry(name=name, targets=(), engines=(engine,), state="unavailable")
    return models


def _plain(name: str) -> str:
    """`x` and Ollama's `x:latest` are one name."""
    return name.removesuffix(":latest")


def _marked(model: Model, engine: Engine) -> Model:
    """Everything that an engine on another machine has is remote."""
    return msgspec.structs.replace(model, remote=True) if engine.remote else model


def _state(engine: Engine, sources: Sources) -> ModelState:
    """What the models of an engine are, as far as that depends on the engine."""
    held = sources.held.get(engine.id)
    if held is not None:
        return held
    answers = serves(engine.state) and _located(engine.address, sources) is not None
    return "ready" if answers else "unavailable"


def _located(address: Address | None, sources: Sources) -> str | None:
    """The IP address of it; None where its name leads nowhere (now)."""
    if address is None or is_address(address.host):
        return None if address is None else address.host
    return sources.located.get(address.host)


def _target(engine: Engine, model: Model, sources: Sources, state: ModelState) -> Target:
    address = engine.address if state == "ready" else None
    key = sources.engine_keys.get(engine.id)
    return Target(
        id=model.target,
        engine=engine.id,
        model=model.engine_name or model.name,
        dialect=sources.dialects[engine.kind],
        host=_located(address, sources),
        port=0 if address is None else address.port,
        prefix="" if address is None else address.prefix,
        authorization=None if key is None or address is None else f"Bearer {key}",
        num_ctx=num_ctx(sources.contexts, engine.id, model.name)
        if engine.kind == "ollama"
        else None,
        capabilities=model.capabilities,
        name=_name(address),
        tls=address is not None and address.tls,
        ca_file="" if address is None else address.ca_file,
        remote=model.remote or engine.remote,
        native=sources.native.get(engine.kind, ()),
    )


def _name(address: Address | None) -> str:
    """The name of the host, as its certificate says it; '' where it is known by its address."""
    if address is None or is_address(address.host):
        return ""
    return address.host.rstrip(".")


def num_ctx(contexts: Mapping[str, Mapping[str, int]], engine: EngineId, model: str) -> int | None:
    """The context length the user set for this model, else for its engine, else None.

    `x` and Ollama's `x:latest` are one model.
    """
    wanted = contexts.get(engine, {})
    return wanted.get(model) or wanted.get(model.removesuffix(":latest")) or wanted.get("")


def _embedded_target(model: Model, server: Running | None, sources: Sources) -> Target:
    asleep = Target(
        id=model.target,
        engine=EMBEDDED,
        model=model.engine_name or model.name,
        dialect="openai",
        capabilities=model.capabilities,
        native=sources.native.get("embedded", ()),
    )
    if server is None:
        return asleep
    return msgspec.structs.replace(
        asleep, host=server.host, port=server.port, authorization=f"Bearer {server.key}"
    )


def _entry(name: str, found: Sequence[_Home]) -> ModelEntry:
    """One name with its homes, all here or all remote: the best first, facts that hold for each."""
    ordered = sorted(found, key=lambda home: _BEST_FIRST.index(home[0]))
    usable = [model for state, model in ordered if state != "unavailable"]
    known = usable or [model for _, model in ordered]
    contexts = [model.context_length for model in known if model.context_length is not None]
    capabilities: dict[Capability, None] = {}
    for model in known:
        capabilities.update(dict.fromkeys(model.capabilities))
    return ModelEntry(
        name=name,
        targets=tuple(dict.fromkeys(model.target for model in usable)),
        engines=tuple(dict.fromkeys(model.engine for _, model in ordered)),
        state=ordered[0][0],
        created=max(model.created for model in known),
        context_length=min(contexts, default=None),
        capabilities=tuple(capabilities),
        remote=ordered[0][1].remote,
    )


def renumbered(snapshot: Snapshot, before: Snapshot | None) -> Snapshot:
    """`snapshot` with its routes' revision: the one `before` if they are equal, else the next."""
    if before is None:
        return msgspec.structs.replace(
            snapshot, routes=msgspec.structs.replace(snapshot.routes, revision=1)
        )
    revision = before.routes.revision
    same = msgspec.structs.replace(snapshot.routes, revision=revision)
    if same != before.routes:
        same = msgspec.structs.replace(same, revision=revision + 1)
    return msgspec.structs.replace(snapshot, routes=same)


def difference(seq: int, before: Snapshot, after: Snapshot, now: float) -> Delta | None:
    """What a gateway that has `before` must be told to have `after`; None: nothing.

    Keys that are gone without having expired by `now` were revoked: their responses are cut.
    """
    keys = after.keys if after.keys != before.keys else None
    routes = after.routes if after.routes != before.routes else None
    rules = after.rules if after.rules != before.rules else None
    if keys is None and routes is None and rules is None:
        return None
    revoked = tuple(
        entry.id
        for key, entry in before.keys.entries.items()
        if key not in after.keys.entries and (entry.expires_at is None or entry.expires_at > now)
    )
    return Delta(seq=seq, keys=keys, routes=routes, rules=rules, revoked=revoked)
