"""Requests without a key from an address the owner named: whose they are, and when they are not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flm.domain.keys import digest
from flm.gateway.edge.request import Request
from flm.gateway.keyless import KeylessClients, comes_by_itself
from flm.wire.snapshot import KeyEntry, Keys
from support.gateway import (
    KEY,
    KEY_ID,
    OTHER_ID,
    OTHER_KEY,
    PEPPER,
    RunningGateway,
    gateway,
    keys_section,
    target_at,
)
from support.raw_client import CHAT, RawClient, ask, chat, eventually, request
from support.scripted_engine import ScriptedEngine

NAMED = {KEY_ID: KeyEntry(KEY_ID, digest(PEPPER, KEY.encode())),
         OTHER_ID: KeyEntry(OTHER_ID, digest(PEPPER, OTHER_KEY.encode()))}  # fmt: skip


def open_to(*places: tuple[str, str], revision: int = 2) -> Keys:
    """A keys section in which these addresses need no key."""
    return Keys(revision, PEPPER, NAMED, places)


@pytest.fixture(scope="module")
def opened(
    module_engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway to which requests from 127.0.0.1 count as those of `OTHER`."""
    target = target_at(module_engine.port)
    with gateway(tmp_path_factory.mktemp("journal"), target) as running:
        running.delta(keys=open_to(("127.0.0.1", OTHER_ID)))
        yield running


def test_a_request_without_a_key_counts_as_the_address_s(
    opened: RunningGateway, engine: ScriptedEngine
) -> None:
    """It is served, and recorded under that key; again on the same connection."""
    before = len(opened.records())
    with RawClient(opened.port) as client:
        assert [client.ask(chat(key=None)).status for _ in range(2)] == [200, 200]
    eventually(lambda: len(opened.records()) == before + 2)
    assert [record.key_id for record in opened.records()[before:]] == [OTHER_ID] * 2


@pytest.mark.parametrize(
    "lines",
    [
        ("Authorization: Bearer ollama",),
        ("Authorization: Bearer sk-no-key-required",),
        ("x-api-key: lm-studio",),
        ("Authorization: Basic YTpi",),
        ("Authorization:",),
        ("Authorization: Bearer x", "x-api-key: y"),
    ],
)
def test_what_is_no_key_of_flm_s_counts_as_none(
    opened: RunningGateway, lines: tuple[str, ...]
) -> None:
    """SDKs must send something."""
    assert ask(opened.port, request("GET", "/v1/models", *lines, key=None)).status == 200


def test_a_key_that_is_named_counts(opened: RunningGateway, engine: ScriptedEngine) -> None:
    """The address is looked at when there is none."""
    before = len(opened.records())
    assert ask(opened.port, chat(key=KEY)).status == 200
    eventually(lambda: len(opened.records()) == before + 1)
    assert opened.records()[-1].key_id == KEY_ID


WRONG = KEY[:15] + OTHER_KEY[15:]

SPEAKS_AGAINST = {
    "a wrong key": (f"Authorization: Bearer {WRONG}",),
    "a wrong key by the other name": (f"x-api-key: {WRONG}",),
    "half a key": (f"Authorization: Bearer {KEY[:-1]}",),
    "two keys": (f"Authorization: Bearer {KEY}", f"x-api-key: {OTHER_KEY}"),
    "a page": ("Origin: http://localhost:3000",),
    "a page of no origin": ("Origin: null",),
    "a page of FLM's own": ("Origin: http://localhost:8356", "Sec-Fetch-Site: same-origin"),
    "a picture in a page": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
    "a page of the same site": ("Sec-Fetch-Site: same-site",),
    "what nobody knows": ("Sec-Fetch-Site: friendly",),
    "two sites": ("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"),
    "a proxy": ("X-Forwarded-For: 127.0.0.1",),
    "a proxy that says less": ("X-Forwarded-Proto: https",),
    "a proxy by the standard": ("Forwarded: for=127.0.0.1",),
    "a proxy that says so": ("Via: 1.1 box",),
    "nginx": ("X-Real-IP: 127.0.0.1",),
    "a tunnel": ("CF-Connecting-IP: 127.0.0.1",),
    "another": ("Tailscale-User-Login: a@b.c",),
}


@pytest.mark.parametrize("name", SPEAKS_AGAINST)
def test_what_may_be_somebody_else_needs_a_key(opened: RunningGateway, name: str) -> None:
    """A web page that a browser there shows, a proxy or tunnel that runs there, a wrong key."""
    lines = SPEAKS_AGAINST[name]
    response = ask(opened.port, request("GET", "/v1/models", *lines, key=None))
    assert response.status == 401
    assert ask(opened.port, request("GET", "/v1/models", key=None)).status == 200


