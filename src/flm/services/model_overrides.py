"""What the user set for a model in place of what its engine tells, and whether that holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from flm.services.model_homes import Home
from flm.settings import Settings

T = TypeVar("T")


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that is about a model: its name, its value as `flm config set` takes it, and
    whether the model is seen with it. Some engines keep the context they were started with.
    """

    setting: str
    value: str
    in_force: bool


def context_wanted(settings: Settings, home: Home) -> int | None:
    """The context length that is set for a model, else for its engine, else None."""
    found = _meant(settings.engine(home.engine.id).num_ctx, home)
    return None if found is None else found[1]


def context_override(settings: Settings, home: Home) -> Override | None:
    """The setting of its context length, if there is one."""
    found = _meant(settings.engine(home.engine.id).num_ctx, home)
    if found is None:
        return None
    name, wanted = found
    most = home.model.trained_context or wanted
    return Override(
        setting=_setting("num_ctx", home, name),
        value=str(wanted),
        in_force=home.model.context_length in (wanted, min(wanted, most)),
    )


def capabilities_override(settings: Settings, home: Home) -> Override | None:
    """The setting of what it can do, if there is one."""
    found = _meant(settings.engine(home.engine.id).capabilities, home)
    if found is None:
        return None
    name, wanted = found
    return Override(
        setting=_setting("capabilities", home, name),
        value=",".join(wanted),
        in_force=set(home.model.capabilities) == set(wanted),
    )


def _meant(values: Mapping[str, T], home: Home) -> tuple[str, T] | None:
    """What is set for the model under any of its names, else for the whole engine ('')."""
    name = home.model.name
    for each in (name, home.own_name, name.removesuffix(":latest"), ""):
        if each in values:
            return each, values[each]
    return None


def _setting(leaf: str, home: Home, model: str) -> str:
    return f"engines.{home.engine.id}.{leaf}" + (f"[{model}]" if model else "")
