"""Every engine in every state it can be in, three times over, and all of them at once.

The rows are the engines FLM serves by name and the products it serves as `custom`; each column is
one of: absent, installed, running, locked, loading, degraded, a dead socket, an impostor in its
place. Every engine is a real HTTP server; nothing is asked but what the test serves.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import NamedTuple

import pytest

from flm.domain.engines import (
    NEEDS_KEY,
    STARTING,
    ApiError,
    Degraded,
    EngineKind,
    EngineState,
    Healthy,
    InstalledOnly,
    NetworkError,
)
from flm.ports.engines import NO_ANSWER, Sighting
from flm.services.detection import Wanted
from flm.services.engine_states import Thresholds
from support.fakes import emulators
from support.fakes.base import EVERYWHERE, FakeEngine, Routes, as_json, instead, slow
from support.fakes.llamacpp import LOADING, LlamaCppFake, RouterFake
from support.fakes.lmstudio import LmStudioFake
from support.fakes.ollama import OllamaFake
from support.fakes.textgen import TextGenerationWebuiFake
from support.fakes.vllm import VllmFake
from support.looks import Dead, closed, detector, states
from support.replay import ReplayServer, response

RUNS = 3
QUICK = 0.2
"""How long a look may take where somebody never answers, in seconds."""


class Row(NamedTuple):
    """An engine, and the kind whose adapter searches where it is."""

    id: str
    kind: EngineKind
    product: str | None
    start: Callable[[], FakeEngine]
    place: EngineKind


def custom(id_: str) -> Row:
    """A product that is served as `custom`, on a port where Ollama is searched for."""
    product, routes = emulators.CUSTOM[id_]
    return Row(id_, "custom", product, lambda: FakeEngine(routes), "ollama")


MAIN = (
    Row("ollama", "ollama", None, OllamaFake, "ollama"),
    Row("vllm", "vllm", None, VllmFake, "vllm"),
    Row("lmstudio", "lmstudio", None, LmStudioFake, "lmstudio"),
    Row("llamacpp", "llamacpp", None, LlamaCppFake, "llamacpp"),
    Row("llamacpp", "llamacpp", None, RouterFake, "llamacpp"),
    Row(
        "text-generation-webui",
        "text-generation-webui",
        None,
        TextGenerationWebuiFake,
        "text-generation-webui",
    ),
)
NAMED = tuple(custom(id_) for id_ in emulators.CUSTOM if id_ != "custom")
ROWS = (*MAIN, *NAMED)

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.start.__name__ + row.id)
every_run = pytest.mark.parametrize("run", range(RUNS))


async def one_look(row: Row, fake: FakeEngine | Dead, **more: object) -> list[Sighting]:
    """One look of a detector that knows nothing yet."""
    places = {row.place: [fake.address]}
    return await detector(places, **more).look(Wanted())  # type: ignore[arg-type]


def only(found: list[Sighting]) -> tuple[str, EngineKind, EngineState]:
    """Id, kind and state of the one engine that was found."""
    (one,) = found
    return one.engine.id, one.engine.kind, one.engine.state


@every_run
@every_row
async def test_absent(row: Row, run: int) -> None:
    """Nobody listens and nothing is installed."""
    assert await detector({row.place: [closed()]}).look(Wanted()) == []


@every_run
@pytest.mark.parametrize("row", MAIN, ids=lambda row: row.start.__name__)
async def test_installed(row: Row, run: int) -> None:
    """Its program is here, and nobody listens."""
    looking = detector({row.place: [closed()]}, programs={row.kind: f"/opt/{row.id}"})
    assert only(await looking.look(Wanted())) == (row.id, row.kind, InstalledOnly())


@every_run
@every_row
async def test_running(row: Row, run: int) -> None:
    """Under its true name, with models, also where its program is known."""
    with row.start() as fake:
        found = await one_look(row, fake, programs={row.place: "/opt/it"})
    running = [each for each in found if not isinstance(each.engine.state, InstalledOnly)]
    (one,) = running
    assert (one.engine.id, one.engine.kind, one.engine.product) == (row.id, row.kind, row.product)
    assert isinstance(one.engine.state, Healthy)
    assert one.models
    assert {model.engine for model in one.models} == {row.id}
    assert {seen.method for seen in fake.seen} <= {"GET", "POST"}
    assert {seen.path for seen in fake.seen if seen.method == "POST"} <= {"/api/show"}


@every_run
@every_row
async def test_degraded(row: Row, run: int) -> None:
    """It answers slower than it should: any time at all is too long here."""
    with row.start() as fake:
        found = await one_look(row, fake, thresholds=Thresholds(latency_ms=0.0))
    id_, kind, state = only(found)
    assert (id_, kind) == (row.id, row.kind)
    assert isinstance(state, Degraded)
    assert state.reason == "slower than 0 ms"


REFUSED = as_json({"detail": "Unauthorized"}, "401 Unauthorized")


def locked_textgen() -> FakeEngine:
    """text-generation-webui with `--api-key`: 401 on its routes, 404 elsewhere."""
    fake = TextGenerationWebuiFake()
    for path in ("/v1/internal/model/info", "/v1/internal/model/list", "/v1/internal/health",
                 "/v1/models"):  # fmt: skip
        fake.fault(path, instead(REFUSED))
    return fake


def after(start: Callable[[], FakeEngine], change: str) -> Callable[[], FakeEngine]:
    """A fake on which that method was called."""

    def made() -> FakeEngine:
        fake = start()
        getattr(fake, change)()
        return fake

    return made


def serving(routes: Routes) -> Callable[[], FakeEngine]:
    """A fake with these routes."""
    return lambda: FakeEngine(routes)


LOCKED = (
    Row("vllm", "vllm", None, after(VllmFake, "lock"), "vllm"),
    Row("lmstudio", "lmstudio", None, after(LmStudioFake, "lock"), "lmstudio"),
    Row("llamacpp", "llamacpp", None, after(LlamaCppFake, "lock"), "llamacpp"),
    Row(
        "text-generation-webui",
        "text-generation-webui",
        None,
        locked_textgen,
        "text-generation-webui",
    ),
    Row("tabbyapi", "custom", "TabbyAPI", serving(emulators.tabbyapi()), "ollama"),
    Row("jan", "custom", "Jan", serving(emulators.jan()), "ollama"),
    Row("custom", "custom", None, serving(emulators.locked_openai_compatible()), "ollama"),
)
"""An Ollama knows no keys; what stands before one is anybody's."""


