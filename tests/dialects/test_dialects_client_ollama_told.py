"""What is told of models, and embeddings, as Ollama's clients read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import ollama
import pytest
from dialects_recorded import OLLAMA, OLLAMA_TARGET, OPENAI_TARGET, VLLM, recorded

from flm.dialects.client_ollama import catalogue
from flm.dialects.client_ollama.embeddings import (
    embeddings_answer,
    parse_embed,
    parse_embeddings,
    vectors_of_ollama,
    vectors_of_openai,
)
from flm.dialects.engine import CODECS
from flm.domain.policy import Policy
from flm.errors import EngineError, Refusal
from flm.wire.snapshot import ModelEntry

CHAT = ModelEntry(
    name="Qwen/Qwen3-8B",
    targets=("v/Qwen/Qwen3-8B",),
    engines=("v",),
    state="ready",
    created=1700000000,
    context_length=40960,
    capabilities=("chat", "tools", "reasoning", "vision", "audio"),
)
EMBEDDER = ModelEntry(
    name="bge", targets=("o/bge",), engines=("o",), state="sleeping", capabilities=("embeddings",)
)
UNKNOWN = ModelEntry(name="api", targets=(), engines=(), state="ready")
AWAY = msgspec.structs.replace(CHAT, name="away", remote=True)
ALL = [CHAT, EMBEDDER, UNKNOWN, AWAY]


def kinds(value: Any) -> Any:
    """The types of a document's fields, in their order."""
    if isinstance(value, dict):
        return [(name, kinds(inner)) for name, inner in value.items()]
    return [kinds(value[0])] if isinstance(value, list) else type(value)


def test_tags_have_every_field_of_ollamas() -> None:
    """Nothing else, and in the same order."""
    theirs = json.loads(recorded(OLLAMA, "tags").body)["models"]
    ours = json.loads(catalogue.tags([CHAT]))["models"]
    assert [name for name, _ in kinds(ours[0]["details"])][:6] == [
        name for name, _ in kinds(theirs[0]["details"])
    ][:6]
    for name, kind in kinds(theirs[0]):
        assert name == "details" or (name, kind) in kinds(ours[0])


def test_zed_finds_strings_in_every_model() -> None:
    """One that is null or missing fails its whole list."""
    models = json.loads(catalogue.tags(ALL))["models"]
    assert [model["name"] for model in models] == ["Qwen/Qwen3-8B", "api", "away", "bge"]
    for model in models:
        for name in ("name", "modified_at", "digest"):
            assert isinstance(model[name], str)
        for name in ("format", "family", "parameter_size", "quantization_level"):
            assert isinstance(model["details"][name], str)
        assert all(isinstance(family, str) for family in model["details"]["families"])
        assert model["size"] >= 0
        assert len(bytes.fromhex(model["digest"])) == 32


def test_a_digest_stays_and_is_that_of_one_name() -> None:
    """Clients keep by it what they know."""
    assert catalogue.digest("a") == catalogue.digest("a")
    assert catalogue.digest("a") != catalogue.digest("b")


def test_running_models_have_every_field_of_ollamas() -> None:
    """Those that answer at once on this machine; the time is one that Python 3.9 reads."""
    theirs = json.loads(recorded(OLLAMA, "ps").body)["models"]
    ours = json.loads(catalogue.running(ALL, 1700000000.0))["models"]
    assert [model["name"] for model in ours] == ["Qwen/Qwen3-8B", "api"]
    assert list(ours[0]) == list(theirs[0])
    assert ours[0]["context_length"] == 40960
    assert ours[0]["expires_at"] == "2023-11-14T22:18:20.000000+00:00"
    until = datetime.fromisoformat(ours[0]["expires_at"])
    assert until == datetime(2023, 11, 14, 22, 18, 20, tzinfo=UTC)


def test_nothing_is_an_empty_list() -> None:
    """As Ollama says it."""
    assert catalogue.running([], 0.0) == recorded(OLLAMA, "ps-nothing-loaded").body
    assert catalogue.tags([]) == b'{"models":[]}'


def test_show_tells_what_clients_decide_by() -> None:
    """Capabilities in Ollama's words, the context where each client looks for it."""
    told = json.loads(catalogue.shown(CHAT, "Qwen/Qwen3-8B"))
    assert told["capabilities"] == ["completion", "tools", "thinking", "vision", "audio"]
    architecture = told["model_info"]["general.architecture"]
    assert told["model_info"][f"{architecture}.context_length"] == 40960
    assert told["model_info"]["general.basename"] == "Qwen/Qwen3-8B"
    assert told["parameters"].split() == ["num_ctx", "40960"]
    assert ".Tools" in told["template"]
    assert ".Suffix" not in told["template"]
    theirs = json.loads(recorded_show())
    missing = {name for name in theirs if name not in told}
    assert missing <= {"tensors", "license"}


def recorded_show() -> bytes:
    """The body of Ollama's own answer."""
    return recorded(OLLAMA, "show").body


def test_show_knows_embedders_and_models_of_which_nothing_is_known() -> None:
    """A model without capabilities is taken for one that talks."""
    embedder = json.loads(catalogue.shown(EMBEDDER, "bge"))
    assert embedder["capabilities"] == ["embedding"]
    assert (embedder["parameters"], ".Tools" in embedder["template"]) == ("", False)
    assert json.loads(catalogue.shown(UNKNOWN, "api"))["capabilities"] == ["completion"]


