"""Which names and paths are served: DNS rebinding and path tricks get nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.wire.snapshot import Rules
from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import CHAT, RawClient, ask, chat, request
from support.scripted_engine import ScriptedEngine, answer_body, answering, sized

GOOD_HOSTS = [
    "localhost", "LOCALHOST", "localhost:8356", "localhost.", "localhost.:8356", "127.0.0.1",
    "127.0.0.1:1", "127.9.9.9:8356", "[::1]", "[::1]:8356", "[0:0:0:0:0:0:0:1]:8356",
    "host.docker.internal", "Host.Docker.Internal:8356",
]  # fmt: skip

FOREIGN_HOSTS = [
    "evil.example", "evil.example:8356", "localhost.evil.example", "10.0.0.1", "192.168.1.5:8356",
    "0.0.0.0", "[::2]", "[fe80::1]:8356", "127.0.0.1.evil.example", "example.localhost",
    "[fe80::1%25eth0]",
    "2130706433", "localhostx",
]  # fmt: skip

MALFORMED_HOSTS = [
    "x/?", "localhost/", "localhost?x", "localhost#x", "user@localhost", "user:pass@localhost",
    "localhost, evil.example", "localhost evil", "localhost:port", "localhost:", "localhost:123456",
    "[::1", "::1", "[::1]x", "[localhost]", "[::1]:", "http://localhost",
    "local\\host", "-localhost", "localhost..", "%6cocalhost", "\xe9",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_this_machine_s_names_are_served(served: RunningGateway, host: str) -> None:
    """In every spelling; a second time too."""
    with RawClient(served.port) as client:
        for _ in range(2):
            assert client.ask(request("GET", "/health", host=host)).status == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_other_names_are_421_and_name_the_setting(served: RunningGateway, host: str) -> None:
    """A page on the web that points its name at 127.0.0.1 gets nothing, with a key or without."""
    for path in ("/health", "/v1/models", "/nope"):
        response = ask(served.port, request("GET", path, host=host))
        assert (response.status, response.code) == (421, "host_not_allowed")
        assert "server.allowed_hosts" in response.message


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_malformed_names_are_400(served: RunningGateway, host: str) -> None:
    """They are compared with nothing and rebuilt into nothing."""
    response = ask(served.port, request("GET", "/v1/models", host=host))
    assert (response.status, response.headers["connection"]) == (400, "close")


def test_forwarded_hosts_count_for_nothing(served: RunningGateway) -> None:
    """Only Host itself is judged."""
    lines = ("X-Forwarded-Host: localhost", "Forwarded: host=localhost", "X-Host: localhost")
    assert ask(served.port, request("GET", "/health", *lines, host="evil.example")).status == 421
    lines = ("X-Forwarded-Host: evil.example",)
    assert ask(served.port, request("GET", "/health", *lines)).status == 200


def test_a_name_that_was_good_is_judged_again_after_a_change(tmp_path: Path) -> None:
    """`server.allowed_hosts` is in force with the acknowledgement, both ways."""
    allowed = Rules(revision=2, allowed_hosts=("My-Box.local",))
    with gateway(tmp_path) as running, RawClient(running.port) as client:
        asked = request("GET", "/health", host="my-box.local:8356")
        assert client.ask(asked).status == 421
        running.delta(rules=allowed)
        assert [client.ask(asked).status for _ in range(3)] == [200] * 3
        running.delta(rules=Rules(revision=3))
        assert client.ask(asked).status == 421


def test_a_listener_that_is_not_loopback_takes_any_name(tmp_path: Path) -> None:
    """The allowlist guards loopback; elsewhere the key does. Malformed stays malformed."""
    with gateway(tmp_path, loopback=False) as running:
        assert ask(running.port, request("GET", "/health", host="flm.example")).status == 200
        assert ask(running.port, request("GET", "/health", host="x/?")).status == 400
        data = request("GET", "/health", version="1.0", host=None)
        assert ask(running.port, data).status == 400


TRICKS = [
    "/v1/../v1/models", "/v1/./models", "//v1/models", "/v1//models", "/v1/models//", "/v1/models;",
    "/v1;x/models", "/v1/models;jsessionid=1", "/v1%2fmodels", "/v1%2Fmodels", "/v1%2f..%2fhealth",
    "/%2e%2e/v1/models", "/v1/%2e%2e/v1/models", "/v1/%2e/models", "/v1/models%00", "/v1%00/models",
    "/v1/models%2f", "/v1/models%20", "/v1/models.", "/V1/models", "/v1/Models", "/v1/models%3f",
    "/v1/models%23", "/%252e%252e/v1/models", "/%2576%2531/models", "/v1%5cmodels", "/v1\\models",
    "/v1/chat/completions//", "/v1/chat%2fcompletions", "/v1/chat/completions;x",
    "/v1/chat/../models", "/admin", "/.env", "/metrics", "/health//", "/health/../v1/models",
    "/v1/v1/v1/models", "/v1/v1//models", "/v1/v1/../models", "/v1/%761/models", "/v1/v1/health",
    "/v1/v1/", "/v1/v1",
    "/%", "/%zz", "/v1/models%", "/v1/%6d%6fdels%2f", "/v1/models&x", "/api//tags", "/API/tags",
    "/docs",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_a_trick_is_no_route(served: RunningGateway, path: str) -> None:
    """Decoded once and looked up: what is not in the table is 404, for every method alike."""
    for method in ("GET", "POST", "OPTIONS"):
        assert ask(served.port, request(method, path)).status == 404


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/v1/models", "/v1/v1/models/"])
def test_a_base_url_with_too_much_in_it_is_understood(served: RunningGateway, path: str) -> None:
    """A slash at the end, `/v1` twice: the same route, with its permission and its methods."""
    assert ask(served.port, request("GET", path)).json()["data"][0]["id"] == "m"
    assert ask(served.port, request("GET", path, key=None)).status == 401
    assert ask(served.port, request("POST", path)).headers["allow"] == "GET, HEAD, OPTIONS"
    allowed = ask(served.port, request("OPTIONS", path), bodiless=True)
    assert (allowed.status, allowed.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


def test_so_are_chats_and_models_names(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Again and again on one connection, and recorded under the route's own name."""
    with RawClient(served.port) as client:
        asked = chat().replace(CHAT.encode(), b"/v1/v1/chat/completions/")
        assert [client.ask(asked).status for _ in range(3)] == [200] * 3
        assert client.ask(request("GET", "/v1/v1/models/m")).json()["id"] == "m"
        assert client.ask(request("GET", "/v1/models/m/")).json()["id"] == "m"
    assert {record.route for record in served.records()[-5:-2]} == {CHAT}