@pytest.mark.parametrize("site", ["none", "same-origin", " NONE"])
def test_what_a_person_typed_is_theirs(opened: RunningGateway, site: str) -> None:
    """`Sec-Fetch-Site` of a browser's own address line."""
    data = request("GET", "/v1/models", f"Sec-Fetch-Site: {site}", key=None)
    assert ask(opened.port, data).status == 200


def test_old_clients_without_a_host_are_let_in(opened: RunningGateway) -> None:
    """HTTP/1.0 on loopback."""
    data = request("GET", "/v1/models", key=None, host=None, version="1.0")
    assert ask(opened.port, data).status == 200


def test_a_forwarded_address_is_never_believed(opened: RunningGateway) -> None:
    """Only the socket's peer is."""
    opened.delta(keys=open_to(("10.0.0.1", OTHER_ID), revision=3))
    for line in ("X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1"):
        assert ask(opened.port, request("GET", "/v1/models", line, key=None)).status == 401
    opened.delta(keys=open_to(("127.0.0.1", OTHER_ID), revision=4))


def test_it_is_off_unless_somebody_asked_for_it(served: RunningGateway) -> None:
    """No address counts by itself."""
    assert ask(served.port, request("GET", "/v1/models", key=None)).status == 401


def test_it_ends_with_the_acknowledgement(opened: RunningGateway) -> None:
    """On connections that are open too; a key that has expired or is gone opens nothing."""
    asked = request("GET", "/v1/models", key=None)
    past = {OTHER_ID: KeyEntry(OTHER_ID, NAMED[OTHER_ID].digest, time.time() - 1)}
    with RawClient(opened.port) as client:
        assert client.ask(asked).status == 200
        opened.delta(keys=keys_section((KEY_ID, KEY), (OTHER_ID, OTHER_KEY), revision=5))
        assert client.ask(asked).status == 401
        opened.delta(keys=Keys(6, PEPPER, past, (("127.0.0.1", OTHER_ID),)))
        assert client.ask(asked).status == 401
        opened.delta(keys=Keys(7, PEPPER, {}, (("127.0.0.1", OTHER_ID),)))
        assert client.ask(asked).status == 401
        opened.delta(keys=open_to(("127.0.0.0/8", OTHER_ID), revision=8))
        assert client.ask(asked).status == 200


def test_a_refusal_does_not_tell_which_addresses_are_open(opened: RunningGateway) -> None:
    """The same bytes as anywhere."""
    response = ask(opened.port, request("GET", "/v1/models", "Origin: x", key=None))
    assert (response.code, response.headers["www-authenticate"]) == (
        "invalid_api_key", 'Bearer realm="flm"',
    )  # fmt: skip
    assert "127.0.0.1" not in response.message
    assert ask(opened.port, request("POST", CHAT, "Origin: x", key=None, body=b"{}")).status == 401


# Pure.


@pytest.mark.parametrize(
    ("place", "client", "found"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::1", False),
        ("::1", "::1", True),
        ("192.168.1.0/24", "192.168.1.77", True),
        ("192.168.1.0/24", "::ffff:192.168.1.77", True),
        ("192.168.1.0/24", "192.168.2.77", False),
        ("100.64.0.0/10", "100.100.1.2", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fd00::/8", "fd12::1", True),
        ("127.0.0.0/8", "local", False),
        ("127.0.0.0/8", "", False),
    ],
)
def test_a_peer_is_looked_up_as_it_is_meant(place: str, client: str, found: bool) -> None:
    """IPv4 in IPv6's clothes is itself, an interface's name is no part of an address; twice."""
    clients = KeylessClients(Keys(1, PEPPER, NAMED, ((place, KEY_ID),)))
    for _ in range(2):
        assert (clients.entry(client) == NAMED[KEY_ID]) is found


def test_few_peers_are_remembered() -> None:
    """A whole network may come by."""
    clients = KeylessClients(Keys(1, PEPPER, NAMED, (("10.0.0.0/8", KEY_ID),)))
    for number in range(1000):
        assert clients.entry(f"10.0.{number >> 8}.{number & 255}") is NAMED[KEY_ID]
    assert len(clients._known) <= 256


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("192.168.1.5:8356", True), ("[fd00::1]:8356", True), ("localhost", True),
        ("gpubox.lan", True), ("GPUBOX.lan:8356", True), ("evil.example", False),
        ("192.168.1.5.evil.example", False), ("", False),
    ],
)  # fmt: skip
def test_a_name_that_is_not_ours_may_be_a_page_s(host: str, own: bool) -> None:
    """Beyond loopback no Host is refused, and a page's own name can lead here (DNS rebinding)."""
    values = {b"host": host.encode()}
    asked = Request(b"GET", b"/v1/models", values, [], False, True)
    assert comes_by_itself(asked, frozenset({"gpubox.lan"})) is own
