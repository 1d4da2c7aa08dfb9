"""What a gateway says of itself to whoever asks."""

from __future__ import annotations

import json

from flm.domain.instance import instance_of
from support.gateway import PEPPER, RunningGateway
from support.raw_client import ask, request


def test_a_gateway_tells_which_flm_it_is_without_a_key(served: RunningGateway) -> None:
    """By it a controller knows its own API again, and takes it for no engine."""
    answer = ask(served.port, request("GET", "/.well-known/flm", key=None))
    assert (answer.status, json.loads(answer.body)) == (200, {"instance": instance_of(PEPPER)})


def test_an_instance_is_its_peppers_and_tells_nothing_of_it() -> None:
    """16 hex digits, another pepper's are others."""
    assert instance_of(b"p" * 32) == "6e8b44c7c5da326e"
    assert instance_of(b"q" * 32) != instance_of(b"p" * 32)
