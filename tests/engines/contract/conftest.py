"""A fake of every engine, behind one gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from contract_specimens import FAKES

from flm.wire.snapshot import Rules, Target
from support.fakes.base import FakeEngine
from support.fakes.specimen import Place, Specimen
from support.gateway import RunningGateway, gateway


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


@dataclass
class House:
    """Every fake by its specimen's id, and the gateway before them."""

    places: dict[str, FakeEngine]
    gateway: RunningGateway


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests: starting a gateway for each would take minutes."""
    with ExitStack() as stack:
        places = {each.id: stack.enter_context(each.start()) for each in FAKES}
        targets = [target_of(each, places[each.id]) for each in FAKES]
        rules = Rules(revision=1)
        journal = tmp_path_factory.mktemp("journal")
        served = stack.enter_context(gateway(journal, *targets, rules=rules))
        yield House(places, served)


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
