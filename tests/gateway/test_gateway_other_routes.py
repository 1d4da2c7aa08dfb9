"""Completions, reranking and pictures through a gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai import OpenAI

from support.gateway import KEY, gateway, target_at
from support.raw_client import Response, ask, request
from support.scripted_engine import (
    LAST_CHUNK,
    STREAM_HEAD,
    EngineSide,
    ScriptedEngine,
    answering,
    as_chunk,
    sized,
)

DONE = b"data: [DONE]\n\n"


def post(port: int, path: str, **fields: object) -> Response:
    """One request with these fields for the model `m`."""
    body = json.dumps({"model": "m", **fields}).encode()
    return ask(port, request("POST", path, body=body))


def text_event(text: str, finish: str | None = None) -> bytes:
    """One event of a streamed completion."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    event = {"id": "c", "object": "text_completion", "created": 1, "model": "theirs",
             "choices": [choice]}  # fmt: skip
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


USAGE = b'data: {"id":"c","object":"text_completion","created":1,"model":"theirs","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}\n\n'  # noqa: E501


def streaming(*events: bytes) -> bytes:
    """A streamed answer, a chunk for each event."""
    return STREAM_HEAD + b"".join(map(as_chunk, events)) + LAST_CHUNK


def test_a_completion_streams_to_openais_own_client(
    module_engine: ScriptedEngine, tmp_path: Path
) -> None:
    """Many words, each an event; usage is in the record though the client asked for none."""
    words = [f"語{number} " for number in range(40)]
    events = [*map(text_event, words), text_event("", "stop"), USAGE, DONE]
    module_engine.script = answering(streaming(*events))
    target = target_at(module_engine.port, model="theirs", native=("completions",))
    with gateway(tmp_path, target) as served:
        client = OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY)
        stream = client.completions.create(model="m", prompt="Once", stream=True)
        said = list(stream)
        client.close()
        record = served.records()[-1]
    assert "".join(each.choices[0].text for each in said) == "".join(words)
    assert {each.model for each in said} == {"m"}
    assert said[-1].choices[0].finish_reason == "stop"
    assert (record.tokens_in, record.tokens_out, record.estimated) == (2, 3, False)
    assert record.first_token_ms is not None
    assert json.loads(module_engine.seen[-1].body)["stream_options"] == {"include_usage": True}


def test_a_completion_that_breaks_off_says_so(
    module_engine: ScriptedEngine, tmp_path: Path
) -> None:
    """No end mark: an error event takes its place."""
    module_engine.script = answering(streaming(text_event("a"), text_event("b")))
    target = target_at(module_engine.port, native=("completions",))
    with gateway(tmp_path, target) as served:
        response = post(served.port, "/v1/completions", prompt="x", stream=True)
    last = response.body.split(b"\n\n")[-2]
    assert json.loads(last[6:])["error"]["code"] == "stream_interrupted"


def test_a_whole_completion_without_usage_is_estimated(
    module_engine: ScriptedEngine, tmp_path: Path
) -> None:
    """And marked as such in the record."""
    body = b'{"id":"c","object":"text_completion","model":"m","choices":[{"text":"hi","index":0}]}'
    module_engine.script = answering(sized(body))
    target = target_at(module_engine.port, native=("completions",))
    with gateway(tmp_path, target) as served:
        response = post(served.port, "/v1/completions", prompt="x" * 38)
        record = served.records()[-1]
    assert (response.status, response.body) == (200, body)
    assert (record.tokens_in, record.estimated) == (9, True)


def test_a_completion_by_ollama_is_translated(
    module_engine: ScriptedEngine, tmp_path: Path
) -> None:
    """Sync and as a stream, by its own API."""
    lines = b'{"response":"\xe6\x97\xa5","done":false}\n{"response":"","done":true}\n'
    whole = b'{"response":"\xe6\x97\xa5\xe6\x9c\xac","done":true,"done_reason":"stop"}'
    head = STREAM_HEAD.replace(b"text/event-stream", b"application/x-ndjson")
    module_engine.script = answering(sized(whole), head + as_chunk(lines) + LAST_CHUNK)
    target = target_at(module_engine.port, dialect="ollama", native=("completions",))
    with gateway(tmp_path, target) as served:
        sync = post(served.port, "/v1/completions", prompt="x")
        stream = post(served.port, "/v1/completions", prompt="x", stream=True)
    assert sync.json()["choices"][0]["text"] == "日本"
    assert stream.body.endswith(DONE)
    assert "日".encode() in stream.body
    assert module_engine.seen[-1].path == "/api/generate"


