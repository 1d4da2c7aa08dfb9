"""Why an engine elsewhere is not used is said with what to do about it."""

from __future__ import annotations

import pytest

from flm.domain.addresses import LEADS_HERE, LEADS_TO_METADATA, UNTRUSTED
from flm.domain.engines import (
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    NetworkError,
)
from flm.services.detection_words import findings


def told(state: EngineState) -> list[tuple[str, str]]:
    """Code and message of what is said of an engine in that state."""
    at = Address("box.example", 443, tls=True)
    box = Engine(id=EngineId("box"), kind="custom", state=state, address=at, remote=True)
    return [(each.code, each.message.format(**each.values)) for each in findings(box, ())]


def test_a_redirect_names_where_it_leads() -> None:
    """It is the user who goes there, not FLM."""
    assert told(ApiError("redirects to https://other.example/v1")) == [
        (
            "redirects",
            "box sends FLM on to https://other.example/v1; redirects are never followed.",
        )
    ]


@pytest.mark.parametrize("reason", [LEADS_HERE, LEADS_TO_METADATA])
def test_a_name_that_is_refused_is_explained(reason: str) -> None:
    """An address would be taken."""
    assert told(NetworkError(reason, 1)) == [
        (
            "name_refused",
            "The name box.example leads where no other machine is; FLM does not go there.",
        )
    ]


def test_a_certificate_that_is_not_trusted_is_explained() -> None:
    """An authority of one's own is given with the engine."""
    assert told(NetworkError(UNTRUSTED, 1)) == [
        ("untrusted", "Who answers at https://box.example:443 cannot prove to be that machine.")
    ]


@pytest.mark.parametrize(
    "state", [Healthy(1.0), NetworkError("connection refused", 1), ApiError("answered 500")]
)
def test_other_states_say_enough_themselves(state: EngineState) -> None:
    """Nothing is added."""
    assert told(state) == []
