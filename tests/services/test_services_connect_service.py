"""`flm connect` over a real store and real files, against a gateway that says what it is told."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flm.domain.engines import EngineId
from flm.domain.keys import has_form, id_of
from flm.domain.models import Model
from flm.errors import InvalidValue, NotPermitted, NotRunning, UserError
from flm.paths import DataPaths
from flm.ports.notify import Notify
from flm.ports.processes import current
from flm.ports.processes.machine import LocalMachine
from flm.ports.processes.user_files import LocalUserFiles
from flm.ports.repositories import Store
from flm.services.connect.keeping import Keeping
from flm.services.connect.service import ConnectService
from flm.services.connect.situation import CLIENTS, ClientName
from flm.services.connect.wishes import Wish
from flm.services.keys import KeyService
from flm.store import FileSecrets
from flm.wire.control import GatewayStatus, Handle, Status
from services.conftest import OwnClock
from services.connect_support import KEY

OWNER = "flm_FLM0owner0_pH8CIzN7ldHefAI8bqJuSafaebA8ACYp96hFrj841yS0vu27W"
ANSWERS: dict[str, Any] = {
    "/v1/messages": {
        "type": "message", "model": "big", "content": [{"type": "text", "text": "OK"}],
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 2},
    },
    "/v1/responses": {
        "object": "response", "model": "big", "output": [],
        "usage": {"input_tokens": 12, "output_tokens": 3},
    },
    "/v1/chat/completions": {
        "model": "big", "choices": [{"message": {"content": "OK"}}],
        "usage": {"prompt_tokens": 13, "completion_tokens": 4},
    },
    "/v1/models": {"object": "list", "data": [{"id": "big"}, {"id": "small"}]},
    "/v1/models/my-api": {
        "id": "my-api", "context_length": 40_960, "capabilities": ["chat", "tools"],
        "engines": ["ollama"], "remote": False,
    },
}  # fmt: skip


def model(name: str, **more: Any) -> Model:
    """A chat model of Ollama's."""
    facts: dict[str, Any] = {"capabilities": ("chat", "tools"), "context_length": 131_072}
    return Model(name=name, engine=EngineId("ollama"), **{**facts, **more})


