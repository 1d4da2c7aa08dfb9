"""A fake of every engine, and the real ones that are there, behind one gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from contract_specimens import EVERY, FAKES
from contract_talk import House

from flm.wire.snapshot import Rules, Target
from support.fakes.base import FakeEngine
from support.fakes.specimen import Place, Specimen
from support.gateway import gateway


def target_of(specimen: Specimen, place: Place) -> Target:
    """The specimen's model as the compiler makes a target of it."""
    model = specimen.model
    return Target(
        id=f"{specimen.id}/{model.name}",
        engine=specimen.id,
        model=model.engine_name or model.name,
        dialect=specimen.adapter.dialect,
        host=place.address.host,
        port=place.address.port,
        authorization=None if specimen.key is None else f"Bearer {specimen.key}",
        capabilities=model.capabilities,
        native=specimen.adapter.traits.native,
    )


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests: starting a gateway for each would take minutes."""
    with ExitStack() as stack:
        places = {each.id: stack.enter_context(each.start()) for each in EVERY}
        targets = [target_of(each, places[each.id]) for each in EVERY]
        rules = Rules(revision=1)
        journal = tmp_path_factory.mktemp("journal")
        served = stack.enter_context(gateway(journal, *targets, rules=rules))
        yield House(
            {each.id: _fake(places[each.id]) for each in FAKES},
            {id_: place.address for id_, place in places.items()},
            served,
        )


def _fake(place: Place) -> FakeEngine:
    assert isinstance(place, FakeEngine)
    return place


@pytest.fixture
def served(house: House) -> Iterator[House]:
    """The house with every fake as it should be, before and after."""
    for fake in house.places.values():
        fake.mend()
        fake.seen.clear()
        fake.disconnected.clear()
    yield house
    for fake in house.places.values():
        fake.mend()
