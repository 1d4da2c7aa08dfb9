"""What becomes of what was seen: judged by what was before, and completed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from flm.domain.engines import (
    STARTING,
    Address,
    ApiError,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    InstalledOnly,
    NetworkError,
    serves,
)
from flm.domain.models import Model
from flm.errors import N_
from flm.ports.engines import GENERIC, NO_ANSWER, EngineAdapter, Identity, Sighting
from flm.ports.machine import Host
from flm.services.detection_places import LOOPBACK
from flm.services.engine_states import Health, Thresholds, judge

OURSELVES = N_("this is FLM itself")


class Place(NamedTuple):
    """One engine to describe: whose id it has is settled before it is asked.

    ``identity``: what was told of it in this look, None where nothing was; ``gone``: something
    else answers where it was before; ``starting``: it is known to come up; ``host``: the machine
    around us that it is on; ``mark``: its listener's; ``is_ourselves``: our own API is there.
    """

    id: EngineId
    adapter: EngineAdapter
    address: Address
    source: Literal["added", "detected"]
    key: str | None = None
    identity: Identity | None = None
    gone: bool = False
    starting: bool = False
    host: Host | None = None
    mark: str = ""
    is_ourselves: bool = False


class Known(NamedTuple):
    """What is remembered of an engine from look to look."""

    place: Place
    health: Health
    models: tuple[Model, ...]


def believed(
    cached: Iterable[tuple[Engine, Sequence[Model]]], oldest: float
) -> list[tuple[Engine, Sequence[Model]]]:
    """What an earlier process saw, as far as it may be taken for how things are.

    What it started itself died with it. Of what was seen before `oldest` (UTC seconds) only the
    place and the failures count: that it served then says nothing about now.
    """
    return [
        (engine if engine.checked_at >= oldest or not serves(engine.state) else _doubted(engine),
         models)
        for engine, models in cached
        if not engine.owned
    ]  # fmt: skip


def _doubted(engine: Engine) -> Engine:
    return msgspec.structs.replace(engine, state=InstalledOnly(), failures=0, good_checks=0)


def settled(
    place: Place, seen: Sighting | None, before: Known | None, thresholds: Thresholds
) -> tuple[Known, Sighting] | None:
    """What an engine is now; None when it is not listed any more.

    An added engine is listed however it is; a found one that stopped answering until it has
    failed more than ``network_failures`` times.
    """
    engine = seen.engine if seen is not None else _silent(place)
    models = seen.models if seen is not None else ()
    silent = isinstance(engine.state, NetworkError)
    if place.gone and not silent:
        return None
    if before is not None and before.place.address != place.address:
        before = None
    health = judge(_truly(place, engine.state), before.health if before else None, thresholds)
    is_over = health.failures > thresholds.network_failures
    if is_over and place.source == "detected":
        return None
    if silent and before is not None:
        models = before.models
    remote = place.source == "added" and place.host is None and not place.address.is_loopback
    product = _product(place, engine)
    engine = msgspec.structs.replace(
        engine,
        state=health.state,
        failures=health.failures,
        good_checks=health.good,
        source=place.source,
        remote=remote or engine.remote,
        product=product,
        version=engine.version or (place.identity.version if place.identity else None),
    )
    if remote:
        models = tuple(msgspec.structs.replace(model, remote=True) for model in models)
    return Known(place, health, models), Sighting(engine, models)


class Again(NamedTuple):
    """What a second look at some engines told.

    ``seen``: those whose state was judged anew; ``look``: one answers again that did not, so that
    a whole look must tell whether it is the same.
    """

    seen: tuple[Sighting, ...]
    look: bool


def comes_back(before: EngineState, state: EngineState) -> bool:
    """Whether it answers again, or otherwise than with an error."""
    if isinstance(before, NetworkError):
        return not isinstance(state, NetworkError)
    return isinstance(before, ApiError) and serves(state)


def hurried(known: Known, seen: Sighting, thresholds: Thresholds) -> tuple[Known, Sighting] | None:
    """What an engine is now that it was looked at between two looks; None: as it was.

    Only what is sure is taken: an answer of one that serves, a refused connection of one that did.
    """
    state = seen.engine.state
    silent = isinstance(state, NetworkError) and state.reason == NO_ANSWER
    if silent or not serves(known.health.state):
        return None
    return settled(known.place, seen, known, thresholds)


def _silent(place: Place) -> Engine:
    state = NetworkError(NO_ANSWER, 1)
    return Engine(id=place.id, kind=place.adapter.kind, state=state, address=place.address)


def _truly(place: Place, state: EngineState) -> EngineState:
    """A loading engine is no error, whatever its answers looked like; and we are no engine."""
    if place.is_ourselves:
        return ApiError(OURSELVES)
    loading = place.identity is not None and place.identity.loading
    if loading and isinstance(state, ApiError | Degraded):
        return Degraded(getattr(state, "latency_ms", 0.0), STARTING)
    if place.starting and isinstance(state, NetworkError):
        return Degraded(0.0, STARTING)
    return state


def _product(place: Place, engine: Engine) -> str | None:
    """Its true name, where that says more than its kind."""
    told = place.identity.product if place.identity is not None else None
    if told is None or told == GENERIC:
        return engine.product
    return told if engine.kind == "custom" or told == "llamafile" else engine.product


def same(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings are one engine: on both loopback addresses, or a machine around us
    that has two addresses."""
    here, there = one.engine.address, other.engine.address
    return (
        here is not None
        and there is not None
        and here.host != there.host
        and (here.host in LOOPBACK) == (there.host in LOOPBACK)
        and (here.port, here.prefix) == (there.port, there.prefix)
        and one.engine.kind == other.engine.kind
        and one.engine.version == other.engine.version
        and {model.name for model in one.models} == {model.name for model in other.models}
    )
