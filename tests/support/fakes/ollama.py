"""Ollama 0.33.0-rc2 as a server that loads, pulls and deletes.

Its lists, greetings and errors are what the real one answered (`transcripts/ollama-0.33.0-rc2`);
pulls are as its source writes them (server/images.go, server/download.go).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from flm.domain.engines import NEEDS_KEY, EngineId
from flm.domain.models import Model
from flm.engines.ollama.adapter import OllamaAdapter
from support.fakes.base import (
    EVERYWHERE,
    FakeEngine,
    as_json,
    asked_for,
    instead,
    line,
    opened,
    stream,
)
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import ARGUMENTS, TEXT, TEXTS, TOOL, VECTOR
from support.replay import Answer, Reply, Seen, recorded, response

FOLDER = "ollama-0.33.0-rc2"
VERSION = "0.33.0-rc2"
NDJSON = "application/x-ndjson"
CREATED = "2026-11-21T11:46:24.000000000Z"

BIG = "sha256:" + "6a" * 32
SMALL = "sha256:" + "11" * 32

CALL = {"id": "call_1", "function": {"index": 0, "name": TOOL, "arguments": dict(ARGUMENTS)}}
BUSY = as_json(
    {"error": "server busy, please try again.  maximum pending requests exceeded"},
    "503 Service Unavailable",
)
"""`ErrMaxQueue` (server/sched.go)."""

FAILED = line({"error": "an error was encountered while running the model: unexpected EOF"})

PULLED: tuple[dict[str, object], ...] = (
    {"status": "pulling manifest"},
    {"status": "pulling 6a6a6a6a6a6a", "digest": BIG, "total": 4000},
    {"status": "pulling 6a6a6a6a6a6a", "digest": BIG, "total": 4000, "completed": 1500},
    {"status": "pulling 6a6a6a6a6a6a", "digest": BIG, "total": 4000, "completed": 4000},
    {"status": "pulling 111111111111", "digest": SMALL, "total": 100, "completed": 100},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
)
"""What a pull says from beginning to end."""


def told(name: str) -> dict[str, object]:
    """The JSON that was recorded under that name."""
    found: dict[str, object] = json.loads(opened(recorded(FOLDER, name))[1])
    return found


class OllamaFake(FakeEngine):
    """Four models, of which `tiny:latest` is loaded. ``pulled``: what the next pulls say;
    ``old``: its lists tell no capabilities, as before 2026; ``cloud``: models that run elsewhere.
    """

    def __init__(
        self, *, old: bool = False, cloud: Iterable[str] = (), host: str = "127.0.0.1"
    ) -> None:
        super().__init__({}, host)
        tags = told("tags")["models"]
        assert isinstance(tags, list)
        self.models = {tag["name"]: tag for tag in tags}
        for name in cloud:
            self.models[name] = {
                "name": name,
                "model": name,
                "remote_model": name.removesuffix("-cloud"),
                "remote_host": "https://ollama.com:443",
                "modified_at": CREATED,
                "size": 384,
                "digest": "c1" * 32,
                "details": {"format": "", "family": "", "context_length": 131072},
                "capabilities": ["completion", "tools", "thinking"],
            }
        if old:
            for tag in self.models.values():
                tag.pop("capabilities", None)
                tag["details"].pop("context_length", None)
        self.loaded = {"tiny:latest": 2048}
        self.pulled: Iterable[dict[str, object]] = PULLED
        self.routes |= self._routes()

    def _routes(self) -> dict[tuple[str, str], Reply]:
        return {
            ("GET", "/"): recorded(FOLDER, "root"),
            ("GET", "/api/version"): recorded(FOLDER, "version"),
            ("GET", "/api/tags"): lambda _: as_json({"models": list(self.models.values())}),
            ("GET", "/api/ps"): lambda _: as_json({"models": self._running()}),
            ("GET", "*"): recorded(FOLDER, "unknown-path"),
            ("POST", "/api/show"): recorded(FOLDER, "show"),
            ("POST", "/api/pull"): lambda _: stream(map(line, self.pulled), NDJSON),
            ("POST", "/api/generate"): self._generate,
            ("POST", "/api/embed"): self._embed,
            ("POST", "/api/chat"): self._chat,
            ("DELETE", "/api/delete"): self._delete,
        }

    def lock(self) -> None:
        """Somebody put a proxy before it that demands a key."""
        self.fault(EVERYWHERE, instead(response("{}", "401 Unauthorized")))

    def fill(self) -> None:
        """It has more to do than it takes."""
        self.fault("/api/tags", instead(BUSY))

    def _running(self) -> list[dict[str, object]]:
        return [
            {"name": name, "model": name, "size": 519776, "size_vram": 0, "context_length": context,
             "digest": self.models[name]["digest"], "details": {"quantization_level": "unknown"},
             "expires_at": "2026-11-21T11:51:23.996704912Z"}
            for name, context in self.loaded.items()
        ]  # fmt: skip

    def _named(self, request: Seen) -> str | None:
        name = str(asked_for(request).get("model"))
        name = name if ":" in name else f"{name}:latest"
        return name if name in self.models else None

    def _missing(self, request: Seen) -> bytes:
        name = asked_for(request).get("model")
        return as_json({"error": f"model '{name}' not found"}, "404 Not Found")

    def _load(self, request: Seen, name: str) -> None:
        options = asked_for(request).get("options")
        context = options.get("num_ctx") if isinstance(options, dict) else None
        self.loaded[name] = context or self.loaded.get(name, 4096)

    def _generate(self, request: Seen) -> bytes:
        name = self._named(request)
        if name is None:
            return self._missing(request)
        asked = asked_for(request)
        if asked.get("keep_alive") == 0:
            self.loaded.pop(name, None)
            why = "unload"
        elif self.models[name].get("capabilities") == ["embedding"]:
            return as_json({"error": f'"{asked["model"]}" does not support generate'},
                           "400 Bad Request")  # fmt: skip
        else:
            self._load(request, name)
            why = "load"
        return as_json({"model": asked["model"], "created_at": CREATED, "response": "",
                        "done": True, "done_reason": why})  # fmt: skip

    def _embed(self, request: Seen) -> bytes:
        name = self._named(request)
        if name is None:
            return self._missing(request)
        asked = asked_for(request)
        given = asked.get("input")
        texts = given if isinstance(given, list) else [given]
        self._load(request, name)
        return as_json({"model": asked["model"], "embeddings": [list(VECTOR)] * len(texts),
                        "prompt_eval_count": 3 * len(texts)})  # fmt: skip

    def _delete(self, request: Seen) -> bytes:
        name = self._named(request)
        if name is None:
            return self._missing(request)
        del self.models[name]
        self.loaded.pop(name, None)
        return recorded(FOLDER, "delete")

    def _chat(self, request: Seen) -> bytes | Answer:
        name = self._named(request)
        if name is None:
            return self._missing(request)
        self._load(request, name)
        asked = asked_for(request)
        start = {"model": asked["model"], "created_at": CREATED}
        calls = bool(asked.get("tools"))
        end = {"done": True, "done_reason": "stop", "total_duration": 5, "load_duration": 1,
               "prompt_eval_count": 9, "prompt_eval_duration": 2, "eval_count": len(TEXTS),
               "eval_duration": 2}  # fmt: skip
        if asked.get("stream") is False:
            message: dict[str, object] = {"role": "assistant", "content": TEXT}
            if calls:
                message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
            return as_json({**start, "message": message, **end})
        said: list[dict[str, object]] = [{"content": word} for word in TEXTS]
        if calls:
            said = [{"content": "", "tool_calls": [CALL]}]
        lines = [
            {**start, "message": {"role": "assistant", **each}, "done": False} for each in said
        ]
        last = {**start, "message": {"role": "assistant", "content": ""}, **end}
        return stream(map(line, [*lines, last]), NDJSON)


SPECIMEN = Specimen(
    id="ollama",
    adapter=OllamaAdapter(),
    start=OllamaFake,
    product="Ollama",
    version=VERSION,
    model=Model(
        name="tiny:latest", engine=EngineId("ollama"), capabilities=("chat",),
        context_length=2048, trained_context=2048, size_bytes=519928, quantization="F32",
        family="llama", loaded=True, created=1795261263, parameters="128K",
    ),
    chat="/api/chat",
    embeddings="/api/embed",
    listing="/api/tags",
    moods={
        "locked": Mood(OllamaFake.lock, "error-api", NEEDS_KEY, told=False),
        "full": Mood(OllamaFake.fill, "running-degraded", "busy"),
    },
    unknown_model=recorded(FOLDER, "chat-unknown-model"),
    overflow=recorded(FOLDER, "chat-context-overflow-no-truncate"),
    setting="flm config set engines.ollama.num_ctx",
    busy=BUSY,
    breaks={"an error": Break((FAILED,)), "its runner gone": Break()},
)  # fmt: skip
