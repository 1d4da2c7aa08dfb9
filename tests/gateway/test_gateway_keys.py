"""Keys and headers: who is let in, and what of a request an engine gets to see."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flm.domain.keys import OWNER_LOOKUP_ID, digest, new_key
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
from support.raw_client import CHAT, RawClient, Response, ask, chat, request
from support.scripted_engine import ScriptedEngine, answer_body, answering, sized

THIRD_ID, THIRD_KEY = new_key(lambda alphabet: alphabet[11])
OWNER_KEY = new_key(lambda alphabet: alphabet[13], OWNER_LOOKUP_ID)[1]


def without_its_own(response: Response) -> tuple[object, ...]:
    """A response without what is different in every response."""
    lines = tuple(line for line in response.lines if line[0] not in ("x-request-id", "date"))
    return response.status, lines, response.body


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> RunningGateway:
    """A gateway that knows a good key, an expired one and the owner's; `OTHER` was revoked."""
    with gateway(tmp_path_factory.mktemp("journal")) as running:
        entries = {
            KEY_ID: KeyEntry(KEY_ID, digest(PEPPER, KEY.encode()), time.time() + 3600),
            THIRD_ID: KeyEntry(THIRD_ID, digest(PEPPER, THIRD_KEY.encode()), time.time() - 1),
            OWNER_LOOKUP_ID: KeyEntry(OWNER_LOOKUP_ID, digest(PEPPER, OWNER_KEY.encode())),
        }
        running.delta(keys=keys_section((KEY_ID, KEY), (OTHER_ID, OTHER_KEY), revision=2))
        running.delta(keys=Keys(3, PEPPER, entries), revoked=(OTHER_ID,))
        yield running


WRONG_CHECKSUM = KEY[:-1] + ("0" if KEY[-1] != "0" else "1")
UNKNOWN = new_key(lambda alphabet: alphabet[20])[1]
WRONG_SECRET = KEY[:15] + UNKNOWN[15:]

BAD = {
    "missing": (),
    "empty": ("Authorization:",),
    "no scheme": (f"Authorization: {KEY}",),
    "basic": ("Authorization: Basic YTpi",),
    "malformed": ("Authorization: Bearer sk-123",),
    "too short": (f"Authorization: Bearer {KEY[:-1]}",),
    "too long": (f"Authorization: Bearer {KEY}0",),
    "quoted": (f'Authorization: Bearer "{KEY}"',),
    "not ASCII": ("Authorization: Bearer flm_\xe9",),
    "an SQL in it": ("Authorization: Bearer flm_' OR '1'='1",),
    "very long": ("Authorization: Bearer " + "f" * 30000,),
    "wrong checksum": (f"Authorization: Bearer {WRONG_CHECKSUM}",),
    "unknown": (f"Authorization: Bearer {UNKNOWN}",),
    "wrong secret": (f"Authorization: Bearer {WRONG_SECRET}",),
    "revoked": (f"Authorization: Bearer {OTHER_KEY}",),
    "expired": (f"Authorization: Bearer {THIRD_KEY}",),
    "expired as x-api-key": (f"X-Api-Key: {THIRD_KEY}",),
    "a dummy as x-api-key": ("X-Api-Key: dummy",),
    "in an underscore": (f"X_Api_Key: {KEY}",),
    "in a cookie": (f"Cookie: key={KEY}; authorization=Bearer {KEY}",),
    "in a forwarded header": (f"X-Forwarded-Authorization: Bearer {KEY}",),
    "in Proxy-Authorization": (f"Proxy-Authorization: Bearer {KEY}",),
    "a health checker": ("User-Agent: ELB-HealthChecker/2.0",),
}


@pytest.mark.parametrize("lines", BAD.values(), ids=BAD)
def test_every_refusal_of_a_key_is_the_same_401(
    keyed: RunningGateway, lines: tuple[str, ...]
) -> None:
    """To the byte, but for the request's id and the date."""
    plain = ask(keyed.port, request("GET", "/v1/models", key=None))
    assert (plain.status, plain.code) == (401, "invalid_api_key")
    assert plain.headers["www-authenticate"] == 'Bearer realm="flm"'
    refused = ask(keyed.port, request("GET", "/v1/models", *lines, key=None))
    assert without_its_own(refused) == without_its_own(plain)


def test_a_key_in_the_query_is_no_key(keyed: RunningGateway) -> None:
    """It would be in every log on the way."""
    assert ask(keyed.port, request("GET", f"/v1/models?key={KEY}", key=None)).status == 401


