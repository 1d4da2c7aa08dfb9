"""Ollama's API at the gateway: its own clients, byte for byte where they look, on any engine.

Engines of OpenAI's dialect answer what a llama.cpp answers; Ollama answers what was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import ollama
import pytest
from langchain_ollama import ChatOllama, OllamaEmbeddings

from flm.wire.snapshot import Published, Routes
from support.gateway import KEY, RunningGateway, gateway, routes_section, target_at
from support.raw_client import RawClient, Response, ask, request
from support.scripted_engine import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    ScriptedEngine,
    answer_body,
    answering,
    as_chunk,
    event,
    sized,
    stream_of,
)

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts" / "ollama-0.33.0-rc2"
HELLO = [{"role": "user", "content": "こんにちは"}]


def recorded(name: str) -> bytes:
    """What a real Ollama answered, its connection kept open as FLM's pool wants it."""
    data = (TRANSCRIPTS / f"{name}.response.http").read_bytes()
    return data.replace(b"Connection: close\r\n", b"")


@pytest.fixture(scope="module")
def there() -> Iterator[ScriptedEngine]:
    """An engine of Ollama's dialect."""
    with ScriptedEngine(answering(recorded("chat"))) as running:
        yield running


@pytest.fixture(scope="module")
def both(
    module_engine: ScriptedEngine, there: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with `m` on an engine of OpenAI's dialect and `o` on an Ollama."""
    with gateway(
        tmp_path_factory.mktemp("journal"),
        target_at(module_engine.port),
        target_at(there.port, "o", engine="ollama", model="tiny", dialect="ollama", num_ctx=4096),
    ) as running:
        yield running


@pytest.fixture
def client(both: RunningGateway) -> Iterator[ollama.Client]:
    """Ollama's own client with FLM's key."""
    with ollama.Client(
        host=f"http://127.0.0.1:{both.port}", headers={"authorization": f"Bearer {KEY}"}
    ) as made:
        yield made


def post(served: RunningGateway, path: str, **fields: Any) -> Response:
    """A request with a JSON body."""
    return ask(served.port, request("POST", path, body=json.dumps(fields).encode()))


def sent(engine: ScriptedEngine) -> dict[str, Any]:
    """The body of the last request an engine got."""
    return dict(json.loads(engine.seen[-1].body))


def test_the_root_says_that_ollama_runs(both: RunningGateway) -> None:
    """Without a key, by GET and HEAD; the length is told by both."""
    answer = ask(both.port, request("GET", "/", key=None))
    assert (answer.status, answer.body) == (200, b"Ollama is running")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    with RawClient(both.port) as raw:
        raw.send(request("HEAD", "/", "Connection: close", key=None))
        assert b"content-length: 17\r\n" in raw.rest()


def test_the_version_is_that_of_an_ollama(both: RunningGateway) -> None:
    """Clients ask it before they use what is new."""
    assert ask(both.port, request("GET", "/api/version", key=None)).json() == {"version": "0.33.0"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/tags"), ("GET", "/api/ps"), ("POST", "/api/show"), ("POST", "/api/chat"),
     ("POST", "/api/pull"), ("DELETE", "/api/delete")],
)  # fmt: skip
def test_all_else_needs_a_key(both: RunningGateway, method: str, path: str) -> None:
    """And is refused in Ollama's words."""
    answer = ask(both.port, request(method, path, key=None))
    assert answer.status == 401
    assert list(answer.json()) == ["error"]
    assert isinstance(answer.json()["error"], str)


def test_ollamas_client_lists_and_shows(client: ollama.Client) -> None:
    """What there is, what runs, what one can."""
    assert [model.model for model in client.list().models] == ["m", "o"]
    assert [model.name for model in client.ps().models] == ["m", "o"]
    shown = client.show("m")
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["flm.context_length"] == 2048
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("nobody")
    assert caught.value.status_code == 404


