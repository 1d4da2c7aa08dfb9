"""What a name means for a key: a publication, a model, a pattern, the default, in this order. Pure.

A publication that a key may not use is not there for it: nothing tells its name from one that
nobody ever gave.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from flm.domain.models import ModelState
from flm.domain.publications import WILDCARD, best_fit
from flm.wire.snapshot import ModelEntry, Published, Routes

_NOTHING: ModelState = "unavailable"


class Plan(NamedTuple):
    """The names of the models that answer, the first first, () when nothing does; and through
    which publication. They are models' names: no publication is looked up for them again.
    """

    published: Published | None
    names: tuple[str, ...]


NOTHING = Plan(None, ())


def plan(routes: Routes, name: str, key_id: str) -> Plan:
    """What `name` means for that key.

    In this order: a publication of exactly that name; a model's name as `domain.models.resolve`
    takes it, whether or not its engine answers now; the publication whose pattern says most about
    the name; the default, which is a publication's or a model's name.
    """
    exact = routes.published.get(name)
    if exact is not None and exact.open_to(key_id):
        return Plan(exact, exact.models)
    # A publication takes the place of the model of its name for everybody, and for a key that
    # may not use it as well.
    if exact is None and found(routes, name) is not None:
        return Plan(None, (name,))
    open_ = [(each, of) for each, of in routes.published.items() if of.open_to(key_id)]
    pattern = best_fit(name, open_)
    if pattern is not None:
        return Plan(pattern, pattern.models)
    return _default(routes, key_id)


def _default(routes: Routes, key_id: str) -> Plan:
    """What answers for unknown names."""
    name = routes.default
    if not name:
        return NOTHING
    published = routes.published.get(name)
    if published is not None:
        return Plan(published, published.models) if published.open_to(key_id) else NOTHING
    return NOTHING if found(routes, name) is None else Plan(None, (name,))


def found(routes: Routes, name: str) -> ModelEntry | None:
    """The model of that name, also of one whose engine does not answer now."""
    for asked in (name, f"{name}:latest"):
        entry = routes.models.get(asked) or routes.models.get(asked.removeprefix("flm://"))
        if entry is not None:
            return entry
        engine, slash, model = asked.removeprefix("flm://").partition("/")
        entry = routes.models.get(model) if slash else None
        if entry is not None and engine in entry.engines:
            return entry
    return None


def entry(routes: Routes, name: str, key_id: str) -> ModelEntry | None:
    """What can be told of a name to that key; None: nothing answers to it."""
    meant = plan(routes, name, key_id)
    if meant.published is not None:
        return _entry(routes, meant.published, name)
    return found(routes, meant.names[0]) if meant.names else None


def visible(routes: Routes, key_id: str) -> dict[str, ModelEntry]:
    """Everything that key may ask for, by name: models and exact-named publications.

    A publication stands in place of the model of its name. Patterns are not listed.
    """
    models = {name: of for name, of in routes.models.items() if name not in routes.published}
    models.update((each.name, each) for each in published_entries(routes, key_id))
    return models


def published_entries(routes: Routes, key_id: str) -> list[ModelEntry]:
    """The exact-named publications that key may use, as models of FLM's own: without engines."""
    return [
        _entry(routes, each, name)
        for name, each in routes.published.items()
        if WILDCARD not in name and each.open_to(key_id)
    ]


def _entry(routes: Routes, published: Published, name: str) -> ModelEntry:
    """Context, capabilities and state are those of the first model that is there; ``remote``:
    a prompt may leave this machine."""
    known = [each for each in (found(routes, model) for model in published.models) if each]
    there = [each for each in known if each.state != _NOTHING] or known
    bare = ModelEntry(name=name, targets=(), engines=(), state=_NOTHING, created=published.created)
    if not there:
        return bare
    first = there[0]
    return msgspec.structs.replace(
        bare,
        state=first.state,
        context_length=_context(routes, published, first),
        capabilities=first.capabilities,
        remote=any(each.remote for each in known),
    )


def _context(routes: Routes, published: Published, model: ModelEntry) -> int | None:
    """The context length: the profile's where the model is Ollama's, which takes it from there."""
    profile = published.profile
    asked = None if profile is None else profile.options.get("num_ctx")
    homes = [routes.targets[target] for target in model.targets if target in routes.targets]
    if isinstance(asked, int) and homes and all(home.dialect == "ollama" for home in homes):
        return asked
    return model.context_length
