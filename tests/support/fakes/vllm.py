"""vLLM 0.32.0: what was recorded of one on the CPU, the rest as its source words it."""

from __future__ import annotations

from flm.domain.engines import NEEDS_KEY, STARTING, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.vllm.adapter import DEAD, VllmAdapter
from support.fakes.base import EVERYWHERE, FakeEngine, as_json, event, instead
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import Speech
from support.replay import Seen, recorded, response

RECORDED = "vllm-0.32.0-cpu"
LOCKED = recorded("vllm-0.32.0-cpu-tools-and-key", "noauth-get-models")
NO_ROUTE = recorded(RECORDED, "get-unknown-path")
NOT_BY_GET = as_json({"detail": "Method Not Allowed"}, "405 Method Not Allowed")
UNKNOWN_MODEL = recorded(RECORDED, "chat-unknown-model")
OVERFLOW = recorded(RECORDED, "chat-context-overflow")
BUSY = as_json(
    {"error": {"message": "The engine is currently busy and cannot accept new requests. Please try "
                          "again later or on a different instance.",
               "type": "ServiceUnavailableError", "param": None, "code": 503}},
    "503 Service Unavailable",
)  # fmt: skip
"""`QueueOverflowError`, with --max-num-queued-reqs."""

SCALING = as_json(
    {"error": "The model is currently scaling. Please try again later."},
    "503 Service Unavailable",
)
"""`ScalingMiddleware`: every path says so."""

FAILED = event(
    {"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root "
                          "cause.", "type": "InternalServerError", "param": None, "code": 500}}
)  # fmt: skip

SPEECH = Speech(
    model="tiny-llama",
    first={"role": "assistant", "content": ""},
    message={"refusal": None, "annotations": None, "audio": None, "function_call": None,
             "reasoning": None},
    extra={"system_fingerprint": "vllm-0.32.0-e7d6b14d"},
    headers={"Server": "uvicorn"},
)  # fmt: skip

_LABELS = '{{engine="{engine}",model_name="tiny-llama"}}'


class VllmFake(FakeEngine):
    """One model that chats, with a tool parser; two engine cores, as with data parallelism.

    ``running``, ``waiting`` and ``cache`` are those of each core.
    """

    def __init__(self, *, embeds: bool = False, tools: bool = True) -> None:
        self.running, self.waiting, self.cache = (3, 2), (4, 0), (0.25, 0.5)
        self.tools = tools
        served = "/v1/embeddings" if embeds else "/v1/chat/completions"
        answer = SPEECH.embeddings if embeds else SPEECH.chat
        super().__init__({
            ("GET", "/health"): recorded(RECORDED, "get-health"),
            ("GET", "/version"): recorded(RECORDED, "get-version"),
            ("GET", "/v1/models"): recorded(RECORDED, "get-models"),
            ("GET", "/metrics"): self._metrics,
            ("GET", served): NOT_BY_GET,
            ("POST", served): answer,
            ("GET", "*"): NO_ROUTE,
            ("POST", "*"): NO_ROUTE,
        })  # fmt: skip

    def _metrics(self, request: Seen) -> bytes:
        lines = ["# TYPE vllm:num_requests_running gauge"]
        for name, values in (
            ("vllm:num_requests_running", self.running),
            ("vllm:num_requests_waiting", self.waiting),
            ("vllm:kv_cache_usage_perc", self.cache),
        ):
            lines += [
                f"{name}{_LABELS.format(engine=core)} {value}" for core, value in enumerate(values)
            ]
        lines.append('vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0')
        if self.tools:
            lines.append('vllm:tool_call_parser_invocations_total{mode="streaming"} 0.0')
        return response("\n".join(lines) + "\n", content_type="text/plain; version=1.0.0")

    def lock(self) -> None:
        """It demands a key on `/v1`, and there alone."""
        for path in ("/v1/models", "/v1/chat/completions", "/v1/embeddings", "/v1/rerank",
                     "/v1/audio/transcriptions"):  # fmt: skip
            self.fault(path, instead(LOCKED))

    def die(self) -> None:
        """The engine's own process has died, the API server stays
        (`VLLM_KEEP_ALIVE_ON_ENGINE_DEATH`)."""
        self.fault("/health", instead(response("", "503 Service Unavailable")))

    def scale(self) -> None:
        """It changes its number of cores, and answers nothing meanwhile."""
        self.fault(EVERYWHERE, instead(SCALING))


SPECIMEN = Specimen(
    id="vllm",
    adapter=VllmAdapter(),
    start=VllmFake,
    product="vLLM",
    version="0.32.0",
    model=Model(
        name="tiny-llama", engine=EngineId("vllm"), capabilities=("chat", "tools"),
        context_length=512, loaded=True,
    ),
    moods={
        "locked": Mood(VllmFake.lock, "error-api", NEEDS_KEY),
        "dead engine": Mood(VllmFake.die, "error-api", DEAD),
        "scaling": Mood(VllmFake.scale, "running-degraded", STARTING, told=False),
    },
    unknown_model=UNKNOWN_MODEL,
    overflow=OVERFLOW,
    setting="a larger context (vLLM: --max-model-len)",
    busy=BUSY,
    breaks={
        "an error": Break((FAILED, event("[DONE]"))),
        "its process gone": Break(),
    },
    vector=None,
    load=EngineLoad(running=5, waiting=4, cache_usage=0.5),
)  # fmt: skip
