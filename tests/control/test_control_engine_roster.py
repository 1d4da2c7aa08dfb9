"""Who is there, when FLM started some engines, stopped others, and may start more."""

from __future__ import annotations

import asyncio

from flm.control.engine_process import Started
from flm.control.engine_roster import Roster
from flm.domain.engines import (
    Address,
    Engine,
    EngineId,
    EngineKind,
    EngineState,
    Healthy,
    InstalledOnly,
    NetworkError,
    state_name,
)
from flm.domain.models import Model
from flm.ports.engines import LaunchPlan, Sighting
from flm.services.engine_states import Thresholds

VLLM = EngineId("vllm")
PLACE = Address("127.0.0.1", 8000)


class Process:
    """A started program that does nothing."""

    pid = 1

    async def exited(self) -> int:
        return await asyncio.Event().wait() or 0

    async def stop(self) -> None:
        """Nothing runs."""

    def lines(self, count: int) -> tuple[str, ...]:
        return ()

    def text(self) -> str:
        return ""


def seen(state: EngineState, name: str = "vllm", *models: Model, port: int = 8000) -> Sighting:
    """An engine as detection tells of it."""
    address = None if isinstance(state, InstalledOnly) else Address("127.0.0.1", port)
    engine = Engine(id=EngineId(name), kind="vllm", state=state, address=address)
    return Sighting(engine, models)


def model(name: str = "m", **facts: bool) -> Model:
    """A model of vllm's."""
    return Model(name=name, engine=VLLM, **facts)


def started(*models: Model) -> Started:
    """One that FLM started and that serves."""
    plan = LaunchPlan(arguments=("vllm",), address=PLACE)
    made = Started(VLLM, "vllm", plan, Process())
    made.take(seen(Healthy(1.0), "vllm", *models), Thresholds())
    made.phase = "ready"
    return made


def remembering(*models: Model) -> Roster:
    """A roster that has seen vllm serve these."""
    made = Roster()
    made.remember([seen(Healthy(1.0), "vllm", *models)], {VLLM})
    return made


def listed(
    roster: Roster, *found: Sighting, ours: Started | None = None, **of: EngineKind
) -> object:
    """Each engine's state and models, and what is held."""
    own = {} if ours is None else {VLLM: ours}
    arranged = roster.arrange(found, own, {EngineId(k): kind for k, kind in of.items()}, 10.0)
    return (
        {
            each.engine.id: (state_name(each.engine.state), [of.name for of in each.models])
            for each in arranged.sightings
        },
        dict(arranged.held),
    )


def test_an_engine_that_requests_may_start_has_the_models_it_had() -> None:
    """They sleep; without that leave an installed engine has none."""
    roster = remembering(model())
    sleeping = ({"vllm": ("installed-only", ["m"])}, {"vllm": "sleeping"})
    assert listed(roster, seen(InstalledOnly()), vllm="vllm") == sleeping
    assert listed(roster, vllm="vllm") == sleeping
    assert listed(roster, seen(InstalledOnly())) == (
        {"vllm": ("installed-only", [])},
        {"vllm": "unavailable"},
    )


def test_a_model_that_was_loaded_by_hand_sleeps_only_if_it_was_loaded() -> None:
    """A request cannot load it."""
    roster = remembering(
        model("in", by_hand=True, loaded=True), model("out", by_hand=True, loaded=False)
    )
    assert [each.name for each in roster.models(VLLM)] == ["in"]
    assert [each.loaded for each in roster.models(VLLM)] == [False]


def test_what_requests_may_not_start_any_more_is_forgotten() -> None:
    """The memory is as large as the user's list of such engines."""
    roster = remembering(model())
    roster.remember([], set())
    assert roster.models(VLLM) == ()


def test_what_flm_started_is_told_by_flm() -> None:
    """Detection sees it without its key, perhaps under another id: that is left out."""
    found = seen(Healthy(9.0), "vllm-8000")
    assert listed(Roster(), found, ours=started(model())) == (
        {"vllm": ("running-healthy", ["m"])},
        {},
    )


def test_an_engine_that_loads_or_leaves_is_held() -> None:
    """Loading wakes when it is asked; leaving does where requests may start it again."""
    ours = started(model())
    ours.phase = "leaving"
    assert listed(Roster(), ours=ours)[1] == {"vllm": "unavailable"}
    assert listed(Roster(), ours=ours, vllm="vllm")[1] == {"vllm": "sleeping"}
    ours.phase = "starting"
    assert listed(Roster(), ours=ours) == (
        {"vllm": ("running-degraded", ["m"])},
        {"vllm": "sleeping"},
    )


def test_an_engine_that_runs_and_does_not_answer_is_not_woken() -> None:
    """A wake would find it running and change nothing, for ever."""
    ours = started(model())
    for _ in range(3):
        ours.take(seen(NetworkError("no answer in time", 1)), Thresholds())
    assert listed(Roster(), ours=ours, vllm="vllm") == (
        {"vllm": ("error-network", ["m"])},
        {"vllm": "unavailable"},
    )


def test_a_crashed_engine_is_reported_until_somebody_else_runs_it() -> None:
    """Then it is theirs."""
    ours = started(model())
    ours.phase, ours.code = "ended", 1
    assert listed(Roster(), seen(InstalledOnly()), ours=ours) == (
        {"vllm": ("error-network", ["m"])},
        {"vllm": "unavailable"},
    )
    theirs = seen(Healthy(2.0), "vllm", model("theirs"))
    assert listed(Roster(), theirs, ours=ours) == ({"vllm": ("running-healthy", ["theirs"])}, {})


def test_nobody_is_sent_to_what_an_earlier_look_saw_of_a_stopped_engine() -> None:
    """Until a look that began later has the word; another engine there is nobody's ghost."""
    roster = Roster()
    roster.looked(1.0)
    roster.stopped(VLLM, PLACE, 2.0)
    ghosts = (seen(Healthy(1.0), "vllm", model()), seen(Healthy(1.0), "custom-8000"))
    other = seen(Healthy(1.0), "vllm-8001", port=8001)
    told = ({"vllm": ("installed-only", []), "vllm-8001": ("running-healthy", [])},
            {"vllm": "unavailable"})  # fmt: skip
    assert listed(roster, *ghosts, other) == told
    roster.looked(2.0)
    assert listed(roster, *ghosts, other) == told
    roster.looked(3.0)
    assert listed(roster, ghosts[0]) == ({"vllm": ("running-healthy", ["m"])}, {})
