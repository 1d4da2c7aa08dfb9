"""The gateway's rules without a socket: routes, guards, homes, the record of an exchange."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from flm.errors import Refusal, StartError
from flm.gateway.edge.request import Request, decoded
from flm.gateway.endpoints.table import route_table
from flm.gateway.exchange import MAX_NAME, ClientGone, Exchange
from flm.gateway.guards import AFTER_ROUTE
from flm.gateway.guards.content import content_guard
from flm.gateway.guards.credentials import credentials_guard
from flm.gateway.guards.host import HostGuard
from flm.gateway.live import Live
from flm.gateway.routes import Permission, Route, RouteTable
from flm.gateway.running import PARKED, Run
from flm.wire.snapshot import Rules, Snapshot, Target
from support.gateway import KEY, KEY_ID, keys_section, routes_section, target_at


async def endpoint(*_: object) -> None:
    """Nothing."""


def live_with(*targets: Target, hosts: tuple[str, ...] = ()) -> Live:
    """What is in force: one key, these targets, these hosts."""
    rules = Rules(revision=1, allowed_hosts=hosts)
    return Live(Snapshot(keys_section((KEY_ID, KEY)), routes_section(*targets), rules))


def exchange_of(
    fields: dict[bytes, bytes], *, path: bytes = b"/v1/models", method: bytes = b"GET",
    loopback: bool = True, doubled: list[tuple[bytes, bytes]] | None = None,
) -> Exchange:  # fmt: skip
    """An exchange whose head was read and routed."""
    exchange = Exchange(b"req_1", "127.0.0.1", loopback, time.time(), 0.0)
    exchange.request = Request(method, path, fields, doubled or [], False, True)
    exchange.route = route_table().find(method, path)
    return exchange


# Routes.


@pytest.mark.parametrize("permission", ["", "everybody"])
def test_a_route_without_a_permission_stops_the_start(permission: str) -> None:
    """The table cannot even be made; the error names the route."""
    route = Route("/x", b"GET", b"/x", cast("Permission", permission), endpoint)
    with pytest.raises(StartError, match="/x"):
        RouteTable([route])
    with pytest.raises(StartError):
        RouteTable([], options=route)


def test_a_permission_has_no_default() -> None:
    """Forgetting it is an error where the route is written."""
    with pytest.raises(TypeError):
        Route("/x", b"GET", b"/x", endpoint=endpoint)  # type: ignore[call-arg]


PUBLIC = {b"/health", b"/.well-known/flm", b"/", b"/api/version"}
KEYED = {
    (b"GET", b"/v1/models"),
    (b"POST", b"/v1/chat/completions"),
    (b"POST", b"/v1/completions"),
    (b"POST", b"/v1/embeddings"),
    (b"POST", b"/v1/rerank"),
    (b"POST", b"/v1/responses"),
    (b"POST", b"/v1/messages"),
    (b"POST", b"/v1/messages/count_tokens"),
    (b"POST", b"/v1/images/generations"),
    (b"POST", b"/v1/audio/transcriptions"),
    (b"POST", b"/v1/audio/translations"),
    (b"POST", b"/v1/audio/speech"),
    (b"GET", b"/api/tags"),
    (b"GET", b"/api/ps"),
    (b"POST", b"/api/show"),
    (b"POST", b"/api/chat"),
    (b"POST", b"/api/generate"),
    (b"POST", b"/api/embed"),
    (b"POST", b"/api/embeddings"),
    (b"POST", b"/api/pull"),
    (b"POST", b"/api/push"),
    (b"POST", b"/api/create"),
    (b"POST", b"/api/copy"),
    (b"DELETE", b"/api/delete"),
    (b"POST", b"/api/me"),
    (b"POST", b"/api/signout"),
}


def test_every_route_but_what_says_the_same_to_everybody_asks_for_a_key() -> None:
    """And nothing else is served."""
    table = route_table()
    public = {(b"GET", path, "public") for path in PUBLIC}
    keyed = {(method, path, "inference") for method, path in KEYED}
    assert {
        (method, path, route.permission) for (method, path), route in table.exact.items()
    } == public | keyed
    for method, path in (
        (b"GET", b"/v1/models/x"),
        (b"HEAD", b"/v1/models/x"),
        (b"GET", b"/v1/responses/x"),
        (b"DELETE", b"/v1/responses/x"),
        (b"POST", b"/v1/responses/x/cancel"),
        (b"HEAD", b"/api/blobs/x"),
        (b"POST", b"/api/blobs/x"),
    ):
        assert table.find(method, path).permission == "inference"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/v1/models", b"/v1/models"),
        (b"/%76%31", b"/v1"),
        (b"/a%2Fb", b"/a%2Fb"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/%252e", b"/%2e"),
        (b"/%", b"/%"),
        (b"/%zz", b"/%zz"),
        (b"/%00", b"/\x00"),
    ],
)
def test_a_path_is_decoded_once_and_keeps_its_slashes(raw: bytes, expected: bytes) -> None:
    """An encoded slash never becomes one."""
    assert decoded(raw) == expected


# Guards.


def refusal_of(exchange: Exchange, live: Live) -> Refusal | None:
    """What the guards after the route say."""
    try:
        for guard in AFTER_ROUTE:
            guard(exchange, live)
    except Refusal as refusal:
        return refusal
    return None


def test_a_head_that_comes_again_is_judged_again() -> None:
    """What was found in it is remembered; whether it may be used is asked of the keys each time."""
    live = live_with()
    first = exchange_of({b"authorization": b"Bearer " + KEY.encode()})
    credentials_guard(first, live)
    assert first.request is not None
    assert first.request.credential == KEY.encode()
    again = exchange_of({})
    again.request = first.request
    live.use_keys(keys_section())
    with pytest.raises(Refusal, match="valid FLM API key"):
        credentials_guard(again, live)


def test_the_key_is_judged_before_the_content() -> None:
    """A stranger learns nothing of what the route would take."""
    assert (credentials_guard, content_guard) == AFTER_ROUTE
    live = live_with()
    asked = {b"content-type": b"text/plain"}
    stranger = exchange_of(asked, path=b"/v1/chat/completions", method=b"POST")
    refused = refusal_of(stranger, live)
    assert refused is not None
    assert refused.status == 401
    known = exchange_of(
        asked | {b"x-api-key": KEY.encode()}, path=b"/v1/chat/completions", method=b"POST"
    )
    refused = refusal_of(known, live)
    assert refused is not None
    assert refused.status == 415


def test_a_key_that_expires_this_moment_is_expired() -> None:
    """Judged by when the request arrived."""
    live = live_with()
    entry = live.entries[KEY_ID.encode()]
    exchange = exchange_of({b"x-api-key": KEY.encode()})
    live.entries = {KEY_ID.encode(): type(entry)(entry.id, entry.digest, exchange.arrived)}
    assert refusal_of(exchange, live) is not None
    live.entries = {KEY_ID.encode(): type(entry)(entry.id, entry.digest, exchange.arrived + 0.1)}
    assert refusal_of(exchange, live) is None
    assert exchange.key_id == KEY_ID


def test_what_is_not_a_snapshot_s_key_is_refused_under_another_pepper() -> None:
    """A digest made elsewhere means nothing here."""
    live = live_with()
    keys = keys_section((KEY_ID, KEY))
    live.use_keys(type(keys)(2, b"q" * 32, keys.entries))
    assert refusal_of(exchange_of({b"x-api-key": KEY.encode()}), live) is not None


def test_a_host_that_passed_elsewhere_does_not_pass_on_loopback() -> None:
    """Two listeners, one memory: what a public one lets pass is judged again on loopback."""
    guard, live = HostGuard(), live_with()
    asked = {b"host": b"evil.example"}
    guard(exchange_of(asked, loopback=False), live)
    with pytest.raises(Refusal) as refused:
        guard(exchange_of(asked), live)
    assert refused.value.code == "host_not_allowed"


def test_what_the_host_guard_remembers_is_bounded() -> None:
    """There are more loopback addresses than anybody needs."""
    guard, live = HostGuard(), live_with()
    for number in range(1000):
        guard(exchange_of({b"host": b"127.0.%d.%d" % divmod(number, 256)}), live)
    assert len(guard._good) <= 256


def test_a_remembered_host_beside_a_second_one_is_refused() -> None:
    """The memory is for requests with one Host only."""
    guard, live = HostGuard(), live_with()
    guard(exchange_of({b"host": b"localhost"}), live)
    with pytest.raises(Refusal, match="exactly one Host"):
        guard(exchange_of({b"host": b"localhost"}, doubled=[(b"host", b"evil.example")]), live)


# Homes.


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "e/Qwen/Qwen3-8B", "flm://e/Qwen/Qwen3-8B"])
def test_a_model_is_shown_by_every_name_that_requests_may_use(name: str) -> None:
    """`GET /v1/models/{id}` resolves as a chat does."""
    assert live_with(target_at(1, "Qwen/Qwen3-8B")).entry(name).name == "Qwen/Qwen3-8B"


def test_an_unknown_model_is_shown_to_nobody() -> None:
    """The refusal names the nearest one."""
    with pytest.raises(Refusal, match="Did you mean 'Qwen/Qwen3-8B'"):
        live_with(target_at(1, "Qwen/Qwen3-8B")).entry("e/qwen3-8b")


def test_the_least_loaded_home_that_is_awake_is_chosen() -> None:
    """Sleeping ones come last, whatever they do."""
    asleep = Target(id="c/m", engine="c", model="m", dialect="openai")
    live = live_with(asleep, target_at(1, engine="a"), target_at(2, engine="b"))
    first = live.candidates("m", "", 0.0)[0]
    assert first.target.id == "a/m"
    first.in_flight += 1
    second = live.candidates("m", "", 0.0)[0]
    assert second.target.id == "b/m"
    second.in_flight += 2
    assert live.candidates("m", "", 0.0)[0].target.id == "a/m"
    assert live.candidates("b/m", "", 0.0)[0].target.id == "b/m"
    assert live.candidates("flm://c/m", "", 0.0)[0].target.id == "c/m"


def test_a_name_that_looks_like_an_engine_s_is_the_model_s_first() -> None:
    """The exact name, then `<engine>/<name>` (PRODUCT.md, Words)."""
    live = live_with(target_at(1, "Qwen/x"), target_at(2, "x", engine="Qwen"))
    assert live.candidates("Qwen/x", "", 0.0)[0].target.id == "e/Qwen/x"


def test_a_target_that_stays_keeps_its_connections() -> None:
    """A delta that says the same again changes nothing; the last use survives a move."""
    live = live_with(target_at(1))
    before = live.candidates("m", "", 0.0)[0]
    before.last_use = 5.0
    live.use_routes(routes_section(target_at(1), revision=2))
    assert live.candidates("m", "", 0.0)[0] is before
    live.use_routes(routes_section(target_at(2), revision=3))
    moved = live.candidates("m", "", 0.0)[0]
    assert moved is not before
    assert moved.last_use == 5.0
    assert moved.pool is not before.pool


def test_the_last_use_of_a_withdrawn_target_is_not_lost() -> None:
    """It ended after its target was put to sleep: that it was used still counts."""
    live = live_with(target_at(1))
    before = live.candidates("m", "", 0.0)[0]
    before.in_flight = 1
    asleep = Target(id="e/m", engine="e", model="m", dialect="openai")
    live.use_routes(routes_section(asleep, revision=2))
    assert before.withdrawn
    assert live.stats()["e/m"].in_flight == 1
    before.in_flight = 0
    before.last_use = 7.0
    assert (live.stats()["e/m"].in_flight, live.stats()["e/m"].last_use) == (0, 7.0)


# Exchanges.


async def test_an_exchange_is_aborted_once() -> None:
    """The first reason counts; one that has ended is not aborted any more."""
    exchange = Exchange(b"req_1", "c", True, 0.0, 0.0)
    exchange.abort(ClientGone())
    assert exchange.aborted is None
    seen: list[type[BaseException]] = []

    async def wait() -> None:
        try:
            await PARKED
        except asyncio.CancelledError as cancelled:
            seen.append(type(cancelled))

    exchange.run = Run(wait())
    exchange.run.step()
    first = ClientGone()
    exchange.abort(first)
    exchange.abort(Refusal(504, "engine_timeout", "late"))
    assert exchange.aborted is first
    assert seen == [asyncio.CancelledError]
    assert exchange.run.over
    done = Exchange(b"req_2", "c", True, 0.0, 0.0)
    done.run = exchange.run
    done.abort(first)
    assert done.aborted is None


def test_what_a_record_keeps_of_names_is_bounded() -> None:
    """Paths and models are a stranger's to choose."""
    exchange = Exchange(b"req_1", "c", True, 1.0, 2.0)
    exchange.model = exchange.route_name = "x" * 10_000
    record = exchange.record(2.5)
    assert (len(record.model), len(record.route)) == (MAX_NAME, MAX_NAME)
    assert record.latency_ms == 500.0
