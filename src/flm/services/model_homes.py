"""Which engine is meant when a model is to be fetched, deleted, loaded or shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flm.domain.engines import EMBEDDED, NEEDS_KEY, ApiError, Engine, serves
from flm.domain.models import Model, nearest, resolve
from flm.errors import N_, Conflict, NotFound, NotRunning, UserError

AMBIGUOUS = "ambiguous_model"


class Home(NamedTuple):
    """A model where it lives."""

    engine: Engine
    model: Model

    @property
    def own_name(self) -> str:
        """What the engine itself calls it."""
        return self.model.engine_name or self.model.name


def homes(
    engines: Iterable[Engine], models: Sequence[Model], name: str, engine: str | None = None
) -> tuple[Home, ...]:
    """Every home of the model called `name`, on `engine` only where one is named; () when none.

    A name is understood as a request's is: the exact name, `ENGINE/NAME`, `flm://ENGINE/NAME`,
    and what only lacks Ollama's `:latest`.
    """
    by_id = {each.id: each for each in engines}
    wanted = [each for each in models if each.engine in by_id and engine in (None, each.engine)]
    by_target = {each.target: each for each in wanted}
    by_name: dict[str, tuple[str, ...]] = {}
    for each in wanted:
        for called in dict.fromkeys((each.name, each.engine_name or each.name)):
            by_name[called] = (*by_name.get(called, ()), each.target)
    found = resolve(name, by_name, by_target)
    return tuple(
        Home(by_id[by_target[target].engine], by_target[target]) for target in dict.fromkeys(found)
    )


def one_of(found: Sequence[Home], name: str, models: Iterable[Model]) -> Home:
    """The only home. Raises `NotFound` naming the nearest ones, `Conflict` naming the choices."""
    if not found:
        raise unknown_model(name, models)
    if len(found) > 1:
        raise Conflict(
            N_("{name} is on several engines: {choices}."),
            remedy=N_("Say which one: {example}, or --engine {engine}."),
            code=AMBIGUOUS,
            name=name,
            choices=", ".join(home.model.target for home in found),
            example=found[0].model.target,
            engine=found[0].engine.id,
        )
    return found[0]


def unknown_model(name: str, models: Iterable[Model]) -> NotFound:
    """The error for a name that no model has."""
    known = list(models)
    likely = nearest(name, dict.fromkeys(each.name for each in known))
    if likely:
        return NotFound(
            N_("No engine has a model {name}."),
            remedy=N_("Did you mean {nearest}? `flm models list` shows all of them."),
            code="model_not_found",
            name=name,
            nearest=", ".join(likely),
        )
    return NotFound(
        N_("No engine has a model {name}."),
        remedy=N_("`flm models list` shows what there is; `flm models pull` fetches a model."),
        code="model_not_found",
        name=name,
    )


def engine_called(engines: Sequence[Engine], name: str) -> Engine:
    """The engine of that name. Raises `NotFound`, naming those there are."""
    for each in engines:
        if each.id == name:
            return each
    raise NotFound(
        N_("There is no engine called {name}."),
        remedy=N_("There are: {known}. `flm engines detect` looks for others."),
        name=name,
        known=", ".join(each.id for each in engines) or "-",
    )


def check_serves(engine: Engine) -> None:
    """Raise `UserError` with what to do when nothing can be asked of `engine` now."""
    if serves(engine.state) and (engine.address is not None or engine.kind == EMBEDDED):
        return
    if engine.kind == EMBEDDED and isinstance(engine.state, ApiError):
        raise UserError(engine.state.reason, code="engine_missing")
    if isinstance(engine.state, ApiError) and engine.state.reason == NEEDS_KEY:
        raise UserError(
            N_("{engine} wants a key."),
            remedy=N_("Store it with `flm engines set-key {engine}`."),
            code="needs_key",
            engine=engine.id,
        )
    raise NotRunning(
        N_("{engine} does not run."),
        remedy=N_("Start it, or try `flm engines start {engine}`; `flm engines list` shows how "
                  "it is."),
        code="engine_not_running",
        engine=engine.id,
    )  # fmt: skip


def only_one(able: Sequence[Engine], name: str) -> Engine:
    """The only engine that can fetch `name`. Raises `NotFound`, `Conflict` naming the choices."""
    if len(able) == 1:
        return able[0]
    if able:
        raise Conflict(
            N_("Several engines could fetch {name}: {choices}."),
            remedy=N_("Say which one with --engine {engine}."),
            code=AMBIGUOUS,
            name=name,
            choices=", ".join(each.id for each in able),
            engine=able[0].id,
        )
    raise NotFound(
        N_("No engine that runs here can fetch {name}."),
        remedy=N_("Start one that can, such as Ollama; or give the URL of a .gguf file, which "
                  "the embedded engine serves."),
        code="no_engine",
        name=name,
    )  # fmt: skip


def named_engine(engines: Iterable[Engine], name: str) -> tuple[Engine, str] | None:
    """The engine and the rest where `name` is `ENGINE/NAME` or `flm://ENGINE/NAME`."""
    first, slash, rest = name.removeprefix("flm://").partition("/")
    for each in engines:
        if slash and rest and each.id == first:
            return each, rest
    return None