GOOD = {
    "bearer": (f"Authorization: Bearer {KEY}",),
    "lower case": (f"authorization: bearer {KEY}",),
    "upper case": (f"AUTHORIZATION: BEARER {KEY}",),
    "blanks around it": (f"Authorization: Bearer   {KEY}  ",),
    "x-api-key": (f"x-api-key: {KEY}",),
    "both equal": (f"x-api-key: {KEY}", f"Authorization: Bearer {KEY}"),
    "a dummy bearer": ("Authorization: Bearer dummy", f"x-api-key: {KEY}"),
    "a dummy x-api-key": (f"Authorization: Bearer {KEY}", "x-api-key: sk-ant-123"),
    "basic beside it": ("Authorization: Basic YTpi", f"x-api-key: {KEY}"),
    "the same twice": (f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}"),
}


@pytest.mark.parametrize("lines", GOOD.values(), ids=GOOD)
def test_a_good_key_is_found(keyed: RunningGateway, lines: tuple[str, ...]) -> None:
    """If exactly one credential has FLM's form it counts, and the others are dropped."""
    assert ask(keyed.port, request("GET", "/v1/models", *lines, key=None)).status == 200
    assert keyed.records()[-1].key_id == KEY_ID


@pytest.mark.parametrize(
    "lines",
    [
        (f"Authorization: Bearer {KEY}", f"x-api-key: {OTHER_KEY}"),
        (f"x-api-key: {OTHER_KEY}", f"Authorization: Bearer {KEY}"),
        (f"x-api-key: {UNKNOWN}", f"Authorization: Bearer {KEY}"),
        (f"Authorization: Bearer {KEY}", f"Authorization: Bearer {OTHER_KEY}"),
        (f"x-api-key: {KEY}", f"x-api-key: {OTHER_KEY}"),
    ],
)
def test_two_different_keys_conflict(keyed: RunningGateway, lines: tuple[str, ...]) -> None:
    """Neither is taken for the other; the refusal names both headers."""
    response = ask(keyed.port, request("GET", "/v1/models", *lines, key=None))
    assert (response.status, response.code) == (401, "conflicting_credentials")
    assert "Authorization" in response.message
    assert "x-api-key" in response.message


def test_the_owner_key_is_recorded_as_owner(keyed: RunningGateway) -> None:
    """Like everybody's requests, under a name of its own."""
    assert ask(keyed.port, request("GET", "/v1/models", key=OWNER_KEY)).status == 200
    assert keyed.records()[-1].key_id == "owner"


def test_a_refused_key_is_recorded_without_the_key(keyed: RunningGateway) -> None:
    """Neither its text nor a guess whose it was."""
    ask(keyed.port, request("GET", "/v1/models", key=OTHER_KEY))
    record = keyed.records()[-1]
    assert (record.status, record.error, record.key_id) == (401, "invalid_api_key", "")
    files = [path.read_bytes() for path in keyed.journal.rglob("*.seg")]
    assert not any(KEY.encode() in data or OTHER_KEY.encode() in data for data in files)


def test_health_asks_for_no_key_and_tells_nothing(keyed: RunningGateway) -> None:
    """With a wrong key as without one."""
    for key in (None, UNKNOWN, KEY):
        response = ask(keyed.port, request("GET", "/health", key=key))
        assert (response.status, response.body) == (200, b'{"status":"ok"}')


# What an engine sees.

CLIENT_LINES = (
    "Cookie: session=secret",
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-User: root",
    "X_Forwarded_User: root",
    "Forwarded: for=1.2.3.4",
    "X-Real-IP: 1.2.3.4",
    "Via: 1.1 evil",
    "Proxy-Authorization: Basic YTpi",
    "Proxy-Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "TE: trailers",
    "Connection: keep-alive, X-Secret",
    "X-Secret: hop by hop",
    "OpenAI-Organization: org",
    "Accept-Encoding: gzip, br",
    "User-Agent: evil/1.0",
    "Accept: text/html",
    "Content-Type: application/json; charset=utf-8",
    "Host_: evil.example",
    "Content_Length: 5",
    "X-Request-Id: mine",
    "Origin: https://evil.example",
)


def test_a_request_to_an_engine_is_made_from_scratch(tmp_path: Path) -> None:
    """Of the client's headers not one reaches it, least of all its credentials."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        with gateway(tmp_path, target_at(engine.port)) as running:
            response = ask(running.port, chat(*CLIENT_LINES, f"x-api-key: {KEY}"))
        assert response.status == 200
        seen = engine.seen[0]
    assert seen.headers == {
        "host": f"127.0.0.1:{engine.port}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream, application/x-ndjson",
        "accept-encoding": "identity",
        "user-agent": "flm",
        "x-request-id": response.headers["x-request-id"],
        "content-length": str(len(seen.body)),
    }
    assert KEY.encode() not in seen.body


def test_an_engine_gets_its_own_key(tmp_path: Path) -> None:
    """Not the client's."""
    with ScriptedEngine(answering(sized(answer_body()))) as engine:
        target = target_at(engine.port, authorization="Bearer engine-key")
        with gateway(tmp_path, target) as running:
            ask(running.port, chat())
    assert engine.seen[0].headers["authorization"] == "Bearer engine-key"


