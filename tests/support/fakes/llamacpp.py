"""llama.cpp's server 2026.10: what was recorded of it with one model; its router as
`tools/server/README.md` and `server-models.cpp` (00dd0816) describe it."""

from __future__ import annotations

import json

from flm.domain.engines import NEEDS_KEY, STARTING, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from support.fakes.base import EVERYWHERE, FakeEngine, as_json, asked_for, event, instead, stream
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import Speech
from support.replay import Answer, Seen, recorded, response

RECORDED = "llamacpp-xllamacpp-2026.10"
WITH_KEY = "llamacpp-xllamacpp-2026.10-key"
NO_ROUTE = recorded(RECORDED, "get-unknown-path")
OVERFLOW = recorded(RECORDED, "chat-context-overflow")
LOCKED = recorded(WITH_KEY, "noauth-get-models")


def fault(message: str, kind: str, code: int, words: str) -> bytes:
    """An error as llama.cpp words it."""
    document = {"error": {"code": code, "message": message, "type": kind}}
    return as_json(document, f"{code} {words}", Server="llama.cpp")


LOADING = fault("Loading model", "unavailable_error", 503, "Service Unavailable")
NO_METRICS = fault(
    "This server does not support metrics endpoint.", "not_supported_error", 501, "Not Implemented"
)
FAILED = event({"error": {"code": 500, "message": "Compute error.", "type": "server_error"}})

SPEECH = Speech(
    model="tiny-llama",
    first={"role": "assistant", "content": None},
    extra={"system_fingerprint": "b0-unknown"},
    headers={"Server": "llama.cpp"},
)


class LlamaCppFake(FakeEngine):
    """One model in two slots. ``busy``: how many of them work; ``deferred``: how many requests
    wait; ``metrics``: whether it was started with `--metrics`."""

    def __init__(self) -> None:
        self.busy, self.deferred, self.metrics = 0, 0, True
        super().__init__({
            ("GET", "/health"): recorded(RECORDED, "get-health"),
            ("GET", "/props"): recorded(RECORDED, "get-props"),
            ("GET", "/v1/models"): recorded(RECORDED, "get-models"),
            ("GET", "/slots"): self._slots,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/v1/chat/completions"): SPEECH.chat,
            ("POST", "/v1/embeddings"): SPEECH.embeddings,
            ("GET", "*"): NO_ROUTE,
            ("POST", "*"): NO_ROUTE,
        })  # fmt: skip

    def _slots(self, request: Seen) -> bytes:
        slots = [{"id": at, "n_ctx": 1024, "speculative": False, "is_processing": at < self.busy}
                 for at in range(2)]  # fmt: skip
        return as_json(slots, Server="llama.cpp")

    def _metrics(self, request: Seen) -> bytes:
        if not self.metrics:
            return NO_METRICS
        lines = ("# TYPE llamacpp:requests_processing gauge",
                 f"llamacpp:requests_processing {self.busy}",
                 f"llamacpp:requests_deferred {self.deferred}")  # fmt: skip
        return response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")

    def starts(self) -> None:
        """It listens and still loads its model."""
        self.fault(EVERYWHERE, instead(LOADING))

    def lock(self) -> None:
        """It demands a key everywhere but at `/health`."""
        for path in ("/v1/models", "/props", "/slots", "/metrics", "/v1/chat/completions"):
            self.fault(path, instead(LOCKED))


MOODS = {
    "loading": Mood(LlamaCppFake.starts, "running-degraded", STARTING),
    "locked": Mood(LlamaCppFake.lock, "error-api", NEEDS_KEY),
}

SPECIMEN = Specimen(
    id="llamacpp",
    adapter=LlamaCppAdapter(),
    start=LlamaCppFake,
    product="llama.cpp",
    version="b0-unknown",
    model=Model(
        name="tiny-llama", engine=EngineId("llamacpp"), capabilities=("chat", "embeddings"),
        context_length=1024, trained_context=4096, size_bytes=510208, quantization="all F32",
        parameters="128K", loaded=True,
    ),
    moods=MOODS,
    overflow=OVERFLOW,
    setting="start llama.cpp with a larger --ctx-size",
    loading=LOADING,
    breaks={"an error": Break((FAILED,)), "its process gone": Break()},
    load=EngineLoad(running=0, waiting=0, slots=2),
)  # fmt: skip

GEMMA = "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"
QWEN = "/srv/models/qwen3.gguf"


