"""CORS preflights: answered, never counted as failures, and promising nothing."""

from __future__ import annotations

import pytest

from support.gateway import RunningGateway
from support.raw_client import CHAT, RawClient, ask, request

PREFLIGHT = ("Origin: https://app.example", "Access-Control-Request-Method: POST",
             "Access-Control-Request-Headers: authorization, content-type")  # fmt: skip


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (CHAT, "POST, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/m", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/nowhere", "OPTIONS"),
        ("/v1//models", "OPTIONS"),
    ],
)
def test_a_preflight_is_204_and_no_failure(served: RunningGateway, path: str, allowed: str) -> None:
    """Whatever it asks for, without a key and without a record: a page set up wrongly is no
    attacker. Without `Access-Control-Allow-Origin` the browser stops here."""
    before = served.records()
    with RawClient(served.port) as client:
        for _ in range(2):
            response = client.ask(request("OPTIONS", path, *PREFLIGHT, key=None), bodiless=True)
            assert (response.status, response.headers["allow"]) == (204, allowed)
            assert not [name for name in response.headers if name.startswith("access-control")]
    assert served.records() == before


@pytest.mark.parametrize("line", PREFLIGHT[:2])
def test_half_a_preflight_is_an_ordinary_request(served: RunningGateway, line: str) -> None:
    """The Fetch standard has both fields in each."""
    assert ask(served.port, request("OPTIONS", "/nowhere", line)).status == 404


def test_a_preflight_under_a_foreign_name_is_refused(served: RunningGateway) -> None:
    """DNS rebinding comes as a page's own origin too."""
    data = request("OPTIONS", CHAT, *PREFLIGHT, host="evil.example")
    assert ask(served.port, data).status == 421


def test_another_method_with_a_preflight_s_fields_is_itself(served: RunningGateway) -> None:
    """Only OPTIONS is one."""
    assert ask(served.port, request("POST", "/nowhere", *PREFLIGHT)).status == 404
    assert ask(served.port, request("POST", CHAT, *PREFLIGHT, key=None)).status == 401


def test_http_1_0_clients_are_told_too(served: RunningGateway) -> None:
    """The connection ends as they expect."""
    data = request("OPTIONS", CHAT, *PREFLIGHT, version="1.0")
    response = ask(served.port, data, bodiless=True)
    assert (response.status, response.headers["connection"]) == (204, "close")
