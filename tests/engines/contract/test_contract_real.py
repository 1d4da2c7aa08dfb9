"""The same contract with engines that are none of ours: a real llama.cpp, a vLLM where one is.

`make test-vllm` runs this file with the vLLM that `FLM_TEST_VLLM_URL` names.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from contextlib import ExitStack

import pytest
from contract_dialects import Dialect, in_each
from contract_dialects import said as said_in
from contract_specimens import REAL
from contract_talk import House, chunks, name_of, said, text_of

from flm.domain.engines import EngineLoad
from flm.engines.metrics import LIMIT, total
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock
from support.fakes.specimen import Specimen
from support.raw_client import RawClient, Response, ask, chat, eventually, request

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

real_engine = pytest.mark.parametrize("specimen", REAL, ids=str)
pytestmark = pytest.mark.needs_embedded

IMAGE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADU"
                         "lEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="},
}  # fmt: skip


def load(served: House, specimen: Specimen) -> EngineLoad:
    """How busy it says it is."""
    prober, address = HttpProber(SystemClock()), served.addresses[specimen.id]
    found = asyncio.run(specimen.adapter.load(prober, address, specimen.key))
    assert found is not None
    return found


def generated(served: House, specimen: Specimen) -> float:
    """How many tokens it has made since it was started."""
    prober, address = HttpProber(SystemClock()), served.addresses[specimen.id]
    told = asyncio.run(prober.get(address, "/metrics", key=specimen.key, limit=LIMIT))
    names = ("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total")
    return total(told.body, *names) or 0.0


def embed(served: House, specimen: Specimen, form: str) -> Response:
    """Two texts as vectors."""
    body = {"model": name_of(specimen), "input": ["a", "bb"], "encoding_format": form}
    return ask(
        served.gateway.port, request("POST", "/v1/embeddings", body=json.dumps(body).encode())
    )


@real_engine
def test_a_stream_says_what_a_whole_answer_says(served: House, specimen: Specimen) -> None:
    """Both with usage, under the client's name for the model."""
    how = {"temperature": 0, "max_tokens": 16}
    whole = said(served, specimen, **how)
    assert whole.status == 200
    (choice,) = whole.json()["choices"]
    text = choice["message"]["content"]
    assert specimen.text in (None, text)
    assert choice["finish_reason"] in ("stop", "length")
    usage = whole.json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    streamed = said(served, specimen, stream=True, stream_options={"include_usage": True}, **how)
    assert text_of(streamed.body) == text
    assert streamed.body.count(b"data: [DONE]") == 1
    *_, last = chunks(streamed.body)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], usage["total_tokens"])
    names = {whole.json()["model"], *(chunk["model"] for chunk in chunks(streamed.body))}
    assert names == {name_of(specimen)}


@real_engine
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_prompt_beyond_its_context(served: House, specimen: Specimen, stream: bool) -> None:
    """400 `context_length_exceeded`, and the engine's own setting."""
    assert specimen.model.context_length is not None
    words = "hello " * specimen.model.context_length
    answer = said(served, specimen, text=words, stream=stream, max_tokens=4)
    assert (answer.status, answer.code) == (400, "context_length_exceeded")
    assert specimen.setting in answer.message


@real_engine
def test_a_client_that_leaves_ends_the_work(served: House, specimen: Specimen) -> None:
    """The engine has nothing to do any more, long before it is through."""
    wanted = int(specimen.long["max_tokens"]) * int(specimen.long.get("n", 1))
    before = generated(served, specimen)
    with RawClient(served.gateway.port) as client:
        client.send(chat(model=name_of(specimen), stream=True, **specimen.long))
        client.read_until(b"data: ")
        eventually(lambda: load(served, specimen).running)
    eventually(lambda: load(served, specimen).running == 0)
    eventually(lambda: served.gateway.records()[-1].error == "client_closed")
    assert generated(served, specimen) - before < wanted - 100


@real_engine
def test_an_image_it_cannot_see(served: House, specimen: Specimen) -> None:
    """400 `unsupported_modalities`, whatever it says itself."""
    content = [{"type": "text", "text": "What is this?"}, IMAGE]
    body = {"model": name_of(specimen), "messages": [{"role": "user", "content": content}]}
    answer = ask(
        served.gateway.port,
        request("POST", "/v1/chat/completions", body=json.dumps(body).encode()),
    )
    assert (answer.status, answer.code) == (400, "unsupported_modalities")


@pytest.mark.parametrize(
    "specimen", [each for each in REAL if "embeddings" in each.model.capabilities], ids=str
)
def test_embeddings_are_the_same_as_numbers_and_in_base64(
    served: House, specimen: Specimen
) -> None:
    """One for each text, in order."""
    numbers = embed(served, specimen, "float").json()["data"]
    packed = embed(served, specimen, "base64").json()["data"]
    assert [each["index"] for each in numbers] == [0, 1]
    for one, other in zip(numbers, packed, strict=True):
        data = base64.b64decode(other["embedding"])
        assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(one["embedding"])


@real_engine
def test_many_at_once_are_all_answered(served: House, specimen: Specimen) -> None:
    """More than it answers at a time: the rest waits."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(served.gateway.port)) for _ in range(8)]
        for client in clients:
            client.send(chat(model=name_of(specimen), max_tokens=8))
        assert [client.response().status for client in clients] == [200] * 8


@real_engine
@in_each
def test_it_answers_in_every_dialect(served: House, specimen: Specimen, dialect: Dialect) -> None:
    """Whole and as a stream: an end, and as many tokens as were counted."""
    whole = said_in(served, specimen, dialect)
    assert whole.status == 200, whole.body
    streamed = said_in(served, specimen, dialect, stream=True)
    assert streamed.status == 200, streamed.body
    for told in (dialect.whole(whole.json()), dialect.streamed(streamed.body)):
        assert told.tokens > 1
        assert told.call is None
        assert told.reason
    records = served.gateway.records()[-2:]
    assert [(record.route, record.error, record.estimated) for record in records] == [
        (dialect.path, "", False)
    ] * 2
