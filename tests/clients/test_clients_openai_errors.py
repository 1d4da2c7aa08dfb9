"""OpenAI's SDK: which of its exceptions FLM's errors are, and what it tries again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from clients_engines import ActingEngine, refusal
from clients_house import House
from clients_openai import HI
from clients_stage import TEXT
from openai.types.chat import ChatCompletionMessageParam


@pytest.fixture(scope="module")
def patient(house: House) -> Iterator[openai.OpenAI]:
    """The SDK as a user makes it."""
    with openai.OpenAI(base_url=house.base_url, api_key=house.key, timeout=30) as made:
        yield made


def test_a_wrong_key_is_an_authentication_error(house: House) -> None:
    """401, with OpenAI's code."""
    with (
        openai.OpenAI(base_url=house.base_url, api_key="flm_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.chat.completions.create(model="words", messages=HI)
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """404, with OpenAI's code, naming the parameter."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=HI)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "nobody" in caught.value.message


def test_what_cannot_be_said_to_the_engine_is_a_bad_request(client: openai.OpenAI) -> None:
    """Ollama knows no `n`; a value out of its range names its field."""
    with pytest.raises(openai.BadRequestError) as several:
        client.chat.completions.create(model="ollama/actor:latest", messages=HI, n=2)
    with pytest.raises(openai.BadRequestError) as hot:
        client.chat.completions.create(model="words", messages=HI, temperature=9)
    assert (several.value.code, several.value.param) == ("unsupported_parameter", "n")
    assert (hot.value.code, hot.value.param) == ("invalid_value", "temperature")


def test_a_tool_that_no_engine_runs_cannot_be_made_to_be_called(client: openai.OpenAI) -> None:
    """On offer it is only dropped; required, the answer would be another one."""
    tool: Any = {"type": "web_search"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="words", messages=HI, tools=[tool], tool_choice=tool)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tool_choice")


def test_a_prompt_too_long_is_told_as_openai_tells_it(client: openai.OpenAI) -> None:
    """400 `context_length_exceeded`: agents shorten their history then."""
    long: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 4000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="words", messages=long)
    assert caught.value.code == "context_length_exceeded"


def test_a_stream_that_breaks_is_an_error(
    client: openai.OpenAI, house: House, engine: ActingEngine
) -> None:
    """What was said arrives; then the SDK raises instead of taking it for the whole."""
    said = ""
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(
            model=house.name(engine, "breaker"), messages=HI, stream=True
        ) as stream,
    ):
        for chunk in stream:
            said += chunk.choices[0].delta.content or ""
    assert said == "Grüße aus"
    assert caught.value.code == "stream_interrupted"


# What is tried again.

BUSY = refusal("503 Service Unavailable", {"error": "server busy"}, Retry_After="1")
BROKEN = refusal("500 Internal Server Error", {"error": "the model's code raised"})
BAD = refusal("400 Bad Request", {"error": {"message": "the template failed", "code": 400}})


def test_a_busy_engine_is_asked_again(
    patient: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """503 with Retry-After: once refused, once served, two requests at the engine."""
    before = len(engine.chats)
    engine.refusals.append(BUSY)
    answer = patient.chat.completions.create(model=actor, messages=HI)
    assert answer.choices[0].message.content == TEXT
    assert len(engine.chats) - before == 2


def test_a_busy_engines_refusal_says_when(
    client: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """Its own Retry-After reaches the client, with a status that is tried again."""
    engine.refusals.append(BUSY)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=actor, messages=HI)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in caught.value.response.headers


def test_what_the_engine_will_always_refuse_is_asked_once(
    patient: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """400 is never repeated, and keeps its status."""
    before = len(engine.chats)
    engine.refusals += [BAD] * 3
    with pytest.raises(openai.BadRequestError):
        patient.chat.completions.create(model=actor, messages=HI)
    assert len(engine.chats) - before == 1


def test_what_is_no_use_to_repeat_is_asked_once(
    patient: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """An engine that refuses FLM's own key is a 502, which the SDK would try again: it is told
    not to.
    """
    before = len(engine.chats)
    engine.refusals += [refusal("401 Unauthorized", {"error": "a key is needed"})] * 3
    with pytest.raises(openai.InternalServerError) as caught:
        patient.chat.completions.create(model=actor, messages=HI)
    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(engine.chats) - before == 1


def test_an_engines_failure_is_never_a_bare_500(
    client: openai.OpenAI, actor: str, engine: ActingEngine
) -> None:
    """502 with a code, and what the engine said of it."""
    engine.refusals.append(BROKEN)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=actor, messages=HI)
    assert (caught.value.status_code, caught.value.code) == (502, "engine_error")
    assert "the model's code raised" in caught.value.message
