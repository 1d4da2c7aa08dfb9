"""Run by `test_e2e_remote.py` in a network of its own, which has the machine `box.example`.

That machine is an address on loopback's interface that is no loopback address; the hosts file
says which, and the tests change it.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.replay import Answer, ReplayServer, Reply, Seen, response
from support.running_flm import Flm, Served, until
from support.scripted_engine import answer_body, stream_of
from support.secure_engine import SecureServer

BOX, MOVED = "10.99.0.7", "10.99.0.8"
HOSTS = Path(os.environ["FLM_TEST_HOSTS"])


def leads(address: str) -> None:
    """From now on `box.example` means that address."""
    HOSTS.write_text(f"127.0.0.1 localhost\n{address} box.example\n")


def engine(*models: str, words: str = "from the box") -> dict[tuple[str, str], Reply]:
    """An OpenAI-compatible engine with these models."""
    listed = [{"id": each, "object": "model", "created": 1, "owned_by": "box"} for each in models]

    def chat(seen: Seen) -> Answer:
        asked = json.loads(seen.body)
        if asked.get("stream"):
            return Answer(stream_of("from ", "the ", "box"))
        return Answer(response(answer_body(words)))

    return {
        ("GET", "/v1/models"): response(json.dumps({"object": "list", "data": listed})),
        ("POST", "/v1/chat/completions"): chat,
    }


class House:
    """A started FLM to which the box was added, and what it is asked."""

    def __init__(self, flm: Flm, served: Served, key: str) -> None:
        self.flm = flm
        self._base = served.base_url
        self._key = key

    def ask(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of the API's answer."""
        asked = urllib.request.Request(
            f"{self._base}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def chat(self, model: str, **more: object) -> tuple[int, bytes]:
        """A chat with that model."""
        said = [{"role": "user", "content": "hi"}]
        return self.ask("/chat/completions", {"model": model, "messages": said, **more})

    def engine(self) -> Any:
        """The box as `flm engines list` shows it."""
        listed = self.flm.tell("engines", "list")["engines"]
        return next(each for each in listed if each["id"] == "box")

    def models(self) -> dict[str, Any]:
        """What `/v1/models` lists, by name."""
        return {each["id"]: each for each in json.loads(self.ask("/models")[1])["data"]}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The owner's own."""
    return Authority(tmp_path)


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    """The box's certificate."""
    return authority.server("box.example")


@pytest.fixture
def box(context: ssl.SSLContext) -> Iterator[SecureServer]:
    """The engine on the box."""
    leads(BOX)
    with SecureServer(engine("big", "both"), context, BOX) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, authority: Authority, box: SecureServer) -> Iterator[House]:
    """An FLM that was given the box on the command line, and serves it."""
    flm = Flm(tmp_path / "data")
    url = f"https://box.example:{box.port}/v1"
    added = flm.tell("engines", "add", "box", "--url", url, "--ca-file", str(authority.ca_file))
    assert added["remote"] is True
    _, key = flm.key()
    served = flm.start()
    made = House(flm, served, key)
    try:
        flm.tell("engines", "detect")
        until(lambda: made.chat("big")[0] == 200, "the box is served", pause=0.1)
        box.seen.clear()
        yield made
    finally:
        flm.close()


def test_an_engine_elsewhere_is_served_and_marked(house: House, box: SecureServer) -> None:
    """Whole and streamed, over verified HTTPS, by its name."""
    status, body = house.chat("big")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "from the box")
    status, body = house.chat("big", stream=True)
    assert status == 200
    assert b'"the "' in body
    assert body.endswith(b"data: [DONE]\n\n")
    (asked, _) = (each for each in box.seen if each.method == "POST")
    assert asked.headers["host"] == f"box.example:{box.port}"
    assert house.engine()["remote"] is True
    assert house.models()["big"]["remote"] is True
    listed = house.flm.tell("models", "list")["models"]
    assert {each["id"]: each["remote"] for each in listed} == {"big": True, "both": True}


def test_a_name_is_followed_to_its_new_address(
    house: House, box: SecureServer, context: ssl.SSLContext
) -> None:
    """The old machine is gone; nobody needs to tell FLM."""
    box.close()
    leads(MOVED)
    with SecureServer(engine("big", words="moved"), context, MOVED, box.port) as moved:
        until(lambda: b"moved" in house.chat("big")[1], "the new address", pause=0.1)
        assert house.engine()["state"] == "running-healthy"
        assert moved.seen


def test_a_name_that_comes_to_lead_back_here_is_refused(
    house: House, box: SecureServer, context: ssl.SSLContext
) -> None:
    """Whoever has the name would reach what only this machine may: nothing arrives there."""
    box.close()
    leads("127.0.0.1")
    with SecureServer(engine("big"), context, "127.0.0.1", box.port) as here:
        until(lambda: house.chat("big")[0] == 503, "gone", pause=0.1)
        house.flm.tell("engines", "detect")
        told = house.engine()
        assert (told["state"], told["reason"]) == (
            "error-network", "its name leads back to this machine",
        )  # fmt: skip
        status, _ = house.chat("big")
        assert status == 503
        assert here.seen == []
    assert [each["code"] for each in house.engine()["findings"]] == ["name_refused"]


def test_what_is_answered_here_does_not_leave_when_it_stops(
    house: House, box: SecureServer
) -> None:
    """The name is the engine's here, up or down; the box is asked only by its own."""
    with ReplayServer(engine("both", words="from here")) as here:
        house.flm.tell("engines", "add", "here", "--url", f"http://127.0.0.1:{here.port}/v1")
        until(lambda: b"from here" in house.chat("both")[1], "the one here", pause=0.1)
        before = len([each for each in box.seen if each.method == "POST"])
        assert b"from the box" in house.chat("box/both")[1]
        assert house.models()["both"]["remote"] is False
        assert house.models()["box/both"]["remote"] is True
    until(lambda: house.chat("both")[0] == 503, "the one here is down", pause=0.1)
    status, body = house.chat("both")
    assert (status, b"'box/both'" in body) == (503, True)
    assert len([each for each in box.seen if each.method == "POST"]) == before + 1