class RouterFake(FakeEngine):
    """A router with one model loaded and one not. ``autoload``: whether a request loads one.

    Downloads and loads go on as the test says: `events` are what `/models/sse` says next.
    """

    def __init__(self) -> None:
        self.autoload = True
        self.status = {GEMMA: "loaded", QWEN: "unloaded"}
        self.removable = {GEMMA}
        self.failed: set[str] = set()
        self.existing = {"ggml-org/new-GGUF:Q8_0"}
        self.events: list[bytes] = []
        self.after_events: dict[str, str | None] = {}
        speech = Speech(**{**SPEECH.__dict__, "model": GEMMA})
        self._speech = speech
        super().__init__({
            ("GET", "/health"): recorded(RECORDED, "get-health"),
            ("GET", "/props"): self._props,
            ("GET", "/v1/models"): self._models,
            ("GET", "/models"): self._models,
            ("GET", "/slots"): self._slots,
            ("GET", "/models/sse"): self._sse,
            ("POST", "/models"): self._pull,
            ("POST", "/models/load"): self._load,
            ("POST", "/models/unload"): self._unload,
            ("DELETE", "/models"): self._remove,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): speech.embeddings,
            ("GET", "*"): NO_ROUTE,
            ("POST", "*"): NO_ROUTE,
        })  # fmt: skip

    def _props(self, request: Seen) -> bytes:
        if "?model=" not in request.path:
            return as_json({
                "role": "router", "max_instances": 4, "models_autoload": self.autoload,
                "model_alias": "llama-server", "model_path": "none", "build_info": "b10500-abc",
                "default_generation_settings": {"params": None, "n_ctx": 0},
            })  # fmt: skip
        return as_json({
            "default_generation_settings": {"n_ctx": 4096}, "total_slots": 1,
            "modalities": {"vision": True, "audio": False}, "build_info": "b10500-abc",
            "chat_template_caps": {"supports_tools": True}, "chat_template": "",
        })  # fmt: skip

    def _models(self, request: Seen) -> bytes:
        data = []
        for name, value in self.status.items():
            status: dict[str, object] = {"value": value, "args": ["llama-server"]}
            if name in self.failed:
                status |= {"failed": True, "exit_code": 1}
            entry: dict[str, object] = {
                "id": name, "aliases": [], "tags": [], "object": "model", "owned_by": "llamacpp",
                "created": 1795218626, "status": status, "source": "cache",
                "can_remove": name in self.removable,
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            }  # fmt: skip
            if value == "loaded":
                entry["meta"] = {"n_ctx": 4096, "n_ctx_train": 131072, "n_params": 3880099328,
                                 "size": 2489757856, "ftype": "Q4_K - Medium"}  # fmt: skip
            data.append(entry)
        return as_json({"data": data, "object": "list"})

    def _slots(self, request: Seen) -> bytes:
        return as_json([{"id": 0, "n_ctx": 4096, "is_processing": False}])

    def _chat(self, request: Seen) -> Answer:
        if asked_for(request).get("model") not in self.status:
            return Answer(NO_MODEL)
        return self._speech.chat(request)

    def _sse(self, request: Seen) -> Answer:
        """The events, after which what they announced has come true."""
        for name, value in self.after_events.items():
            if value is None:
                self.status.pop(name, None)
            else:
                self.status[name] = value
        return stream(self.events)

    def _pull(self, request: Seen) -> bytes:
        name = str(asked_for(request)["model"])
        if name in self.status:
            return fault(f"model '{name}' already exists", "invalid_request_error", 400,
                         "Bad Request")  # fmt: skip
        if name not in self.existing:
            return fault("model validation failed, unable to download", "invalid_request_error",
                         400, "Bad Request")  # fmt: skip
        self.status[name] = "downloading"
        return as_json({"success": True})

    def _load(self, request: Seen) -> bytes:
        name = str(asked_for(request)["model"])
        if name not in self.status:
            return fault("model is not found", "not_found_error", 404, "Not Found")
        if self.status[name] == "loaded":
            return fault("model is already running", "invalid_request_error", 400, "Bad Request")
        self.status[name] = "loading"
        return as_json({"success": True})

    def _unload(self, request: Seen) -> bytes:
        name = str(asked_for(request)["model"])
        if name not in self.status:
            return fault("model is not found", "invalid_request_error", 400, "Bad Request")
        if self.status[name] == "downloading":
            del self.status[name]
            return as_json({"success": True})
        if self.status[name] != "loaded":
            return fault("model is not running", "invalid_request_error", 400, "Bad Request")
        self.status[name] = "unloaded"
        return as_json({"success": True})

    def _remove(self, request: Seen) -> bytes:
        from urllib.parse import parse_qs, urlsplit

        name = parse_qs(urlsplit(request.path).query)["model"][0]
        if name not in self.status:
            return fault(f"model name={name} is not found", "server_error", 500,
                         "Internal Server Error")  # fmt: skip
        if name not in self.removable:
            return fault(f"model name={name} is not removable (not from cache)", "server_error",
                         500, "Internal Server Error")  # fmt: skip
        del self.status[name]
        return as_json({"success": True})


NO_MODEL = fault("model 'gone' not found", "invalid_request_error", 400, "Bad Request")
NOT_LOADED = fault("model is not loaded", "invalid_request_error", 400, "Bad Request")


def status_event(model: str, status: str, **data: object) -> bytes:
    """`status_change`, as the source words it (the README calls it `model_status`)."""
    return event({"model": model, "event": "status_change", "data": {"status": status, **data}})


def progress_event(model: str, done: int, total: int, *, wrapped: bool = False) -> bytes:
    """How much of a file is there: by its URL (README), or under `progress` (source)."""
    files = {"https://huggingface.co/m.gguf": {"done": done, "total": total}}
    data: object = {"progress": files} if wrapped else files
    return event(json.dumps({"model": model, "event": "download_progress", "data": data}))


def end_event(model: str, name: str) -> bytes:
    """`download_finished` or `download_failed`."""
    return event({"model": model, "event": name, "data": {}})


ROUTER = Specimen(
    id="llamacpp-router",
    adapter=LlamaCppAdapter(),
    start=RouterFake,
    product="llama.cpp",
    version="b10500-abc",
    model=Model(
        name=GEMMA, engine=EngineId("llamacpp-router"),
        capabilities=("chat", "embeddings", "vision", "tools"), context_length=4096,
        trained_context=131072, size_bytes=2489757856, quantization="Q4_K - Medium",
        parameters="3.9B", loaded=True,
    ),
    unknown_model=NO_MODEL,
    overflow=OVERFLOW,
    setting="start llama.cpp with a larger --ctx-size",
    loading=LOADING,
    breaks={"an error": Break((FAILED,)), "its child gone": Break()},
    load=EngineLoad(running=0, waiting=0, slots=1),
)  # fmt: skip
