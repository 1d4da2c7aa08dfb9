"""Which names are asked of their one engine without any further decision."""

from __future__ import annotations

import msgspec

from flm.gateway.live import Live
from flm.wire.snapshot import Published, Routes, Rules, Snapshot
from support.gateway import keys_section, routes_section, target_at

ENGINE = target_at(9)


def live(routes: Routes) -> Live:
    """What the gateway does with these routes."""
    return Live(Snapshot(keys_section(), routes, Rules(revision=1)))


def alone(routes: Routes, name: str) -> str | None:
    """The target of that name, where nothing is left to decide."""
    found = live(routes).alone(name)
    return None if found is None else found.target.id


def test_a_model_with_one_home_is_asked_by_its_name_and_by_its_engines() -> None:
    """Both mean the same target."""
    routes = routes_section(ENGINE)
    assert [alone(routes, name) for name in ("m", "e/m", "n", "e/n")] == ["e/m", "e/m", None, None]


def test_a_model_with_two_homes_is_chosen_among_unless_one_is_named() -> None:
    """The engine's name in front leaves nothing to choose."""
    routes = routes_section(ENGINE, target_at(9, engine="f"))
    assert [alone(routes, name) for name in ("m", "f/m")] == [None, "f/m"]


def test_a_publication_takes_the_place_of_either_name() -> None:
    """What its owner laid over it must be found."""
    for name in ("m", "e/m"):
        published = {name: Published(name=name, models=("m",))}
        routes = msgspec.structs.replace(routes_section(ENGINE), published=published)
        assert alone(routes, name) is None


def test_a_remote_or_sleeping_model_is_not_asked_just_so() -> None:
    """One is noted in the record, the other must be woken."""
    remote = msgspec.structs.replace(ENGINE, remote=True)
    asleep = msgspec.structs.replace(ENGINE, host=None)
    assert [alone(routes_section(each), "e/m") for each in (remote, asleep)] == [None, None]


def test_a_target_that_no_model_leads_to_is_a_patterns_or_nobodys() -> None:
    """A pattern comes before a name that means nothing."""
    routes = msgspec.structs.replace(routes_section(ENGINE), models={})
    assert alone(routes, "e/m") is None