def test_an_engine_s_headers_stay_here(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Its cookies, server name and CORS headers are none of the client's."""
    lines = ("Set-Cookie: a=b", "Server: llama.cpp", "Access-Control-Allow-Origin: *", "X-Y: z")
    engine.script = answering(sized(answer_body(), "200 OK", *lines))
    headers = ask(served.port, chat()).headers
    assert set(headers) == {
        "date", "x-content-type-options", "cache-control", "content-type", "x-request-id",
        "content-length",
    }  # fmt: skip


def test_the_model_has_the_client_s_name_here_and_the_engine_s_there(tmp_path: Path) -> None:
    """Both ways, whole and streamed; every other field arrives as it was sent."""
    with ScriptedEngine(answering(sized(answer_body(model="/models/x.gguf")))) as engine:
        target = target_at(engine.port, "Qwen/Qwen3-8B", model="/models/x.gguf")
        with gateway(tmp_path, target) as running:
            more = {"seed": 1, "tools": [], "mirostat": 2, "stop": ["a", "b"]}
            for name in ("Qwen/Qwen3-8B", "e/Qwen/Qwen3-8B", "flm://e/Qwen/Qwen3-8B"):
                response = ask(running.port, chat(model=name, **more))
                assert response.json()["model"] == name
    for seen in engine.seen:
        sent = json.loads(seen.body)
        assert sent["model"] == "/models/x.gguf"
        assert {name: sent[name] for name in more} == more


@pytest.mark.parametrize(
    ("status", "code", "lines"),
    [
        (415, "unsupported_media_type", ("Content-Type: text/plain",)),
        (415, "unsupported_media_type", ("Content-Type: application/x-www-form-urlencoded",)),
        (415, "unsupported_media_type", ("Content-Type: multipart/form-data; boundary=x",)),
        (415, "unsupported_encoding", ("Content-Encoding: compress",)),
        (415, "unsupported_encoding", ("Content-Encoding: identity, zip",)),
    ],
)
def test_a_body_that_is_no_plain_json_is_415(
    served: RunningGateway, status: int, code: str, lines: tuple[str, ...]
) -> None:
    """What the judge cannot read no engine gets."""
    response = ask(served.port, chat(*lines))
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON ; charset=UTF-8", "application/vnd.x+json"]
)
def test_json_by_any_of_its_names_is_taken(
    served: RunningGateway, engine: ScriptedEngine, kind: str
) -> None:
    """And a missing content type is taken for it."""
    assert ask(served.port, chat(f"Content-Type: {kind}")).status == 200


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("invalid_json", b""),
        ("invalid_json", b"{"),
        ("invalid_json", b"[]"),
        ("invalid_json", b'{"model":"m","messages":' + b"[" * 65 + b"]" * 65 + b"}"),
        ("invalid_json", b"[" * 1_000_000),
        ("invalid_json", b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}'),
        ("missing_required_parameter", b'{"model":"m"}'),
        ("invalid_value", b'{"model":"m","messages":[],"temperature":-3}'),
        ("dangerous_parameter", b'{"model":"m","messages":[],"base_url":"http://evil.example"}'),
        ("dangerous_parameter", b'{"model":"m","messages":[],"n_discard":-1}'),
    ],
)
def test_a_body_that_will_not_do_is_400_and_the_connection_lives(
    served: RunningGateway, engine: ScriptedEngine, code: str, body: bytes
) -> None:
    """It was read to its end: the next request on the connection is fine."""
    with RawClient(served.port) as client:
        data = request("POST", CHAT, "Content-Length: 0" if not body else "X: y", body=body)
        response = client.ask(data)
        assert (response.status, response.code) == (400, code)
        assert client.ask(chat()).status == 200
    assert len(engine.seen) == 1


def test_of_duplicate_fields_judge_and_engine_see_the_same(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The body is built again from the decoded fields."""
    body = b'{"model":"nope","messages":[{"role":"user","content":"a"}],"model":"m"}'
    assert ask(served.port, request("POST", CHAT, body=body)).status == 200
    assert engine.seen[0].body.count(b'"model"') == 1