RANKED = b'{"model":"m","results":[{"index":0,"relevance_score":0.25},{"index":1,"relevance_score":0.5}]}'  # noqa: E501


def test_documents_are_ranked(module_engine: ScriptedEngine, tmp_path: Path) -> None:
    """In one form, by the engine's own name for the model."""
    module_engine.script = answering(sized(RANKED))
    target = target_at(module_engine.port, model="theirs", native=("rerank",))
    with gateway(tmp_path, target) as served:
        response = post(served.port, "/v1/rerank", query="q", documents=["a", "b"], top_n=1)
    assert response.status == 200
    assert response.json()["results"] == [{"index": 1, "relevance_score": 0.5}]
    assert json.loads(module_engine.seen[-1].body)["model"] == "theirs"


def test_a_home_that_cannot_is_passed_over(module_engine: ScriptedEngine, tmp_path: Path) -> None:
    """The model has two homes; one of them can rerank."""
    module_engine.script = answering(sized(RANKED))
    cannot = target_at(module_engine.port, engine="a", native=("chat",))
    can = target_at(module_engine.port, engine="b", native=("rerank",))
    with gateway(tmp_path, cannot, can) as served:
        response = post(served.port, "/v1/rerank", query="q", documents=["a", "b"])
        record = served.records()[-1]
    assert (response.status, record.engine) == (200, "b")


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        (
            "/v1/rerank",
            {"query": "q", "documents": ["a"]},
            (
                "The engine 'e' cannot rerank. Nor can any other here; those that can: vLLM with a"
                " reranking model, and llama.cpp started with --reranking."
            ),
        ),
        (
            "/v1/images/generations",
            {"prompt": "x"},
            (
                "The engine 'e' cannot draw. Nor can any other here; those that can:"
                " text-generation-webui with an image model, and engines that were added by their"
                " URL."
            ),
        ),
        (
            "/v1/audio/speech",
            {"input": "x", "voice": "v"},
            (
                "The engine 'e' cannot speak. Nor can any other here; those that can: engines that"
                " were added by their URL (flm engines add), such as LocalAI."
            ),
        ),
    ],
)
def test_where_nobody_can_it_is_said_who_could(
    module_engine: ScriptedEngine, tmp_path: Path, path: str, fields: dict[str, object], says: str
) -> None:
    """400, and the engine is not asked."""
    module_engine.seen.clear()
    with gateway(tmp_path, target_at(module_engine.port, native=("chat",))) as served:
        response = post(served.port, path, **fields)
        record = served.records()[-1]
    assert (response.status, response.code, response.message) == (
        400,
        "unsupported_operation",
        says,
    )
    assert response.headers["x-should-retry"] == "false"
    assert (record.error, module_engine.seen) == ("unsupported_operation", [])


def test_an_engine_that_says_no_is_believed(module_engine: ScriptedEngine, tmp_path: Path) -> None:
    """vLLM has no such route when its model cannot."""
    module_engine.script = answering(sized(b'{"detail":"Not Found"}', "404 Not Found"))
    with gateway(tmp_path, target_at(module_engine.port, native=("rerank",))) as served:
        response = post(served.port, "/v1/rerank", query="q", documents=["a"])
    assert (response.status, response.code) == (400, "unsupported_operation")


def test_a_picture_is_drawn(module_engine: ScriptedEngine, tmp_path: Path) -> None:
    """However long it takes, within the engine's time."""

    def draw(side: EngineSide) -> None:
        side.request()
        side.send(sized(b'{"created":1,"data":[{"b64_json":"iVBORw0KGgoAAAAN"}]}'))

    module_engine.script = draw
    with gateway(tmp_path, target_at(module_engine.port, native=("images",))) as served:
        response = post(served.port, "/v1/images/generations", prompt="猫", response_format="url")
    assert response.json()["data"] == [{"url": "data:image/png;base64,iVBORw0KGgoAAAAN"}]


def test_token_ids_are_told_from_text_where_an_engine_takes_text_only(
    module_engine: ScriptedEngine, tmp_path: Path
) -> None:
    """LangChain sends them by default: the refusal says how it is asked not to."""
    with gateway(tmp_path, target_at(module_engine.port, dialect="ollama")) as served:
        response = post(served.port, "/v1/embeddings", input=[[1, 2], [3]])
    assert (response.status, response.code) == (400, "unsupported_parameter")
    assert "check_embedding_ctx_length=False" in response.message