@every_run
@pytest.mark.parametrize("row", LOCKED, ids=lambda row: row.id)
async def test_locked(row: Row, run: int) -> None:
    """With its true kind, and without models."""
    with row.start() as fake:
        found = await one_look(row, fake)
    assert only(found) == (row.id, row.kind, ApiError(NEEDS_KEY))
    assert found[0].models == ()
    assert found[0].engine.findings[0].code == "needs_key"


@every_run
async def test_loading(run: int) -> None:
    """llama.cpp says 503 to everything while it loads; the others answer, or do not listen."""
    with LlamaCppFake() as fake:
        fake.starts()
        found = await one_look(MAIN[3], fake)
    id_, kind, state = only(found)
    assert (id_, kind) == ("llamacpp", "llamacpp")
    assert isinstance(state, Degraded)
    assert state.reason == STARTING


@every_run
@every_row
async def test_loading_after_it_ran(row: Row, run: int) -> None:
    """What answers 503 to everything is never served as if it were well, nor forgotten at once."""
    with row.start() as fake:
        looking = detector({row.place: [fake.address]})
        await looking.look(Wanted())
        fake.fault(EVERYWHERE, instead(LOADING))
        found = await looking.look(Wanted())
    assert not [each for each in found if isinstance(each.engine.state, Healthy)]


@every_run
@every_row
async def test_a_dead_socket(row: Row, run: int) -> None:
    """Somebody listens and never answers: nobody, in time."""
    with Dead() as dead:
        assert await one_look(row, dead, seconds=QUICK) == []


@every_row
async def test_a_dead_socket_where_it_was(row: Row) -> None:
    """An engine that is not reached any more is an error, never alive."""
    with row.start() as fake:
        looking = detector({row.place: [fake.address]})
        await looking.look(Wanted())
    id_, kind, state = only(await looking.look(Wanted()))
    assert (id_, kind, state) == (row.id, row.kind, NetworkError("connection refused", 1))


async def test_an_engine_that_hangs_where_it_was_is_silent_and_then_an_error() -> None:
    """Degraded with its models until it was silent three times."""
    with OllamaFake() as fake:
        looking = detector({"ollama": [fake.address]}, seconds=1.0)
        (before,) = await looking.look(Wanted())
        fake.fault(EVERYWHERE, slow(threading.Event()))
        looks = [await looking.look(Wanted()) for _ in range(3)]
    seen = [each.engine.state for (each,) in looks]
    assert [type(state) for state in seen] == [Degraded, Degraded, NetworkError]
    assert seen[-1] == NetworkError(NO_ANSWER, 3)
    assert {each.models for (each,) in looks} == {before.models}


@every_run
@pytest.mark.parametrize("kind", [row.kind for row in MAIN if row.start is not RouterFake])
async def test_impostors(kind: EngineKind, run: int) -> None:
    """Pages, logins, proxies, other people's JSON and FLM itself are no engines, all at once."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(ReplayServer(dict(routes)))
            for routes in emulators.IMPOSTORS.values()
        ]
        found = await detector({kind: [each.address for each in servers]}).look(Wanted())
    assert found == []


PAGE = response("<html>Access notice</html>", content_type="text/html")


@every_row
async def test_an_impostor_where_it_was(row: Row) -> None:
    """What took its place is not taken for it: it is not there any more."""
    with row.start() as fake:
        looking = detector({row.place: [fake.address]})
        await looking.look(Wanted())
        fake.fault(EVERYWHERE, instead(PAGE))
        assert await looking.look(Wanted()) == []


@every_run
async def test_all_at_once(run: int) -> None:
    """Each once, each with its own name, whichever adapter searched there; impostors left out."""
    with contextlib.ExitStack() as stack:
        fakes = [stack.enter_context(row.start()) for row in ROWS]
        others = [
            stack.enter_context(ReplayServer(dict(routes)))
            for routes in emulators.IMPOSTORS.values()
        ]
        dead = stack.enter_context(Dead())
        addresses = [each.address for each in (*fakes, *others, dead)]
        found = await detector({"llamacpp": addresses}, seconds=4.5).look(Wanted())
    names = {row.id: "running-healthy" for row in ROWS}
    names[f"llamacpp-{fakes[4].port}"] = "running-healthy"
    assert states(found) == names
    assert sorted(
        (each.engine.address.port, each.engine.kind) for each in found if each.engine.address
    ) == sorted((fake.port, row.kind) for fake, row in zip(fakes, ROWS, strict=True))
