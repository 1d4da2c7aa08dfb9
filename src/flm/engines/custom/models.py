"""An OpenAI list of models, with what some engines add to it."""

from __future__ import annotations

import msgspec

from flm.domain.engines import EngineId
from flm.domain.models import Model, name_of_file
from flm.engines.answers import decoded, entries


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    n_ctx_train: int | None = None


class Entry(msgspec.Struct):
    """One entry of `data`. ``max_model_len`` is vLLM's and SGLang's, ``meta`` llama.cpp's."""

    id: str
    created: int | float | None = None
    max_model_len: int | None = None
    meta: _Meta | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


def listed(body: bytes) -> list[Entry] | None:
    """The entries of `/v1/models`, None when it is no such list."""
    found = decoded(body, _List)
    return None if found is None else entries(found.data, Entry)


def models(engine: EngineId, found: list[Entry]) -> tuple[Model, ...]:
    """The models by their ids. What they can do is not told, so both is taken for possible."""
    made: dict[str, Model] = {}
    for entry in found:
        short = name_of_file(entry.id)
        name = entry.id if short in made else short
        meta = entry.meta or _Meta()
        made.setdefault(
            name,
            Model(
                name=name,
                engine=engine,
                engine_name=entry.id if entry.id != name else None,
                capabilities=("chat", "embeddings"),
                context_length=entry.max_model_len or meta.n_ctx or None,
                trained_context=meta.n_ctx_train,
                created=int(entry.created or 0),
            ),
        )
    return tuple(made.values())
