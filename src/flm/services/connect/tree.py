"""Plain data under paths: what a file says, and what it is to say. Pure."""

from __future__ import annotations

import copy
from typing import Any

from flm.services.connect.situation import Element, Path, Step


class Fault(Exception):
    """A text that is not what it should be, or cannot be changed without risk.

    ``why`` is in the words of the parser, in English; ``line`` counts from 1, 0: not known.
    """

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


class Missing:
    """The type of `MISSING`."""


MISSING = Missing()


def got(data: Any, path: Path) -> Any:
    """What lies there, `MISSING` when nothing does."""
    for step in path:
        data = _child(data, step)
        if data is MISSING:
            return MISSING
    return data


def with_value(data: Any, path: Path, value: Any) -> Any:
    """A copy in which `value` lies there; mappings and lists on the way are made.

    Raises `Fault` when something else is in the way.
    """
    data = copy.deepcopy(data)
    if not path:
        return copy.deepcopy(value)
    here = data
    for step, following in zip(path, [*path[1:], None], strict=True):
        child = _child(here, step)
        if following is None:
            _set(here, step, copy.deepcopy(value))
        elif child is MISSING or child is None:
            made: Any = [] if isinstance(following, Element) else {}
            _set(here, step, made)
            here = made
        elif not isinstance(child, list if isinstance(following, Element) else dict):
            raise in_the_way(step)
        else:
            here = child
    return data


def without(data: Any, path: Path) -> Any:
    """A copy in which nothing lies there."""
    data = copy.deepcopy(data)
    here = got(data, path[:-1])
    last = path[-1]
    if isinstance(last, Element):
        here[:] = [each for each in here if not _is(each, last)]
    else:
        del here[last]
    return data


def in_the_way(step: Step) -> Fault:
    """What `step` names is no mapping or list, so that nothing can lie in it."""
    name = step.value if isinstance(step, Element) else step
    return Fault(f"`{name}` holds something else than expected")


def _child(data: Any, step: Step) -> Any:
    if isinstance(step, Element):
        if not isinstance(data, list):
            return MISSING
        return next((each for each in data if _is(each, step)), MISSING)
    return data.get(step, MISSING) if isinstance(data, dict) else MISSING


def _set(here: Any, step: Step, value: Any) -> None:
    if isinstance(step, Element):
        for at, each in enumerate(here):
            if _is(each, step):
                here[at] = value
                return
        here.append(value)
    else:
        here[step] = value


def _is(each: Any, step: Element) -> bool:
    return isinstance(each, dict) and each.get(step.field) == step.value