def test_ollamas_own_client_reads_them() -> None:
    """Its types, which are strict about times and sizes."""
    listed = ollama.ListResponse.model_validate_json(catalogue.tags(ALL))
    assert listed.models[0].modified_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    running = ollama.ProcessResponse.model_validate_json(catalogue.running(ALL, 0.0))
    assert running.models[0].context_length == 40960
    shown = ollama.ShowResponse.model_validate_json(catalogue.shown(CHAT, "q"))
    assert shown.capabilities == ["completion", "tools", "thinking", "vision", "audio"]


# Embeddings.


def embed(**fields: Any) -> Any:
    """A request of `/api/embed`; model `mine` unless given."""
    return parse_embed(json.dumps({"model": "mine", **fields}).encode(), Policy())


def embeddings(**fields: Any) -> Any:
    """A request of `/api/embeddings`."""
    return parse_embeddings(json.dumps({"model": "mine", **fields}).encode(), Policy())


def test_a_request_for_embeddings_is_openais() -> None:
    """One text or several; `dimensions` too."""
    asked = embed(input=["a", "日本"], dimensions=8, keep_alive="5m", options={"num_ctx": 1})
    call = CODECS["openai"].embeddings(asked.request, OPENAI_TARGET)
    assert json.loads(call.body) == {
        "model": "tiny-llama", "input": ["a", "日本"], "encoding_format": "float", "dimensions": 8,
    }  # fmt: skip
    assert call.dropped == ("keep_alive", "options.num_ctx")
    assert (asked.request.texts, embed(input="a").request.texts) == (2, 1)


def test_ollama_is_asked_by_its_own_route() -> None:
    """`truncate` as the client says; the owner's `num_ctx`."""
    target = msgspec.structs.replace(OLLAMA_TARGET, num_ctx=2048)
    call = embed(input="a", truncate=False, dimensions=4, options={"num_ctx": 1}).native(target)
    assert call.path == "/api/embed"
    assert json.loads(call.body) == {
        "model": "tiny", "input": "a", "options": {"num_ctx": 2048}, "truncate": False,
        "dimensions": 4,
    }  # fmt: skip
    assert call.dropped == ("options.num_ctx",)
    assert "truncate" not in json.loads(embed(input="a").native(OLLAMA_TARGET).body)
    assert embed(input="a").native(OPENAI_TARGET) is None


def test_embeddings_of_ollama_come_back_as_they_were() -> None:
    """The same numbers, digit for digit, and the same fields."""
    real = recorded(OLLAMA, "embed").body
    asked = embed(input=["a", "b"])
    vectors, usage = vectors_of_ollama(asked, OLLAMA_TARGET, real)
    ours = json.loads(embeddings_answer(asked, vectors, usage, 0.5))
    theirs = json.loads(real)
    assert list(ours) == list(theirs)
    assert ours["embeddings"] == theirs["embeddings"]
    assert (ours["model"], ours["prompt_eval_count"]) == ("mine", 6)
    assert ours["total_duration"] == 500_000_000


def test_embeddings_of_openai_are_in_the_order_of_the_texts() -> None:
    """By their index, whatever the order they came in."""
    body = b'{"data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}]}'
    assert [bytes(each) for each in vectors_of_openai(body)] == [b"[1.0]", b"[2.0]"]
    real = recorded(VLLM + "-embed", "embeddings").body
    assert len(vectors_of_openai(real)) == len(json.loads(real)["data"])


def test_the_older_route_answers_with_one_embedding() -> None:
    """For one text, and an empty one for none."""
    asked = embeddings(prompt="a")
    vectors, usage = vectors_of_ollama(asked, OLLAMA_TARGET, b'{"embeddings":[[1,2]]}')
    assert embeddings_answer(asked, vectors, usage, 0.1) == b'{"embedding":[1,2]}'
    nothing = embeddings(prompt="")
    assert nothing.request is None
    assert embeddings_answer(nothing, [], None, 0.0) == b'{"embedding":[]}'
    assert list(json.loads(recorded(OLLAMA, "embeddings-old").body)) == ["embedding"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"error":"x"}', b'{"embeddings":[[1],[2]]}'])
def test_other_embeddings_than_were_asked_for_are_an_error(body: bytes) -> None:
    """Too few, too many, none, an error."""
    with pytest.raises(EngineError):
        vectors_of_ollama(embed(input="a"), OLLAMA_TARGET, body)


@pytest.mark.parametrize(
    "fields",
    [{"input": 7}, {"input": [1]}, {"input": "a", "truncate": "x"}, {"input": "a", "api_base": 1}],
)
def test_wrong_requests_for_embeddings_are_refused(fields: dict[str, Any]) -> None:
    """400."""
    with pytest.raises(Refusal) as caught:
        embed(**fields)
    assert caught.value.status == 400


def test_no_text_is_no_embedding() -> None:
    """Ollama answers an empty list to an empty list."""
    asked = embed(input=[])
    assert asked.request is None
    assert json.loads(embeddings_answer(asked, [], None, 0.0))["embeddings"] == []
