"""What the user set for an engine, laid over what it tells of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from flm.domain.models import Model
from flm.ports.engines import Wishes

T = TypeVar("T")


def wished(settings: Mapping[str, T], *names: str) -> T | None:
    """What is set for the first of these names of a model, else for the whole engine ('')."""
    for name in (*names, ""):
        if name in settings:
            return settings[name]
    return None


def capable(models: Iterable[Model], wishes: Wishes) -> tuple[Model, ...]:
    """The models with the capabilities the user set in place of what the engine tells.

    A model is meant by its name, by the engine's own name for it, or without `:latest`.
    """
    return tuple(_capable(model, wishes) for model in models)


def _capable(model: Model, wishes: Wishes) -> Model:
    names = (model.name, model.engine_name or model.name, model.name.removesuffix(":latest"))
    told = wished(wishes.capabilities, *names)
    return model if told is None else msgspec.structs.replace(model, capabilities=told)