class Gateway:
    """A scripted gateway, and the controller that tells of it. Implements `Running`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.models: tuple[Model, ...] = (model("small", context_length=4_096), model("big"))
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.failing: dict[str, tuple[int, Any]] = {}
        self.runs = True

    def status(self, wait: float = 0.0) -> Status | None:
        """It serves, or nothing does."""
        if not self.runs:
            return None
        handle = Handle(name="api", host="127.0.0.1", port=1, base_url=f"{self.url}/v1")
        return Status(
            state="started", pid=1, version="0", started_at=0.0, foreground=True, demo=False,
            handles=(handle,), gateway=GatewayStatus(pid=2, ready=True), models=self.models,
        )  # fmt: skip

    def owner_key(self) -> str:
        """Always the same."""
        return OWNER

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        """What was scripted for that path."""
        self.asked.append((path, headers, body))
        missing = {"error": {"message": "No such model.", "code": "model_not_found"}}
        return self.failing.get(path) or (
            (200, ANSWERS[path]) if path in ANSWERS else (404, missing)
        )


@contextmanager
def serving() -> Iterator[Gateway]:
    """On a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told = gateway.answer(self.path, headers, body)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway = Gateway(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield gateway
        server.shutdown()


class House:
    """The service, and what stands around it."""

    def __init__(self, gateway: Gateway, keys: KeyService, paths: DataPaths, home: Path) -> None:
        self.gateway = gateway
        self.keys = keys
        self.home = home
        environ = {"HOME": str(home), "USERPROFILE": str(home)}
        lock = paths.root / "connect.lock"
        self.service = ConnectService(
            gateway,
            lambda: keys,
            LocalUserFiles(),
            Keeping(paths.connect, lambda: FileSecrets(paths)),
            LocalMachine(environ),
            OwnClock(1_767_225_600.0),
            lambda: current(None).lock(lock),
        )

    def labels(self, state: str = "active") -> list[str]:
        """Of the keys in that state."""
        return [key.label for key in self.keys.all() if key.state(1_767_225_601.0) == state]


@pytest.fixture
def house(
    store: Store, paths: DataPaths, clock: OwnClock, bell: Notify, tmp_path: Path
) -> Iterator[House]:
    """A user with an empty home folder."""
    keys = KeyService(store.keys, FileSecrets(paths), clock, secrets.choice, bell)
    home = tmp_path / "home"
    home.mkdir()
    with serving() as gateway:
        yield House(gateway, keys, paths, home)


@pytest.mark.parametrize("client", CLIENTS)
def test_showing_settings_changes_nothing(house: House, client: ClientName) -> None:
    """No file, no key; and the request is the owner's."""
    made = house.service.make(Wish(client))
    proof = house.service.prove(made)

    assert (made.written, made.key, house.keys.all()) == ((), None, [])
    assert list(house.home.iterdir()) == []
    assert house.gateway.asked[0][1]["authorization"] == f"Bearer {OWNER}"
    assert proof.path == house.gateway.asked[0][0]


@pytest.mark.parametrize(
    ("client", "path", "tokens"),
    [
        ("claude", "/v1/messages", (11, 2, None)),
        ("codex", "/v1/responses", (12, 3, None)),
        ("open-webui", "/v1/chat/completions", (13, 4, None)),
        ("continue", "/v1/chat/completions", (13, 4, None)),
        ("aider", "/v1/chat/completions", (13, 4, None)),
        ("zed", "/v1/chat/completions", (13, 4, None)),
        ("env", "/v1/models", (None, None, 2)),
    ],
)
def test_the_proof_is_a_request_of_the_clients_own_kind(
    house: House, client: ClientName, path: str, tokens: tuple[int | None, ...]
) -> None:
    """A small one, and its tokens are told."""
    proof = house.service.prove(house.service.make(Wish(client)))
    (asked, headers, body) = house.gateway.asked[0]

    assert (asked, proof.model) == (path, "big")
    assert (proof.tokens_in, proof.tokens_out, proof.models) == tokens
    assert ("anthropic-version" in headers) is (client == "claude")
    assert body is None or 16 in body.values()


def test_written_settings_hold_a_key_of_their_own(house: House) -> None:
    """With which the request is made; the store knows it by the client's name."""
    made = house.service.make(Wish("claude", write=True))
    house.service.prove(made)
    env = json.loads((house.home / ".claude" / "settings.json").read_text())["env"]

    assert env["ANTHROPIC_BASE_URL"] == house.gateway.url
    assert env["ANTHROPIC_MODEL"] == "big"
    assert has_form(env["ANTHROPIC_AUTH_TOKEN"].encode())
    assert house.gateway.asked[-1][1]["authorization"] == f"Bearer {env['ANTHROPIC_AUTH_TOKEN']}"
    assert house.labels() == ["Claude Code (flm connect)"]
    assert made.show is False


@pytest.mark.parametrize("client", ["claude", "codex", "continue", "aider", "zed"])
def test_writing_twice_is_writing_once(house: House, client: ClientName) -> None:
    """One key, the same files, no second backup; and all of it can be undone."""
    (house.home / ".codex").mkdir()
    (house.home / ".codex" / "config.toml").write_text('model = "gpt-5"\n')
    first = house.service.make(Wish(client, write=True))
    files = {path: path.read_bytes() for path in house.home.rglob("*") if path.is_file()}
    again = house.service.make(Wish(client, write=True))

    assert {path: path.read_bytes() for path in house.home.rglob("*") if path.is_file()} == files
    assert [each.changed for each in again.written] == [False] * len(first.written)
    assert (again.key_id, again.show) == (first.key_id, False)
    undone = house.service.undo(client)
    assert undone.key_id == first.key_id
    assert house.labels() == []
    left = sorted(path.name for path in house.home.rglob("*") if path.is_file())
    assert [name for name in left if "backup" not in name] == ["config.toml"]
    assert (house.home / ".codex" / "config.toml").read_text() == 'model = "gpt-5"\n'


def test_undo_needs_no_gateway(house: House) -> None:
    """And nothing is found the second time."""
    house.service.make(Wish("zed", write=True))
    house.gateway.runs = False

    assert house.service.undo("zed").files[0].removed
    assert (house.service.undo("zed").files, house.service.undo("zed").key_id) == ((), None)


def test_a_key_that_no_file_holds_is_shown_once(house: House) -> None:
    """Zed reads a variable: the second run says which key it has."""
    first = house.service.make(Wish("zed", write=True))
    again = house.service.make(Wish("zed", write=True))

    assert (first.show, again.show) == (True, False)
    assert first.key is not None
    assert id_of(first.key.encode()) == first.key_id == again.key_id
    assert again.key is None


def test_a_new_key_takes_the_place_of_the_one_made_before(house: House) -> None:
    """Which is revoked; so is one whose file the user emptied."""
    house.service.make(Wish("claude", write=True))
    house.service.make(Wish("claude", write=True, label="laptop"))

    assert house.labels() == ["laptop"]
    (house.home / ".claude" / "settings.json").write_text("{}")
    house.service.make(Wish("claude", write=True))
    assert house.labels() == ["Claude Code (flm connect)"]


def test_a_given_key_is_used_and_never_revoked(house: House) -> None:
    """It is the user's."""
    _, clear = house.keys.create("mine")
    house.service.make(Wish("aider", key=clear, write=True))

    assert clear in (house.home / ".aider.conf.yml").read_text()
    assert house.service.undo("aider").key_id is None
    assert house.labels() == ["mine"]


def test_a_given_key_has_flms_form(house: House) -> None:
    """What else is piped in by mistake goes nowhere."""
    with pytest.raises(InvalidValue, match="no key of FLM's"):
        house.service.make(Wish("aider", key="sk-ant-secret", write=True))
    assert list(house.home.iterdir()) == []


def test_a_file_that_does_not_parse_costs_no_key(house: House) -> None:
    """Nor does another user's."""
    path = house.home / ".aider.conf.yml"
    path.write_text("a: [")

    with pytest.raises(InvalidValue):
        house.service.make(Wish("aider", write=True))
    assert house.keys.all() == []
    assert path.read_text() == "a: ["


def test_of_two_files_both_are_written_or_none(house: House) -> None:
    """The second cannot be: the first is as it was, and the key is revoked."""
    conf, metadata = house.home / ".aider.conf.yml", house.home / ".aider.model.metadata.json"
    conf.write_text("dark-mode: true\n")
    metadata.symlink_to("/proc/self/nothing/here")

    with pytest.raises((InvalidValue, NotPermitted)):
        house.service.make(Wish("aider", write=True))
    assert conf.read_text() == "dark-mode: true\n"
    assert house.labels() == []
    assert house.service.undo("aider").files == ()


@pytest.mark.parametrize("client", ["open-webui", "env"])
def test_a_client_without_a_file_is_not_written(house: House, client: ClientName) -> None:
    """It says so, and makes no key."""
    with pytest.raises(UserError) as caught:
        house.service.make(Wish(client, write=True))
    assert caught.value.code == "nothing_to_write"
    assert house.keys.all() == []


def test_without_flm_there_is_nothing_to_connect_to(house: House) -> None:
    """`flm up` is named."""
    house.gateway.runs = False
    with pytest.raises(NotRunning) as caught:
        house.service.make(Wish("claude"))
    assert "flm up" in caught.value.remedy


def test_the_best_model_is_taken(house: House) -> None:
    """Tools before context before all else; never a remote one, nor one to be loaded by hand."""
    house.gateway.models = (
        model("no-tools", capabilities=("chat",), context_length=1_000_000),
        model("embeds", capabilities=("embeddings",), context_length=1_000_000),
        model("cloud", remote=True, context_length=1_000_000),
        model("by-hand", by_hand=True, context_length=1_000_000),
        model("demo", demo=True, context_length=1_000_000),
        model("short", context_length=4_096),
        model("long", context_length=65_536),
    )
    assert house.service.make(Wish("claude")).situation.model.name == "long"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((), "No chat model is served."),
        (
            (model("cloud", remote=True),),
            "No model is ready here that could be chosen without asking: cloud.",
        ),
    ],
)
def test_no_model_is_chosen_in_silence(
    house: House, models: tuple[Model, ...], message: str
) -> None:
    """None at all, or only such as somebody must name."""
    house.gateway.models = models
    with pytest.raises(InvalidValue) as caught:
        house.service.make(Wish("claude"))
    assert caught.value.message == message


