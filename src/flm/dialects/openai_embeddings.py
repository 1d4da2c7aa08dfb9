"""OpenAI's embeddings as a client sends them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flm.dialects.judging import judged
from flm.domain.policy import Policy

Encoding = Literal["float", "base64"]
_Token = Annotated[int, Meta(ge=0)]


class EmbeddingsParams(msgspec.Struct, kw_only=True):
    """The fields of OpenAI's embeddings, range-checked. None: absent or null."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | Annotated[list[str | _Token | list[_Token]], Meta(min_length=1)]
    encoding_format: Encoding | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    user: str | None = None


class EmbeddingsRequest(msgspec.Struct, frozen=True):
    """A request for embeddings that may be sent to an engine.

    ``fields``: every top-level field as it came, without those in ``dropped``; ``texts``: how
    many embeddings the answer must hold; ``token_ids``: the input is tokens instead of text.
    """

    model: str
    texts: int
    token_ids: bool
    encoding: Encoding
    fields: dict[str, msgspec.Raw]
    params: EmbeddingsParams
    dropped: tuple[str, ...] = ()


KNOWN = frozenset(EmbeddingsParams.__struct_fields__)
_decode_params = msgspec.json.Decoder(EmbeddingsParams).decode


def parse_embeddings(body: bytes, policy: Policy) -> EmbeddingsRequest:
    """The request for embeddings in `body`. Raises `Refusal` 400 as `parse_chat` does."""
    fields, params, dropped = judged(body, _decode_params, KNOWN, policy)
    given = params.input
    one_list_of_tokens = isinstance(given, list) and isinstance(given[0], int)
    return EmbeddingsRequest(
        model=params.model,
        texts=1 if isinstance(given, str) or one_list_of_tokens else len(given),
        token_ids=isinstance(given, list) and not isinstance(given[0], str),
        encoding=params.encoding_format or "float",
        fields=fields,
        params=params,
        dropped=dropped,
    )