def test_ordinary_escapes_mean_what_they_say(served: RunningGateway) -> None:
    """One decoding: RFC 3986 section 6.2.2.2. The query is in no route."""
    assert ask(served.port, request("GET", "/v1/%6dodels")).status == 200
    assert ask(served.port, request("GET", "/health?x=/../y%2f")).status == 200
    assert ask(served.port, request("GET", "/v1/models?limit=20")).status == 200


def test_what_a_route_lies_behind_is_its_permission(served: RunningGateway) -> None:
    """However its path is spelled, a route asks for a key."""
    for path in ("/v1/models", "/v1/%6dodels", "/v1/models/m", "/v1/%6dodels/%6d", CHAT):
        method = "POST" if path == CHAT else "GET"
        assert ask(served.port, request(method, path, key=None)).status == 401


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/Qwen%2FQwen3-8B", "Qwen/Qwen3-8B"),
        ("/v1/models/Qwen%2fQwen3-8B", "Qwen/Qwen3-8B"),
        ("/v1/models/Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("/v1/%6dodels/Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("/v1/models/%E5%BF%83:8b", "心:8b"),
        ("/v1/models/a%20b", "a b"),
        ("/v1/models/50%25", "50%"),
        ("/v1/models/..%2F..", "../.."),
    ],
)
def test_a_model_s_name_may_hold_anything(tmp_path: Path, path: str, name: str) -> None:
    """SDKs encode its slashes; it is compared as a string and never used as a path."""
    with gateway(tmp_path, target_at(9, name)) as running:
        response = ask(running.port, request("GET", path))
        assert (response.status, response.json()["id"]) == (200, name)
        assert running.records()[-1].model == name


def test_names_in_paths_lead_nowhere_else(served: RunningGateway) -> None:
    """What looks like a path is a name that does not exist."""
    for name in (
        "../chat/completions",
        "%2e%2e/health",
        "m%2f..%2fhealth",
        "%00",
        "m%00",
        "M%2525",
    ):
        response = ask(served.port, request("GET", f"/v1/models/{name}"))
        assert (response.status, response.code) == (404, "model_not_found")


def test_the_path_of_an_engine_is_never_the_client_s(tmp_path: Path) -> None:
    """The query and the spelling of the path stay here; the engine's prefix is in front."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        target = target_at(engine.port, prefix="/base")
        with gateway(tmp_path, target) as running:
            data = chat().replace(b"/v1/chat/completions", b"/v1/chat/%63ompletions?x=1&y=/../")
            assert ask(running.port, data).status == 200
    assert engine.seen[0].path == "/base/v1/chat/completions"
