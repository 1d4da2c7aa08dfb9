"""`x-should-retry: false` where another try would fail as well: SDKs repeat 408, 409, 429, 5xx."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.dialects.engine_errors import explain
from flm.wire.channel import Woken
from flm.wire.snapshot import Target
from support.gateway import RunningGateway, gateway
from support.raw_client import CHAT, ask, chat, request

HTTP_2 = b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"
GZIP_CHUNKED = request("POST", CHAT, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"


@pytest.mark.parametrize(("data", "status"), [(HTTP_2, 505), (GZIP_CHUNKED, 501)])
def test_what_is_not_served_at_all_is_not_worth_a_retry(
    served: RunningGateway, data: bytes, status: int
) -> None:
    """Though its status says that the server is at fault."""
    response = ask(served.port, data)
    assert (response.status, response.headers["x-should-retry"]) == (status, "false")


@pytest.mark.parametrize("status", [408, 504])
def test_an_engine_that_gave_up_would_give_up_again(status: int) -> None:
    """It took minutes, and the same work takes them again."""
    assert explain(status, {}, b"too slow").should_retry is False


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("model_not_found", (None, "false")),
        ("port_taken", (None, "false")),
        ("engine_unavailable", ("5", None)),
        ("model_load_failed", ("5", None)),
    ],
)
def test_a_model_that_cannot_be_woken_is_asked_for_again_only_if_that_may_help(
    tmp_path: Path, code: str, told: tuple[str | None, str | None]
) -> None:
    """What is gone stays gone; what failed may work the next time."""
    asleep = Target(id="e/m", engine="e", model="m", dialect="openai")
    with gateway(tmp_path, asleep) as running:
        running.on_wake = lambda wake: running.send(Woken(wake.target, "It cannot.", code))
        response = ask(running.port, chat())
        headers = response.headers
        assert (response.status, response.code) == (503, code)
        assert (headers.get("retry-after"), headers.get("x-should-retry")) == told