def test_a_name_that_no_file_can_hold_is_refused(house: House) -> None:
    """Control characters have no place in settings, nor on a terminal."""
    house.gateway.models = (model("x\x7f"),)
    with pytest.raises(InvalidValue, match="cannot stand in a client's settings"):
        house.service.make(Wish("aider"))


def test_a_name_is_looked_up_at_the_gateway(house: House) -> None:
    """An API's name too: what it can do and its context are told there."""
    made = house.service.make(Wish("codex", model="my-api"))
    chosen = made.situation.model

    assert (chosen.name, chosen.engine, chosen.context, chosen.tools) == (
        "my-api",
        "ollama",
        40_960,
        True,
    )
    assert made.concerns == ()


def test_a_name_that_nothing_answers_to_is_told(house: House) -> None:
    """In the gateway's words, with what shows the names there are."""
    with pytest.raises(UserError) as caught:
        house.service.make(Wish("codex", model="nope"))
    assert caught.value.code == "model_not_found"
    assert "flm models list" in caught.value.remedy


@pytest.mark.parametrize(
    ("context", "trained", "code", "remedy"),
    [
        (65_536, None, [], ""),
        (
            4_096,
            131_072,
            ["context_too_short"],
            (
                "`flm config set 'engines.ollama.num_ctx[big]' 65536` raises it; it takes more "
                "memory, and may need the model to be loaded again."
            ),
        ),
        (
            None,
            None,
            ["context_unknown"],
            "`flm config set 'engines.ollama.num_ctx[big]' 65536` asks the engine for that much.",
        ),
        (
            4_096,
            8_192,
            ["context_too_short"],
            "Choose a model with more: `flm models list` shows them.",
        ),
    ],
)
def test_a_context_that_is_too_short_is_warned_of(
    house: House, context: int | None, trained: int | None, code: list[str], remedy: str
) -> None:
    """With the very command that raises it, or without where nothing can."""
    house.gateway.models = (model("big", context_length=context, trained_context=trained),)
    concerns = house.service.make(Wish("claude")).concerns

    assert [found.code for found in concerns] == code
    assert "".join(found.remedy.format(**found.values) for found in concerns) == remedy


