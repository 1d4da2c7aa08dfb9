"""Engines: their ids, addresses and states."""

from __future__ import annotations

import pytest

from flm.domain.engines import (
    Address,
    ApiError,
    Degraded,
    Healthy,
    InstalledOnly,
    NetworkError,
    engine_id,
    local_address,
    serves,
    state_name,
)
from flm.errors import InvalidValue, NotPermitted


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080/v1", Address("127.0.0.1", 8080)),
        ("http://localhost:8080", Address("127.0.0.1", 8080)),
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://127.0.0.1", Address("127.0.0.1", 80)),
        ("http://[::1]:1234/v1/", Address("::1", 1234)),
        ("http://0.0.0.0:11434", Address("127.0.0.1", 11434)),
        ("http://127.0.0.1:9/engines/v1", Address("127.0.0.1", 9, "/engines")),
    ],
)
def test_a_url_on_this_machine_is_an_address(url: str, address: Address):
    """`/v1` is the API's own; a wildcard is where servers listen, not where clients connect."""
    assert local_address(url) == address


@pytest.mark.parametrize(
    "url", ["http://192.168.1.2:80", "https://127.0.0.1", "http://example.com", "http://[fe80::1]"]
)
def test_other_hosts_and_https_are_refused_for_now(url: str):
    """The remedy says that they come later."""
    with pytest.raises(NotPermitted) as refused:
        local_address(url)
    assert "later version" in refused.value.remedy


@pytest.mark.parametrize(
    "url", ["", "http://", "ftp://127.0.0.1", "http://a:b@127.0.0.1", "http://127.0.0.1:99999"]
)
def test_what_is_no_url_is_refused(url: str):
    """With an example of one that would be right."""
    with pytest.raises(InvalidValue) as refused:
        local_address(url)
    assert "http://127.0.0.1:8080/v1" in refused.value.remedy


def test_an_address_is_a_url_again():
    """IPv6 in brackets."""
    assert Address("::1", 8080, "/x").url == "http://[::1]:8080/x"


@pytest.mark.parametrize("text", ["", "A", "a/b", "flm", "-a", "a b", "あ", "a" * 64])
def test_what_cannot_be_an_engines_name_is_refused(text: str):
    """No slash, for `engine/name` is a model; not `flm`, which is FLM itself."""
    with pytest.raises(InvalidValue):
        engine_id(text)


def test_states_have_the_products_words():
    """And only an engine that answers is served."""
    states = [
        InstalledOnly(), Healthy(1.0), Degraded(2.0, "slow"), NetworkError("refused", 1),
        ApiError("needs_key"),
    ]  # fmt: skip
    assert [state_name(state) for state in states] == [
        "installed-only", "running-healthy", "running-degraded", "error-network", "error-api",
    ]  # fmt: skip
    assert [serves(state) for state in states] == [False, True, True, False, False]
