"""What every adapter makes of its engine: who it is, how it is, what it can run."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from contract_specimens import EVERY, FAKES, named, with_mood

from flm.domain.engines import ApiError, EngineId, Healthy, NetworkError, state_name
from flm.domain.models import Model
from flm.engines.fingerprint import identify
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from flm.ports.engines import Probe, Prober, Sighting, Wishes
from support.fakes.base import (
    EVERYWHERE,
    FakeEngine,
    Fault,
    broken_json,
    empty,
    half_closed,
    instead,
    slow,
    wrong_content_type,
)
from support.fakes.specimen import Place, Specimen
from support.replay import response

every_engine = pytest.mark.parametrize("specimen", EVERY, ids=str)
every_fake = pytest.mark.parametrize("specimen", FAKES, ids=str)
every_mood = pytest.mark.parametrize(("specimen", "mood"), with_mood(), ids=named(with_mood()))


@dataclass
class Hasty:
    """The real prober, with less patience."""

    prober: Prober
    seconds: float = 0.2

    async def get(self, *where: object, **how: object) -> Probe:
        """As the real one."""
        return await self.prober.get(*where, **{**how, "seconds": self.seconds})

    async def post(self, *where: object, **how: object) -> Probe:
        """As the real one."""
        return await self.prober.post(*where, **{**how, "seconds": self.seconds})


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def look(
    prober: Prober, specimen: Specimen, place: Place, wishes: Wishes | None = None
) -> Sighting:
    """What the adapter says."""
    return await specimen.adapter.describe(
        prober, EngineId(specimen.id), place.address, specimen.key, wishes or Wishes()
    )


@every_engine
async def test_it_is_told_apart(prober: HttpProber, specimen: Specimen) -> None:
    """By its own answers: kind, true name and version; neither locked nor loading."""
    with specimen.start() as place:
        found = await identify(prober, place.address, specimen.key)
    assert found is not None
    assert (found.kind, found.product) == (specimen.adapter.kind, specimen.product)
    assert found.version == specimen.version
    assert (found.locked, found.loading) == (False, False)


@every_engine
async def test_a_healthy_engine_is_described(prober: HttpProber, specimen: Specimen) -> None:
    """Healthy, with the latency measured, its version, and its model to the last fact."""
    with specimen.start() as place:
        sighting = await look(prober, specimen, place)
    assert isinstance(sighting.engine.state, Healthy)
    assert sighting.engine.state.latency_ms > 0
    assert (sighting.engine.id, sighting.engine.kind) == (specimen.id, specimen.adapter.kind)
    assert sighting.engine.version == specimen.version
    assert sighting.engine.address == place.address
    assert specimen.model in sighting.models


@every_mood
async def test_its_states_are_told(prober: HttpProber, specimen: Specimen, mood: str) -> None:
    """Loading is degraded and no error, a lock needs a key, what is dead is dead."""
    expected = specimen.moods[mood]
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        expected.put(place)
        state = (await look(prober, specimen, place)).engine.state
    assert (state_name(state), getattr(state, "reason", "")) == (expected.state, expected.reason)


@every_mood
async def test_it_is_told_apart_in_every_state(
    prober: HttpProber, specimen: Specimen, mood: str
) -> None:
    """No state of its makes it somebody else; where nothing tells it, nobody is named."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        specimen.moods[mood].put(place)
        found = await identify(prober, place.address, specimen.key)
    assert (found is not None) is specimen.moods[mood].told
    assert found is None or found.kind in (specimen.adapter.kind, "custom")


@every_fake
async def test_nobody_there_is_a_network_error(prober: HttpProber, specimen: Specimen) -> None:
    """A closed port gives the reason, and no models."""
    with specimen.start() as place:
        pass
    sighting = await look(prober, specimen, place)
    assert sighting.engine.state == NetworkError("connection refused", 1)
    assert sighting.models == ()


@every_fake
async def test_silence_is_a_network_error(prober: HttpProber, specimen: Specimen) -> None:
    """The look ends when its time is up."""
    waiting = threading.Event()
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        place.fault(EVERYWHERE, slow(waiting))
        sighting = await look(Hasty(prober), specimen, place)
        waiting.set()
    assert sighting.engine.state == NetworkError("no answer in time", 1)


