"""Engines that FLM serves as `custom`, each with the lists its own source or documents show.

SGLang (http_server.py, late 2025), KoboldCpp 1.102 (koboldcpp.py), LocalAI of summer 2026
(core/http/endpoints/openai), Lemonade 11.7 (docs/api), Docker Model Runner 1.2 (pkg/inference),
TabbyAPI (endpoints/OAI), mlx_lm 0.31 (server.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flm.domain.engines import NEEDS_KEY, STARTING, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.custom.adapter import CustomAdapter
from support.fakes.base import (
    EVERYWHERE,
    FakeEngine,
    Routes,
    as_json,
    asked_for,
    event,
    instead,
)
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import Speech
from support.replay import Answer, Reply, Seen, response

CREATED = 1744173590

NOT_FOUND = as_json({"detail": "Not Found"}, "404 Not Found")


class OpenAiLikeFake(FakeEngine):
    """An engine that lists ``models`` (entries of `/v1/models`), with routes of its own.

    ``missing``: what it says to a model it does not have.
    """

    def __init__(
        self,
        models: list[dict[str, object]],
        more: Mapping[tuple[str, str], Reply] | None = None,
        missing: bytes = NOT_FOUND,
    ) -> None:
        routes: Routes = {
            ("GET", "/v1/models"): as_json({"object": "list", "data": models}),
            ("GET", "*"): NOT_FOUND,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): self._embeddings,
        }
        super().__init__({**routes, **(more or {})})
        self.names = [str(model["id"]) for model in models]
        self.missing = missing

    def lock(self) -> None:
        """It demands a key."""
        locked = as_json({"error": "Unauthorized"}, "401 Unauthorized")
        self.fault(EVERYWHERE, instead(locked))

    def load(self) -> None:
        """It is there, and its model is not yet."""
        self.fault(
            "/v1/models", instead(as_json({"status": "starting"}, "503 Service Unavailable"))
        )

    def _chat(self, request: Seen) -> Answer:
        return self._answer(request, Speech.chat)

    def _embeddings(self, request: Seen) -> Answer:
        return self._answer(request, Speech.embeddings)

    def _answer(self, request: Seen, say: Callable[[Speech, Seen], Answer]) -> Answer:
        name = str(asked_for(request).get("model"))
        if name not in self.names:
            return Answer(self.missing)
        return say(Speech(model=name, first={"role": "assistant", "content": ""}), request)


MOODS = {
    "locked": Mood(OpenAiLikeFake.lock, "error-api", NEEDS_KEY),
    "loading": Mood(OpenAiLikeFake.load, "running-degraded", STARTING),
}


SGLANG_MISSING = as_json(
    {"object": "error", "message": "The model `gone` does not exist.", "type": "NotFoundError",
     "param": None, "code": 404},
    "404 Not Found",
)  # fmt: skip
SGLANG_OVERFLOW = as_json(
    {"object": "error", "message": "The input (40000 tokens) is longer than the model's context "
                                   "length (32768 tokens).",
     "type": "BadRequestError", "param": None, "code": 400},
    "400 Bad Request",
)  # fmt: skip
SGLANG_FAILED = event({"error": {"object": "error", "message": "the scheduler has died",
                                 "type": "InternalServerError", "code": 500}})  # fmt: skip


def sglang(*, generates: bool = True) -> OpenAiLikeFake:
    """SGLang with one model that sees."""
    info = {
        "model_path": "Qwen/Qwen2.5-VL-7B-Instruct",
        "tokenizer_path": "Qwen/Qwen2.5-VL-7B-Instruct",
        "is_generation": generates,
        "preferred_sampling_params": None,
        "weight_version": "default",
        "has_image_understanding": generates,
        "has_audio_understanding": False,
    }
    model = {"id": "Qwen/Qwen2.5-VL-7B-Instruct", "object": "model", "created": CREATED,
             "owned_by": "sglang", "root": "Qwen/Qwen2.5-VL-7B-Instruct",
             "max_model_len": 32768}  # fmt: skip
    more = {("GET", "/get_model_info"): as_json(info)}
    return OpenAiLikeFake([model], {**more}, SGLANG_MISSING)


def koboldcpp() -> OpenAiLikeFake:
    """KoboldCpp with a model that sees and one that embeds; two requests wait."""
    version = {"result": "KoboldCpp", "version": "1.102", "protected": False, "llm": True,
               "txt2img": False, "vision": True, "audio": False, "transcribe": False,
               "multiplayer": False, "websearch": False, "tts": False, "embeddings": True,
               "savedata": False, "admin": 0}  # fmt: skip
    perf = {"last_process": 0.1, "last_eval": 2.0, "last_token_count": 30, "total_gens": 4,
            "stop_reason": 1, "queue": 2, "idle": 0, "uptime": 99.5}  # fmt: skip
    name = "koboldcpp/gemma-3-4b-it-Q4_K_M"
    model = {"id": name, "object": "model", "created": CREATED, "owned_by": "koboldcpp",
             "permission": [], "root": "koboldcpp"}  # fmt: skip
    return OpenAiLikeFake(
        [model],
        {
            ("GET", "/api/extra/version"): as_json(version),
            ("GET", "/api/extra/true_max_context_length"): as_json({"value": 12288}),
            ("GET", "/api/extra/perf"): as_json(perf),
            ("GET", "/api/v1/model"): as_json({"result": name}),
            ("GET", "/.well-known/serviceinfo"): as_json(
                {"version": "0.2", "software": {"name": "KoboldCpp", "version": "1.102"}}
            ),
        },
    )


def localai(*, tells: bool = True) -> OpenAiLikeFake:
    """LocalAI with a model that sees, one that embeds and one that hears; the first is loaded.

    ``tells``: whether it is new enough to have `/v1/models/capabilities`.
    """
    capabilities = [
        ("vlm", ["chat", "completion", "vision", "tools"], ["text", "image"]),
        ("bge", ["embeddings"], ["text"]),
        ("parakeet", ["transcript"], ["audio"]),
    ]
    data = [
        {"id": id_, "object": "model", "capabilities": can, "input_modalities": takes,
         "output_modalities": ["text"]}
        for id_, can, takes in capabilities
    ]  # fmt: skip
    more: dict[tuple[str, str], Reply] = {
        ("GET", "/.well-known/localai.json"): as_json(
            {"version": "v4.9.0", "endpoints": {"models": "/v1/models"}, "capabilities": {}}
        ),
        ("GET", "/system"): as_json({"backends": ["llama-cpp"], "loaded_models": [{"id": "vlm"}]}),
        ("GET", "*"): as_json({"error": {"code": 404, "message": "Resource not found",
                                         "type": ""}}, "404 Not Found"),
    }  # fmt: skip
    if tells:
        more["GET", "/v1/models/capabilities"] = as_json({"object": "list", "data": data})
    return OpenAiLikeFake([{"id": id_, "object": "model"} for id_, _, _ in capabilities], more)


def lemonade() -> OpenAiLikeFake:
    """Lemonade with a thinking model in memory, one that sees, one that draws, one elsewhere."""

    def model(id_: str, size: float, *labels: str, **more: object) -> dict[str, object]:
        return {"id": id_, "created": CREATED, "object": "model", "owned_by": "lemonade",
                "checkpoint": f"unsloth/{id_}:Q4_0", "recipe": "llamacpp", "size": size,
                "downloaded": True, "labels": list(labels), **more}  # fmt: skip

    health = {
        "status": "ok",
        "version": "11.7.0",
        "model_loaded": "Qwen3-0.6B-GGUF",
        "all_models_loaded": [
            {"model_name": "Qwen3-0.6B-GGUF", "type": "llm", "device": "gpu",
             "recipe": "llamacpp", "recipe_options": {"ctx_size": 8192}}
        ],
    }  # fmt: skip
    cloud = {"recipe": "cloud", "cloud_provider": "fireworks"}
    return OpenAiLikeFake(
        [
            model("Qwen3-0.6B-GGUF", 0.38, "reasoning", max_context_window=40960),
            model("Gemma-3-4b-it-GGUF", 3.61, "hot", "vision", "tool-calling"),
            model("SD-Turbo", 5.2, "image"),
            model("Whisper-Tiny", 0.1, "transcription"),
            model("bge-reranker", 0.6, "reranking"),
            model("fireworks.kimi-k2p5", 0.0, **cloud),
        ],
        {("GET", "/v1/health"): as_json(health), ("GET", "/live"): as_json({"status": "ok"})},
    )


def model_runner() -> OpenAiLikeFake:
    """Docker Model Runner below `/engines`."""
    facts = {"context_window": 131072, "architecture": "llama", "parameters": "3.21 B",
             "quantization": "IQ2_XXS/Q4_K_M", "size": "1.87GiB"}  # fmt: skip
    model = {"id": "docker.io/ai/llama3.2:latest", "object": "model", "created": CREATED,
             "owned_by": "docker", "dmr": facts}  # fmt: skip
    listing = as_json({"object": "list", "data": [model]})
    text = response("not found", "404 Not Found", content_type="text/plain")
    return OpenAiLikeFake([model], {("GET", "/engines/v1/models"): listing, ("GET", "*"): text})


def tabbyapi() -> OpenAiLikeFake:
    """TabbyAPI with its one model."""
    facts = {"max_seq_len": 65536, "cache_size": 65536, "cache_mode": "FP16",
             "max_batch_size": 4, "chunk_size": 2048, "use_vision": True}  # fmt: skip
    model = {"id": "Qwen3-32B-exl3", "object": "model", "created": CREATED,
             "owned_by": "tabbyAPI", "parameters": facts}  # fmt: skip
    return OpenAiLikeFake([model])


def mlx() -> OpenAiLikeFake:
    """mlx_lm: its models have a name and an age, and belong to nobody."""
    return OpenAiLikeFake(
        [{"id": "mlx-community/Qwen3-4B-4bit", "object": "model", "created": CREATED}],
        {("GET", "*"): response("Not Found", "404 Not Found", content_type="text/plain")},
    )


KOBOLD_BUSY = as_json(
    {"detail": {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}},
    "503 Service Unavailable",
)

SPECIMENS = (
    Specimen(
        id="sglang",
        adapter=CustomAdapter(),
        start=sglang,
        product="SGLang",
        version=None,
        model=Model(
            name="Qwen/Qwen2.5-VL-7B-Instruct", engine=EngineId("sglang"),
            capabilities=("chat", "vision"), context_length=32768, loaded=True, created=CREATED,
        ),
        moods=MOODS,
        unknown_model=SGLANG_MISSING,
        overflow=SGLANG_OVERFLOW,
        breaks={"an error": Break((SGLANG_FAILED, event("[DONE]"))), "its process gone": Break()},
    ),
    Specimen(
        id="koboldcpp",
        adapter=CustomAdapter(),
        start=koboldcpp,
        product="KoboldCpp",
        version="1.102",
        model=Model(
            name="koboldcpp/gemma-3-4b-it-Q4_K_M", engine=EngineId("koboldcpp"),
            capabilities=("chat", "embeddings", "vision"), context_length=12288, loaded=True,
            created=CREATED,
        ),
        moods=MOODS,
        busy=KOBOLD_BUSY,
        breaks={"its process gone": Break()},
        load=EngineLoad(running=1, waiting=2, slots=1),
    ),
    Specimen(
        id="lemonade",
        adapter=CustomAdapter(),
        start=lemonade,
        product="Lemonade",
        version="11.7.0",
        model=Model(
            name="Qwen3-0.6B-GGUF", engine=EngineId("lemonade"),
            capabilities=("chat", "reasoning"), context_length=8192, trained_context=40960,
            size_bytes=380_000_000, loaded=True, created=CREATED,
        ),
        moods=MOODS,
        breaks={"its backend gone": Break()},
    ),
)  # fmt: skip
