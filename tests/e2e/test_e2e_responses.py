"""Responses on a started FLM: the real SDK, the real llama.cpp, state over restarts and kills."""

from __future__ import annotations

import os
import signal

import openai
import pytest
from e2e_engines import SENTENCE, Switchboard
from e2e_house import House
from openai import OpenAI

from support.running_flm import Flm, Served, until


def client_of(served: Served, key: str) -> OpenAI:
    """The official SDK against that address."""
    return OpenAI(api_key=key, base_url=f"http://127.0.0.1:{served.port}/v1", max_retries=0)


def contents(switch: Switchboard) -> list[str]:
    """The texts of the last request an engine got."""
    return [message["content"] for message in switch.asked[-1]["messages"]]


def test_a_real_model_answers_in_a_response(house: House) -> None:
    """Word for word, with usage, whole and streamed; what is kept is the same."""
    with house.client() as client:
        whole = client.responses.create(model="words", input="hi")
        events = list(client.responses.create(model="words", input="hi", stream=True))
        last = events[-1]
        assert last.type == "response.completed"
        assert whole.output_text == last.response.output_text == SENTENCE
        assert whole.usage is not None
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (21, 24)
        assert last.response.usage is not None
        assert last.response.usage.total_tokens == whole.usage.total_tokens
        assert client.responses.retrieve(last.response.id) == last.response
    said = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert said == SENTENCE


def test_what_is_kept_outlives_gateway_and_controller(flm: Flm, switch: Switchboard) -> None:
    """A gateway that is killed, a controller that is started again; then a key is revoked."""
    with flm.services() as services:
        services.engines.add("switch", f"{switch.url}/v1")
    key_id, key = flm.key("mine")
    _, other = flm.key("other")
    served = flm.start()
    with client_of(served, key) as client:
        first = client.responses.create(model="shared", input="one")
        gateway = flm.status()["gateway"]["pid"]
        os.kill(gateway, signal.SIGKILL)
        until(lambda: flm.status()["gateway"]["pid"] not in (None, gateway), "another gateway")
        second = client.responses.create(model="shared", input="two", previous_response_id=first.id)
    assert contents(switch) == ["one", "shared", "two"]
    flm.tell("proxy", "stop")
    served = flm.start()
    with client_of(served, key) as client, client_of(served, other) as stranger:
        client.responses.create(model="shared", input="three", previous_response_id=second.id)
        assert contents(switch) == ["one", "shared", "two", "shared", "three"]
        with pytest.raises(openai.NotFoundError):
            stranger.responses.retrieve(first.id)
    rotated = flm.tell("api-keys", "rotate", key_id)
    with client_of(served, rotated["api_key"]) as client:
        assert client.responses.retrieve(first.id).output_text == "shared"
    flm.tell("api-keys", "revoke", rotated["id"])
    with flm.services() as services:
        until(lambda: services.store.responses.totals().count == 0, "nothing is left")
