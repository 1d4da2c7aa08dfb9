"""Lists of models as Anthropic's clients read them (its Models API, 2026)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from flm.wire.snapshot import ModelEntry

_encode = msgspec.json.Encoder().encode


class ModelInfo(msgspec.Struct, kw_only=True, gc=False):
    """A model. ``created_at`` is 1970 where nobody knows it, as Anthropic has it too."""

    id: str
    created_at: str
    display_name: str
    max_input_tokens: int | None
    type: str = "model"
    lifecycle: str = "active"


class ModelPage(msgspec.Struct, gc=False):
    """All models on one page."""

    data: list[ModelInfo]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


def model_info(entry: ModelEntry) -> ModelInfo:
    """One model."""
    made = datetime.fromtimestamp(entry.created, UTC)
    return ModelInfo(
        id=entry.name,
        created_at=made.strftime("%Y-%m-%dT%H:%M:%SZ"),
        display_name=entry.name,
        max_input_tokens=entry.context_length,
    )


def one_model(entry: ModelEntry) -> bytes:
    """The answer about one model."""
    return _encode(model_info(entry))


def model_page(entries: Sequence[ModelEntry]) -> bytes:
    """The answer with all of them, in the order given."""
    data = [model_info(entry) for entry in entries]
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return _encode(ModelPage(data, *ends))
