"""What a publication may be called, and what it may lead to. Pure but for the list of engines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from flm.domain.engines import KINDS, Engine
from flm.domain.models import Model
from flm.domain.publications import WILDCARD, Publication
from flm.errors import N_, Conflict, InvalidValue
from flm.ports.repositories import EngineRepository

MAX_NAME = 200
MAX_MODELS = 16
_SCHEME = "flm://"


def engine_names(stored: EngineRepository, seen: Iterable[Engine]) -> set[str]:
    """The ids of every engine there is, was found once, or can be found."""
    found = [*(each.id for each in stored.definitions()), *(each.id for each in stored.known())]
    return {*KINDS, *found, *(each.id for each in seen)}


def publication_name(text: str, engines: Collection[str]) -> str:
    """`text` without blanks around it, as a publication's name; it may hold `*`.

    Raises `InvalidValue`, and `Conflict` for `ENGINE/…`: that names a model of the engine.
    """
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable() or name.startswith(_SCHEME):
        raise InvalidValue(
            N_("{text!r} cannot be an API's name."),
            remedy=N_("Use 1 to {maximum} printable characters that do not begin with flm://; "
                      "* stands for any text."),
            text=text,
            maximum=MAX_NAME,
        )  # fmt: skip
    engine, slash, rest = name.partition("/")
    if slash and engine in engines:
        raise Conflict(
            N_("{name} is how a model of the engine {engine} is named."),
            remedy=N_("Choose a name that does not begin with an engine's, for example {example}."),
            name=name,
            engine=engine,
            example=rest or f"my-{engine}",
        )
    return name


def model_names(
    models: Sequence[str], own: str, published: Iterable[Publication], known: Iterable[Model]
) -> tuple[str, ...]:
    """The names of a publication's models, each once. ``own``: the publication's name.

    Raises `InvalidValue` for what cannot be a model's name, and for the name of a publication:
    they lead to models only, so that none can lead to itself. A name that both have is the
    model's.
    """
    names = {each.name for each in known} | {each.target for each in known}
    names |= {name.removesuffix(":latest") for name in names}
    leads = {each.name: each.models for each in published if each.name != own}
    wanted = tuple(dict.fromkeys(map(_model_name, models)))
    for name in wanted:
        if name in leads and name not in names:
            raise InvalidValue(
                N_("{name} is an API, not a model, and an API leads to models only."),
                remedy=N_("Give its models: {models}."),
                name=name,
                models=", ".join(leads[name]),
            )
    if len(wanted) > MAX_MODELS:
        raise InvalidValue(
            N_("An API leads to at most {maximum} models."),
            remedy=N_("Leave some of the fallbacks out."),
            maximum=MAX_MODELS,
        )
    return wanted


def _model_name(text: str) -> str:
    name = text.strip().removeprefix(_SCHEME)
    if not name or len(name) > MAX_NAME or not name.isprintable() or WILDCARD in name:
        raise InvalidValue(
            N_("{text!r} cannot be a model's name."),
            remedy=N_("`flm models list` shows the models there are."),
            text=text,
        )
    return name