def test_older_clients_call_the_model_name(both: RunningGateway) -> None:
    """Continue does; one without either is told so."""
    assert post(both, "/api/show", name="m").status == 200
    assert post(both, "/api/show", name="m:latest").status == 200
    assert post(both, "/api/show").status == 400


def test_the_heads_of_lists_have_no_body(both: RunningGateway) -> None:
    """HEAD on `/api/tags` and `/api/version`."""
    for path in ("/api/tags", "/api/version"):
        with RawClient(both.port) as raw:
            raw.send(request("HEAD", path, "Connection: close"))
            answer = raw.rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n")


def test_a_whole_chat_on_an_engine_of_openais(
    client: ollama.Client, both: RunningGateway, engine: ScriptedEngine
) -> None:
    """Translated there and back; its tokens are in the record."""
    engine.script = answering(sized(answer_body("やあ")))
    answer = client.chat("m", HELLO, options={"num_predict": 8, "num_ctx": 99})
    assert answer.message.content == "やあ"
    assert (answer.model, answer.done_reason) == ("m", "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (3, 5)
    assert sent(engine)["max_tokens"] == 8
    assert "num_ctx" not in engine.seen[-1].body.decode()
    record = both.records()[-1]
    assert (record.route, record.tokens_in, record.tokens_out) == ("/api/chat", 3, 5)


def test_a_streamed_chat_on_an_engine_of_openais(
    client: ollama.Client, both: RunningGateway, engine: ScriptedEngine
) -> None:
    """Lines, each whole, of which the last says that it is."""
    engine.script = answering(stream_of("日", "本", "語"))
    parts = list(client.chat("m", HELLO, stream=True))
    assert "".join(part.message.content or "" for part in parts) == "日本語"
    assert [part.done for part in parts] == [False, False, False, True]
    answer = post(both, "/api/chat", model="m", messages=HELLO)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.body.count(b"\n") == 4
    assert b"\n\n" not in answer.body


def test_curl_without_a_content_type_is_understood(
    both: RunningGateway, engine: ScriptedEngine
) -> None:
    """Ollama's documents write `curl -d '{…}'`, which says that it is a form."""
    engine.script = answering(sized(answer_body("x")))
    form = "Content-Type: application/x-www-form-urlencoded"
    body = b'{"model":"m","prompt":"Once","stream":false}'
    assert ask(both.port, request("POST", "/api/generate", form, body=body)).status == 200
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    assert ask(both.port, request("POST", "/v1/chat/completions", form, body=body)).status == 415


def test_what_was_dropped_is_named(both: RunningGateway, engine: ScriptedEngine) -> None:
    """The owner's options, in the header."""
    engine.script = answering(sized(answer_body()))
    answer = post(
        both, "/api/chat", model="m", messages=HELLO, stream=False, keep_alive=-1,
        options={"num_ctx": 9},
    )  # fmt: skip
    assert answer.headers["x-flm-dropped"] == "keep_alive, options.num_ctx"


@pytest.mark.parametrize("name", ["m", "m:latest"])
def test_a_tag_of_ollamas_may_be_added(
    client: ollama.Client, engine: ScriptedEngine, name: str
) -> None:
    """Open WebUI adds `:latest`; the client reads the name it used."""
    engine.script = answering(sized(answer_body()))
    assert client.chat(name, HELLO).model == name
    assert sent(engine)["model"] == "m"


def test_a_chat_on_an_ollama_is_passed_on(
    client: ollama.Client, both: RunningGateway, there: ScriptedEngine
) -> None:
    """Its own fields, the owner's context, the client's name for the model."""
    there.script = answering(recorded("chat"))
    answer = client.chat("o", HELLO, think="low", options={"num_ctx": 1, "top_k": 3})
    assert (answer.model, answer.done_reason, answer.eval_count) == ("o", "length", 8)
    assert (there.seen[-1].path, sent(there)["model"]) == ("/api/chat", "tiny")
    assert sent(there)["options"] == {"top_k": 3, "num_ctx": 4096}
    assert (sent(there)["think"], sent(there)["truncate"]) == ("low", False)
    assert both.records()[-1].tokens_in == 63


def test_a_stream_of_an_ollama_is_passed_on(
    client: ollama.Client, both: RunningGateway, there: ScriptedEngine
) -> None:
    """Thoughts and calls as they came."""
    there.script = answering(recorded("chat-think-stream"))
    parts = list(client.chat("o", HELLO, stream=True))
    assert "".join(part.message.thinking or "" for part in parts) == "The user greets me."
    assert "".join(part.message.content or "" for part in parts) == "Hello there friend!"
    assert {part.model for part in parts} == {"o"}
    assert both.records()[-1].tokens_out == 10


def test_tools_are_called_on_both_engines(
    client: ollama.Client, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """Arguments are an object for the client, whatever the engine sends."""
    call = {"id": "c", "function": {"name": "get_weather", "arguments": '{"city":"東京"}'}}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    engine.script = answering(sized(json.dumps({"model": "m", **body}).encode()))
    there.script = answering(recorded("chat-tools"))
    cities = []
    for model in ("m", "o"):
        made = client.chat(model, HELLO).message.tool_calls
        assert made is not None
        assert made[0].function.name == "get_weather"
        cities.append(made[0].function.arguments["city"])
    assert cities == ["東京", "Tokyo"]


def test_an_error_before_the_stream_keeps_its_status(
    client: ollama.Client, engine: ScriptedEngine
) -> None:
    """Ollama's client raises it."""
    engine.script = answering(sized(b'{"error":{"message":"no"}}', "400 Bad Request"))
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.chat("m", HELLO, stream=True))
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as unknown:
        client.chat("nobody", HELLO)
    assert unknown.value.status_code == 404
    assert "nobody" in unknown.value.error


@pytest.mark.parametrize("model", ["m", "o"])
def test_an_engine_that_dies_is_told_in_the_last_line(
    client: ollama.Client, engine: ScriptedEngine, there: ScriptedEngine, model: str
) -> None:
    """A broken stream never looks whole."""
    engine.script = answering(STREAM_HEAD + as_chunk(event("half")) + LAST_CHUNK)
    there.script = answering(recorded("chat-stream-model-dies"))
    parts = client.chat(model, HELLO, stream=True)
    assert next(parts).message.content
    with pytest.raises(ollama.ResponseError):
        list(parts)


def test_generate_on_both_engines(
    client: ollama.Client, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """A question, a raw prompt, and a gap only where the engine can fill it."""
    engine.script = answering(sized(answer_body("x")))
    there.script = answering(recorded("generate"))
    assert client.generate("m", "Once", system="s").response == "x"
    assert [each["role"] for each in sent(engine)["messages"]] == ["system", "user"]
    assert client.generate("o", "Once", suffix="b").eval_count == 8
    assert (there.seen[-1].path, sent(there)["suffix"]) == ("/api/generate", "b")
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate("m", "Once", suffix="b")
    assert "insert" in caught.value.error


def test_a_raw_prompt_reaches_completions(client: ollama.Client, engine: ScriptedEngine) -> None:
    """Streamed, as editors ask for it."""
    chunk = {"model": "m", "choices": [{"index": 0, "text": "filled", "finish_reason": "stop"}]}
    said = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    engine.script = answering(STREAM_HEAD + as_chunk(said) + as_chunk(DONE) + LAST_CHUNK)
    parts = list(client.generate("m", "<fim>", raw=True, stream=True))
    assert "".join(part.response or "" for part in parts) == "filled"
    assert (engine.seen[-1].path, sent(engine)["prompt"]) == ("/v1/completions", "<fim>")


def test_loading_and_unloading(
    client: ollama.Client, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """Ollama loads when it is asked, as the owner has it; nobody unloads for others."""
    there.script = answering(recorded("load"))
    there.seen.clear()
    assert client.generate("o").done_reason == "load"
    assert sent(there) == {"model": "tiny", "stream": False, "options": {"num_ctx": 4096}}
    assert client.chat("m", [], stream=False).done_reason == "load"
    assert client.generate("o", keep_alive=0).done_reason == "unload"
    assert (len(there.seen), engine.seen) == (1, [])
    with pytest.raises(ollama.ResponseError):
        client.generate("nobody", keep_alive=0)


def test_embeddings_on_both_engines(
    client: ollama.Client, both: RunningGateway, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """By both routes."""
    data = [{"index": 0, "embedding": [0.5, 1.5], "object": "embedding"}]
    body = {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 4}}
    engine.script = answering(sized(json.dumps(body).encode()))
    assert client.embed("m", "a").embeddings == [[0.5, 1.5]]
    assert client.embeddings("m", "a").embedding == [0.5, 1.5]
    assert both.records()[-1].tokens_in == 4
    there.script = answering(recorded("embed"))
    found = client.embed("o", ["a", "b"])
    assert (len(found.embeddings), found.prompt_eval_count) == (2, 6)
    assert (there.seen[-1].path, sent(there)["input"]) == ("/api/embed", ["a", "b"])
    assert client.embed("m", []).embeddings == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"),
        ("POST", "/api/copy"), ("DELETE", "/api/delete"), ("POST", "/api/signout"),
        ("POST", "/api/me"), ("POST", "/api/blobs/sha256:00"),
    ],
)  # fmt: skip
def test_what_changes_models_is_not_supported(both: RunningGateway, method: str, path: str) -> None:
    """501 with a reason; the body is taken and dropped."""
    answer = ask(both.port, request(method, path, body=b'{"model":"m"}'))
    assert answer.status == 501
    assert "not supported by FLM" in answer.json()["error"]


def test_ollamas_client_reads_the_reason(client: ollama.Client) -> None:
    """As its own kind of error."""
    with pytest.raises(ollama.ResponseError) as caught:
        client.delete("m")
    assert caught.value.status_code == 501
    assert "flm models remove" in caught.value.error


def test_langchain_talks_and_embeds(
    both: RunningGateway, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """Its classes for Ollama, streamed as they always ask."""
    base = f"http://127.0.0.1:{both.port}"
    kwargs = {"headers": {"authorization": f"Bearer {KEY}"}}
    engine.script = answering(stream_of("日", "本"))
    there.script = answering(recorded("embed"))
    talker = ChatOllama(model="m", base_url=base, client_kwargs=kwargs)
    embedder = OllamaEmbeddings(model="o", base_url=base, client_kwargs=kwargs)
    # They have no way of their own to close their connections.
    with talker._client, embedder._client:
        assert talker.invoke("hi").content == "日本"
        assert len(embedder.embed_documents(["a", "b"])) == 2


def test_a_publication_is_listed_and_asked(
    both: RunningGateway, client: ollama.Client, engine: ScriptedEngine, there: ScriptedEngine
) -> None:
    """With what its owner lays around a prompt, on either engine; a raw one is refused."""
    targets = [
        target_at(engine.port),
        target_at(there.port, "o", engine="ollama", model="tiny", dialect="ollama"),
    ]
    routes: Routes = msgspec.structs.replace(
        routes_section(*targets, revision=2),
        published={
            "mine": Published(name="mine", models=("o",), template="t@1", system=("Be brief.",)),
            "plain": Published(name="plain", models=("m",)),
        },
    )
    before = routes_section(*targets, revision=3)
    both.delta(routes=routes)
    there.script = answering(recorded("chat"))
    engine.script = answering(sized(answer_body("x")))
    assert [model.model for model in client.list().models] == ["m", "mine", "o", "plain"]
    assert client.chat("mine:latest", HELLO).model == "mine:latest"
    assert sent(there)["messages"][0] == {"role": "system", "content": "Be brief."}
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate("mine", "x", raw=True)
    assert "template" in caught.value.error
    assert client.generate("plain", "x").response == "x"
    both.delta(routes=before)
