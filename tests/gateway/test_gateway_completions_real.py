"""Text completions, and a form, with a real llama.cpp behind the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from support.gateway import KEY, RunningGateway, gateway, target_at
from support.gguf_models import write_scripted
from support.llama_server import NAME, llama_server

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

pytestmark = pytest.mark.needs_embedded

SENTENCE = "Hello 日本の friend 🎉 END more"
NATIVE = ("completions", "transcriptions", "rerank")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with a llama.cpp that says one sentence."""
    folder = tmp_path_factory.mktemp("real")
    with llama_server(write_scripted(folder / "scripted.gguf", SENTENCE), "secret") as real:
        target = target_at(
            real.address.port, model=NAME, native=NATIVE, authorization="Bearer secret"
        )
        with gateway(folder / "journal", target) as found:
            yield found


@pytest.fixture
def client(running: RunningGateway) -> Iterator[openai.OpenAI]:
    """The SDK."""
    url = f"http://127.0.0.1:{running.port}/v1"
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=30) as found:
        yield found


def test_a_completion_and_a_stream_say_the_same(
    client: openai.OpenAI, running: RunningGateway
) -> None:
    """The words, the client's model name, the tokens in the record."""
    whole = client.completions.create(model="m", prompt="hi", max_tokens=12, temperature=0)
    streamed = list(
        client.completions.create(model="m", prompt="hi", max_tokens=12, temperature=0, stream=True)
    )
    assert whole.choices[0].text
    said = "".join(each.choices[0].text for each in streamed if each.choices)
    assert said == whole.choices[0].text
    assert {whole.model, *(each.model for each in streamed)} == {"m"}
    assert whole.usage is not None
    records = running.records()[-2:]
    counted = whole.usage.completion_tokens
    assert [record.tokens_out for record in records] == [counted, counted]
    assert not any(record.estimated for record in records)


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_a_model_that_does_not_hear_says_so(
    client: openai.OpenAI, tmp_path: Path, size: int
) -> None:
    """The form was read, sized or in chunks: the error is the model's."""
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"RIFF" + b"\0" * size)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="m", file=sound)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (400, "unsupported_modalities", "file")
