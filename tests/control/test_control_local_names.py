"""Names that were answered on this machine are remembered when their engine stops."""

from __future__ import annotations

import msgspec

from flm.control.local_names import LocalNames
from flm.domain.engines import (
    Address,
    Degraded,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    NetworkError,
)
from flm.domain.models import Model
from flm.ports.engines import Sighting

DOWN = NetworkError("connection refused", 1)
OLLAMA, BOX = EngineId("ollama"), EngineId("box")


def seen(engine: EngineId, state: EngineState, *names: str, remote: bool = False) -> Sighting:
    """An engine with models of these names."""
    at = Address("127.0.0.1", 1)
    made = Engine(id=engine, kind="custom", state=state, address=at, remote=remote)
    return Sighting(made, tuple(Model(name=name, engine=engine) for name in names))


def test_the_names_of_an_engine_that_stopped_are_kept() -> None:
    """Whether it is listed without its models, or not at all."""
    names = LocalNames()
    names.see([seen(OLLAMA, Healthy(1.0), "a", "b")])
    names.see([seen(OLLAMA, DOWN)])
    names.see([])
    assert names.of([OLLAMA]) == {"a": OLLAMA, "b": OLLAMA}


def test_an_engine_that_is_well_tells_what_it_has() -> None:
    """A model that was deleted there is not its any more; one that only starts says nothing."""
    names = LocalNames()
    names.see([seen(OLLAMA, Healthy(1.0), "a", "b")])
    names.see([seen(OLLAMA, Degraded(1.0, "starting"))])
    assert set(names.of([OLLAMA])) == {"a", "b"}
    names.see([seen(OLLAMA, Healthy(1.0), "b")])
    assert set(names.of([OLLAMA])) == {"b"}
    names.see([seen(OLLAMA, Healthy(1.0))])
    assert names.of([OLLAMA]) == {}


def test_remote_models_and_forgotten_engines_do_not_count() -> None:
    """Ollama's cloud models are not on this machine either."""
    names = LocalNames()
    cloud = msgspec.structs.replace(Model(name="big", engine=OLLAMA), remote=True)
    here = seen(OLLAMA, Healthy(1.0), "a")
    names.see(
        [Sighting(here.engine, (*here.models, cloud)), seen(BOX, Healthy(1.0), "x", remote=True)]
    )
    assert names.of([OLLAMA, BOX]) == {"a": OLLAMA}
    assert names.of([BOX]) == {}