@every_fake
@pytest.mark.parametrize("fault", [empty, half_closed], ids=["nothing", "half"])
async def test_half_an_answer_is_a_network_error(
    prober: HttpProber, specimen: Specimen, fault: Fault
) -> None:
    """Closed without a byte, and in the middle of the message."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        place.fault(EVERYWHERE, fault)
        sighting = await look(prober, specimen, place)
    assert isinstance(sighting.engine.state, NetworkError)
    assert sighting.engine.state.reason in (
        "closed the connection without an answer", "no whole HTTP answer"
    )  # fmt: skip
    assert sighting.models == ()


@every_fake
@pytest.mark.parametrize("fault", [broken_json, wrong_content_type], ids=["broken", "a page"])
async def test_a_list_that_is_none_is_an_api_error(
    prober: HttpProber, specimen: Specimen, fault: Fault
) -> None:
    """JSON that breaks off, and a page for people: both with status 200."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        place.fault(specimen.listing, fault)
        state = (await look(prober, specimen, place)).engine.state
    assert isinstance(state, ApiError)


@every_fake
async def test_a_server_of_something_else_has_no_models(
    prober: HttpProber, specimen: Specimen
) -> None:
    """Every path is a page: an API error, and nothing is offered."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        place.fault(EVERYWHERE, wrong_content_type)
        sighting = await look(prober, specimen, place)
    assert isinstance(sighting.engine.state, ApiError)
    assert sighting.models == ()


@every_fake
@pytest.mark.parametrize("body", ["[]", "null", '"x"', "[" * 9_000, '{"data":{},"models":3}'])
async def test_answers_of_any_shape_are_survived(
    prober: HttpProber, specimen: Specimen, body: str
) -> None:
    """JSON of the wrong shape at every path: no exception, no models."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        place.fault(EVERYWHERE, instead(response(body)))
        sighting = await look(prober, specimen, place)
        await specimen.adapter.load(prober, place.address, None)
    assert sighting.models == ()


@every_engine
async def test_what_the_user_says_of_a_model_counts(prober: HttpProber, specimen: Specimen) -> None:
    """`engines.NAME.capabilities`, for one model and for all."""
    one = Wishes(capabilities={specimen.model.name: ("rerank",)})
    every = Wishes(capabilities={"": ("images",)})
    with specimen.start() as place:
        of_one = await look(prober, specimen, place, one)
        of_all = await look(prober, specimen, place, every)
    assert _abilities(of_one)[specimen.model.name] == ("rerank",)
    assert set(_abilities(of_all).values()) == {("images",)}


def _abilities(sighting: Sighting) -> dict[str, tuple[str, ...]]:
    def pair(model: Model) -> tuple[str, tuple[str, ...]]:
        return model.name, model.capabilities

    return dict(map(pair, sighting.models))


@every_engine
async def test_its_load_is_told(prober: HttpProber, specimen: Specimen) -> None:
    """As its own numbers say, nothing where it has none."""
    with specimen.start() as place:
        load = await specimen.adapter.load(prober, place.address, specimen.key)
    assert load == specimen.load


@every_fake
async def test_a_dead_engine_tells_no_load(prober: HttpProber, specimen: Specimen) -> None:
    """Nor does it fail."""
    with specimen.start() as place:
        pass
    assert await specimen.adapter.load(prober, place.address, specimen.key) is None


@every_fake
async def test_its_key_goes_with_every_question(prober: HttpProber, specimen: Specimen) -> None:
    """And it is asked by GET only, but for facts it tells no other way."""
    with specimen.start() as place:
        assert isinstance(place, FakeEngine)
        await specimen.adapter.describe(prober, EngineId("e"), place.address, "sesame", Wishes())
        await specimen.adapter.load(prober, place.address, "sesame")
    assert {seen.headers.get("authorization") for seen in place.seen} == {"Bearer sesame"}
    assert {seen.path for seen in place.seen if seen.method != "GET"} <= {"/api/show"}
