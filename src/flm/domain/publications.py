"""APIs: a model published under a name of the owner's, with what is said and allowed around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from flm.domain.keys import ApiKey, KeyId

WILDCARD = "*"


class PromptTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a prompt template; versions count from 1, a change is a new one.

    ``system`` is laid before the client's own system text, ``user`` around its last message;
    both may hold `{{name}}` for a variable and ``user`` holds `{{input}}`, the client's text, once.
    ``variables`` are the values of those that a publication does not give.
    """

    name: str
    version: int
    system: str = ""
    user: str = ""
    variables: Mapping[str, str] = {}
    created_at: float = 0.0


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A model profile: ``defaults`` are parameters of a request that did not name them, in
    OpenAI's words; ``caps`` the largest value a request may have of one; ``options`` are the
    engine's (`num_ctx`, `keep_alive`), which clients may not set.
    """

    name: str
    defaults: Mapping[str, Any] = {}
    caps: Mapping[str, float] = {}
    options: Mapping[str, Any] = {}


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A named API. ``name`` may end with or hold `*`: it answers for every name that fits.

    ``models``: names of models, the first is asked first, the others when it cannot answer.
    ``allow_remote``: one of the others may be on another machine though the first is here.
    ``keys``: ids of the keys that may use it, () for all. ``template`` and ``profile`` are names,
    '' for none; `NAME@2` is one version of a template, `NAME` whatever is the newest.
    ``variables`` are the template's.
    """

    name: str
    models: tuple[str, ...]
    allow_remote: bool = False
    keys: tuple[str, ...] = ()
    template: str = ""
    profile: str = ""
    variables: Mapping[str, str] = {}
    created_at: float = 0.0


def fits(pattern: str, name: str) -> bool:
    """Whether `name` is what `pattern` means: `*` stands for any text, also for none."""
    head, *parts = pattern.split(WILDCARD)
    if not parts:
        return pattern == name
    if not name.startswith(head):
        return False
    at = len(head)
    for part in parts[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - len(parts[-1]) >= at and name.endswith(parts[-1])


def askable(
    models: Iterable[str], is_remote: Callable[[str], bool], allow_remote: bool
) -> tuple[str, ...]:
    """Those of a publication's models that may be asked: what is asked in place of a model of
    this machine leaves it only where that was allowed. A first model that nobody knows now counts
    as one of this machine.
    """
    first, *others = models
    if allow_remote or is_remote(first):
        return (first, *others)
    return (first, *(name for name in others if not is_remote(name)))


def template_of(
    publication: Publication, templates: Iterable[PromptTemplate]
) -> PromptTemplate | None:
    """The version of its template that is in force, None when there is none: `NAME@2` is that
    version, `NAME` the newest one.
    """
    name, pinned, version = publication.template.partition("@")
    named = [each for each in templates if each.name == name]
    if pinned:
        return next((each for each in named if str(each.version) == version), None)
    return max(named, key=lambda each: each.version, default=None)


def keys_of(publication: Publication, keys: Iterable[ApiKey], now: float) -> tuple[KeyId, ...]:
    """Those of its keys that work at `now`, and those that took their places by a rotation."""
    known = {key.id: key for key in keys}
    found: dict[KeyId, None] = {}
    for wanted in publication.keys:
        seen: set[KeyId] = set()
        key = known.get(KeyId(wanted))
        while key is not None and key.id not in seen:
            seen.add(key.id)
            if key.state(now) == "active":
                found[key.id] = None
            key = None if key.rotated_to is None else known.get(key.rotated_to)
    return tuple(found)


Each = TypeVar("Each")


def best_fit(name: str, patterns: Iterable[tuple[str, Each]]) -> Each | None:
    """What goes with the pattern that says most about `name`: the one with the most letters."""
    best: Each | None = None
    letters = -1
    for pattern, each in patterns:
        count = len(pattern) - pattern.count(WILDCARD)
        if count > letters and WILDCARD in pattern and fits(pattern, name):
            best, letters = each, count
    return best
