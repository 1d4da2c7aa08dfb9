"""`/api/embed` and the older `/api/embeddings`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flm.dialects.body import UNREADABLE
from flm.dialects.client_ollama.options import read_options
from flm.dialects.client_ollama.request import Model
from flm.dialects.client_ollama.times import nanoseconds
from flm.dialects.codec import Count, EngineCall, Usage
from flm.dialects.engine_errors import bad_answer, explain
from flm.dialects.fields import shown
from flm.dialects.judging import judged
from flm.dialects.openai_embeddings import EmbeddingsParams, EmbeddingsRequest
from flm.domain.policy import Policy
from flm.wire.snapshot import Target

Raw = msgspec.Raw
_encode = msgspec.json.Encoder().encode
_NO_ERROR = (b"", b"null", b'""')


class GivenEmbed(msgspec.Struct, kw_only=True):
    """The fields of `/api/embed`."""

    model: Model
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    keep_alive: str | int | float | None = None
    options: Raw = Raw(b"")


class GivenEmbeddings(msgspec.Struct, kw_only=True):
    """The fields of `/api/embeddings`, the older route, which embeds one text."""

    model: Model
    prompt: str | None = None
    keep_alive: str | int | float | None = None
    options: Raw = Raw(b"")


class Embedding(msgspec.Struct, frozen=True):
    """A request for embeddings. ``request`` is it in OpenAI's words, None: there is no text, and
    the model is only to be loaded.

    ``old``: it came by `/api/embeddings`, which embeds one text; ``truncate``: what the client
    said of texts that are too long, None: nothing.
    """

    model: str
    request: EmbeddingsRequest | None
    old: bool = False
    truncate: bool | None = None
    owners: tuple[str, ...] = ()

    def native(self, target: Target) -> EngineCall | None:
        """The call of Ollama's own `/api/embed`; None for other engines.

        What the client does not say is left to Ollama, which cuts a text that is too long, as
        its API promises.
        """
        if target.dialect != "ollama" or self.request is None:
            return None
        fields = self.request.fields
        body: dict[str, object] = {
            "model": target.model,
            "input": fields["input"],
            "options": {} if target.num_ctx is None else {"num_ctx": target.num_ctx},
        }
        if self.truncate is not None:
            body["truncate"] = self.truncate
        if self.request.params.dimensions is not None:
            body["dimensions"] = self.request.params.dimensions
        return EngineCall("/api/embed", _encode(body), self.owners)


_decode_embed = msgspec.json.Decoder(GivenEmbed).decode
_decode_embeddings = msgspec.json.Decoder(GivenEmbeddings).decode
_EMBED_KNOWN = frozenset(GivenEmbed.__struct_fields__)
_EMBEDDINGS_KNOWN = frozenset(GivenEmbeddings.__struct_fields__)


def parse_embed(body: bytes, policy: Policy) -> Embedding:
    """The request of `/api/embed` in `body`. Raises `Refusal` 400 as the other routes do."""
    fields, given, taken = judged(body, _decode_embed, _EMBED_KNOWN, policy)
    owners = (*taken, *_owners(fields, _EMBED_KNOWN, given.keep_alive))
    if not given.input:
        return Embedding(given.model, None, owners=owners)
    lost = ("truncate",) if given.truncate else ()
    request = _asked(given.model, given.input, given.dimensions or None, (*owners, *lost))
    return Embedding(given.model, request, False, given.truncate, owners)


def parse_embeddings(body: bytes, policy: Policy) -> Embedding:
    """The request of `/api/embeddings` in `body`: one text, `prompt`."""
    fields, given, taken = judged(body, _decode_embeddings, _EMBEDDINGS_KNOWN, policy)
    owners = (*taken, *_owners(fields, _EMBEDDINGS_KNOWN, given.keep_alive))
    if not given.prompt:
        return Embedding(given.model, None, True, owners=owners)
    return Embedding(
        given.model, _asked(given.model, given.prompt, None, owners), True, None, owners
    )


def _owners(fields: dict[str, Raw], known: frozenset[str], keep_alive: object) -> tuple[str, ...]:
    """The names that reach no engine: the owner's, and unknown ones. No option of sampling
    matters to an embedding.
    """
    _, names = read_options(fields.get("options"))
    kept = () if keep_alive is None else ("keep_alive",)
    return (*kept, *names, *(shown(name) for name in sorted(fields.keys() - known)))


def _asked(
    model: str, texts: str | list[str], dimensions: int | None, dropped: tuple[str, ...]
) -> EmbeddingsRequest:
    params = EmbeddingsParams(
        model=model,
        input=texts if isinstance(texts, str) else list(texts),
        encoding_format="float",
        dimensions=dimensions,
    )
    fields = {
        "model": Raw(_encode(model)),
        "input": Raw(_encode(texts)),
        "encoding_format": Raw(b'"float"'),
    }
    if dimensions is not None:
        fields["dimensions"] = Raw(_encode(dimensions))
    count = 1 if isinstance(texts, str) else len(texts)
    return EmbeddingsRequest(
        model, count, False, "float", fields, params, tuple(sorted(set(dropped)))
    )


class _Vector(msgspec.Struct):
    embedding: Raw
    index: int | None = None


class _FromOpenAI(msgspec.Struct):
    data: list[_Vector]


class _FromOllama(msgspec.Struct):
    embeddings: list[Raw] | None = None
    prompt_eval_count: Count | None = None
    error: Raw = Raw(b"")


_decode_openai = msgspec.json.Decoder(_FromOpenAI).decode
_decode_ollama = msgspec.json.Decoder(_FromOllama).decode


def vectors_of_openai(body: bytes) -> list[Raw]:
    """The embeddings in an answer of OpenAI's, in the order of the texts."""
    try:
        data = _decode_openai(body).data
    except UNREADABLE as error:
        raise bad_answer("it holds no embeddings") from error
    return [each.embedding for each in sorted(data, key=lambda each: each.index or 0)]


def vectors_of_ollama(
    asked: Embedding, target: Target, body: bytes
) -> tuple[list[Raw], Usage | None]:
    """The embeddings in an answer of Ollama's own, and what it counted.

    Raises `EngineError` for an error, and when it are not as many as there were texts.
    """
    try:
        answer = _decode_ollama(body)
    except UNREADABLE as error:
        raise bad_answer("it is not what Ollama's API says") from error
    if bytes(answer.error) not in _NO_ERROR:
        raise explain(200, {}, body, target)
    vectors = answer.embeddings or []
    wanted = 0 if asked.request is None else asked.request.texts
    if len(vectors) != wanted:
        raise bad_answer(f"it holds {len(vectors)} embeddings for {wanted} texts")
    return vectors, Usage(answer.prompt_eval_count or 0, 0)


def embeddings_answer(
    asked: Embedding, vectors: list[Raw], usage: Usage | None, seconds: float
) -> bytes:
    """The embeddings as the route of `asked` gives them; `seconds` is how long it took."""
    if asked.old:
        return b'{"embedding":%b}' % (bytes(vectors[0]) if vectors else b"[]")
    body: dict[str, object] = {
        "model": asked.model,
        "embeddings": vectors,
        "total_duration": nanoseconds(seconds),
        "load_duration": 0,
    }
    if usage is not None and usage.prompt_tokens is not None:
        body["prompt_eval_count"] = usage.prompt_tokens
    return _encode(body)
