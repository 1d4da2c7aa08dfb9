"""text-generation-webui's models: those on its disk, and the one that is loaded."""

from __future__ import annotations

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Model, name_of_file
from flm.engines.wishes import capable, wished
from flm.ports.engines import Wishes

NOTHING = "None"
"""What it calls the model when none is loaded."""


class Info(msgspec.Struct):
    """`/v1/internal/model/info`."""

    model_name: str
    loader: str | None = None

    @property
    def loaded(self) -> str | None:
        """The loaded model's name, None when there is none."""
        return self.model_name if self.model_name not in ("", NOTHING) else None


class Names(msgspec.Struct):
    """`/v1/internal/model/list`."""

    model_names: list[str]


def models(
    engine: EngineId, loaded: str | None, names: list[str], wishes: Wishes
) -> tuple[Model, ...]:
    """All models, the loaded one first. A request never loads one: it ignores `model`, and
    answers with whatever is loaded. It tells nothing of what they are, so chat is assumed."""
    made: dict[str, Model] = {}
    for own in dict.fromkeys((*((loaded,) if loaded else ()), *names)):
        short = name_of_file(own)
        name = own if short in made else short
        if own in ("", NOTHING):
            continue
        made[name] = Model(
            name=name,
            engine=engine,
            engine_name=own if own != name else None,
            capabilities=("chat",),
            context_length=wished(wishes.contexts, name, own),
            loaded=own == loaded,
            by_hand=True,
        )
    return capable(made.values(), wishes)
