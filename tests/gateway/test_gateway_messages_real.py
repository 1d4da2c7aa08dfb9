"""Anthropic's Messages with a real llama.cpp behind the gateway: passed on, and translated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest

from support.gateway import KEY, gateway, target_at
from support.gguf_models import write_scripted
from support.llama_server import NAME, RealLlamaCpp, llama_server

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

pytestmark = pytest.mark.needs_embedded

SENTENCE = "Hello 日本の friend 🎉 END more"
NATIVE = ("chat", "messages", "count_tokens", "tokenize")
HI: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLlamaCpp]:
    """A llama.cpp that says one sentence."""
    path = tmp_path_factory.mktemp("model") / "scripted.gguf"
    with llama_server(write_scripted(path, SENTENCE), "secret") as running:
        yield running


@pytest.fixture(params=[NATIVE, ("chat",)], ids=["native", "translated"])
def client(
    request: pytest.FixtureRequest, real: RealLlamaCpp, tmp_path: Path
) -> Iterator[anthropic.Anthropic]:
    """The SDK, against a gateway that passes on or translates."""
    target = target_at(
        real.address.port, model=NAME, native=request.param, authorization="Bearer secret"
    )
    with (
        gateway(tmp_path, target) as running,
        anthropic.Anthropic(
            api_key=KEY, base_url=f"http://127.0.0.1:{running.port}", max_retries=0, timeout=30
        ) as found,
    ):
        yield found


def text_of(message: anthropic.types.Message) -> str:
    """Its words."""
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_and_a_stream_say_the_same(client: anthropic.Anthropic) -> None:
    """The sentence, the client's model name, the counts."""
    whole = client.messages.create(model="m", max_tokens=40, messages=HI)
    with client.messages.stream(model="m", max_tokens=40, messages=HI) as streamed:
        told = streamed.get_final_message()
    for message in (whole, told):
        assert text_of(message) == SENTENCE
        assert (message.model, message.stop_reason) == ("m", "end_turn")
        usage = message.usage
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == 21
        assert usage.output_tokens > 0


def test_an_answer_that_is_cut_says_so(client: anthropic.Anthropic) -> None:
    """By its limit."""
    message = client.messages.create(model="m", max_tokens=2, messages=HI)
    assert message.stop_reason == "max_tokens"


def test_an_image_without_eyes_is_refused(client: anthropic.Anthropic) -> None:
    """llama.cpp's 500 is the request's fault."""
    source: anthropic.types.Base64ImageSourceParam = {
        "type": "base64",
        "media_type": "image/png",
        "data": "iVBORw0KGgo=",
    }
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(
            model="m",
            max_tokens=2,
            messages=[{"role": "user", "content": [{"type": "image", "source": source}]}],
        )
    assert "does not take images" in refused.value.message


def test_the_native_way_counts_and_names_sequences(real: RealLlamaCpp, tmp_path: Path) -> None:
    """What the translated way cannot: the tokenizer's count, which sequence ended the answer."""
    target = target_at(real.address.port, model=NAME, native=NATIVE, authorization="Bearer secret")
    with (
        gateway(tmp_path, target) as running,
        anthropic.Anthropic(
            api_key=KEY, base_url=f"http://127.0.0.1:{running.port}", max_retries=0, timeout=30
        ) as client,
    ):
        message = client.messages.create(
            model="m", max_tokens=40, messages=HI, stop_sequences=["END"]
        )
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
        assert client.messages.count_tokens(model="m", messages=HI).input_tokens == 21
        source: anthropic.types.PlainTextSourceParam = {
            "type": "text",
            "media_type": "text/plain",
            "data": "hi",
        }
        counted = client.messages.with_raw_response.count_tokens(
            model="m",
            messages=[{"role": "user", "content": [{"type": "document", "source": source}]}],
        )
        assert "x-flm-estimated" not in counted.headers
        assert counted.parse().input_tokens == 21