def test_what_else_the_client_misses_is_warned_of(house: House) -> None:
    """Tools, and that prompts leave this machine."""
    house.gateway.models = (model("big", capabilities=("chat",), remote=True, loaded=True),)
    told = {"engines": ["ollama"], "remote": True, "context_length": 131_072}
    house.gateway.failing["/v1/models/big"] = (200, told)

    concerns = house.service.make(Wish("codex", model="big")).concerns

    assert [found.code for found in concerns] == ["remote_model", "no_tools"]


def test_what_else_in_the_file_would_win_is_warned_of(house: House) -> None:
    """It is the user's: FLM does not take it out."""
    (house.home / ".claude").mkdir()
    path = house.home / ".claude" / "settings.json"
    path.write_text('{"env": {"ANTHROPIC_API_KEY": "sk"}, "apiKeyHelper": "x"}')
    path.chmod(0o644)

    concerns = house.service.make(Wish("claude", write=True)).concerns

    assert [(found.code, found.values.get("entry")) for found in concerns] == [
        ("made_private", None),
        ("rival_entry", "env.ANTHROPIC_API_KEY"),
        ("rival_entry", "apiKeyHelper"),
    ]


@pytest.mark.parametrize(
    ("status", "told", "code", "remedy"),
    [
        (401, {"error": {"message": "m", "code": "bad_key"}}, "bad_key", "--new-key"),
        (404, {"error": {"message": "m", "code": "model_not_found"}}, "model_not_found", "--model"),
        (429, {"error": {"message": "m", "code": "busy"}}, "busy", "in a moment"),
        (502, {"error": {"type": "api_error", "message": "m"}}, "api_error", "flm logs"),
        (400, "not an object", "http_400", "flm logs"),
        (200, {"hello": 1}, "bad_answer", "flm proxy status"),
        (200, [], "bad_answer", "flm proxy status"),
    ],
)  # fmt: skip
def test_a_request_that_fails_says_what_to_do(
    house: House, status: int, told: Any, code: str, remedy: str
) -> None:
    """In OpenAI's shape or Anthropic's, or in none."""
    house.gateway.failing["/v1/messages"] = (status, told)
    made = house.service.make(Wish("claude"))

    with pytest.raises(UserError) as caught:
        house.service.prove(made)
    assert caught.value.code == code
    assert remedy in caught.value.remedy


def test_a_gateway_that_is_gone_meanwhile_is_told(house: House) -> None:
    """Between the settings and the request."""
    made = house.service.make(Wish("claude"))
    gone = made._replace(situation=made.situation.__class__(
        "linux", {}, "/home/user", "http://127.0.0.1:1/v1", made.situation.model))  # fmt: skip

    with pytest.raises(NotRunning, match="does not answer"):
        house.service.prove(gone)


def test_one_connect_at_a_time(house: House, paths: DataPaths) -> None:
    """Two would each forget what the other wrote."""
    lock = current(None).lock(paths.root / "connect.lock")
    assert lock is not None
    with pytest.raises(UserError) as caught:
        house.service.make(Wish("zed", write=True))
    lock.release()
    assert caught.value.code == "connect_running"


def test_the_users_secrets_are_not_readable_in_flms_data(house: House, paths: DataPaths) -> None:
    """What a file held before is remembered sealed."""
    (house.home / ".claude").mkdir()
    (house.home / ".claude" / "settings.json").write_text('{"env": {"OTHER": "sk-other"}}')
    made = house.service.make(Wish("claude", write=True))

    kept = paths.connect.read_text()
    assert "sk-other" not in kept
    assert str(made.key) not in kept
    assert KEY not in kept
