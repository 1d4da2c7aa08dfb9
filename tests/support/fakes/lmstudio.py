"""LM Studio 0.4 as its documents describe it (docs of April 2026), and as older versions were.

Whatever it does not know it answers with 200 and an error (its bug tracker, 618, 1323, 2085).
"""

from __future__ import annotations

from flm.domain.engines import NEEDS_KEY, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.lmstudio.adapter import LmStudioAdapter
from support.fakes.base import EVERYWHERE, FakeEngine, Routes, as_json, asked_for, event
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import Speech
from support.replay import Answer, Reply, Seen

TOKEN_WANTED = as_json(
    {
        "error": {
            "type": "invalid_request",
            "code": "invalid_api_key",
            "message": "An LM Studio API token is required to make requests to this server, but"
            " none was provided using the Authorization header using the 'Bearer' scheme.",
        }
    },
    "401 Unauthorized",
)

GEMMA = {
    "type": "llm",
    "publisher": "lmstudio-community",
    "key": "google/gemma-3-4b",
    "display_name": "Gemma 3 4B",
    "architecture": "gemma3",
    "quantization": {"name": "Q4_0", "bits_per_weight": 4},
    "size_bytes": 3_341_410_208,
    "params_string": "4B",
    "loaded_instances": [],
    "max_context_length": 131_072,
    "format": "gguf",
    "capabilities": {"vision": True, "trained_for_tool_use": False},
    "description": None,
}
OSS = {
    "type": "llm",
    "publisher": "openai",
    "key": "openai/gpt-oss-20b",
    "display_name": "gpt-oss 20B",
    "architecture": "gpt_oss",
    "quantization": {"name": "MXFP4", "bits_per_weight": 4},
    "size_bytes": 12_109_567_562,
    "params_string": "20B",
    "loaded_instances": [
        {
            "id": "openai/gpt-oss-20b",
            "config": {"context_length": 16_384, "eval_batch_size": 512, "parallel": 4},
        }
    ],
    "max_context_length": 131_072,
    "format": "gguf",
    "capabilities": {
        "vision": False,
        "trained_for_tool_use": True,
        "reasoning": {"allowed_options": ["low", "medium", "high"], "default": "low"},
    },
    "description": None,
}
NOMIC = {
    "type": "embedding",
    "publisher": "nomic-ai",
    "key": "text-embedding-nomic-embed-text-v1.5",
    "display_name": "Nomic Embed Text v1.5",
    "quantization": {"name": "F16", "bits_per_weight": 16},
    "size_bytes": 274_290_560,
    "params_string": None,
    "loaded_instances": [],
    "max_context_length": 2048,
    "format": "gguf",
}

OLD = [
    {"id": "qwen2-vl-7b-instruct", "object": "model", "type": "vlm", "publisher": "mlx-community",
     "arch": "qwen2_vl", "compatibility_type": "mlx", "quantization": "4bit",
     "state": "not-loaded", "max_context_length": 32768},
    {"id": "meta-llama-3.1-8b-instruct", "object": "model", "type": "llm",
     "publisher": "lmstudio-community", "arch": "llama", "compatibility_type": "gguf",
     "quantization": "Q4_K_M", "state": "loaded", "max_context_length": 131072,
     "loaded_context_length": 4096, "capabilities": ["tool_use"]},
    {"id": "text-embedding-nomic-embed-text-v1.5", "object": "model", "type": "embeddings",
     "publisher": "nomic-ai", "arch": "nomic-bert", "compatibility_type": "gguf",
     "quantization": "Q4_0", "state": "not-loaded", "max_context_length": 2048},
]  # fmt: skip
"""`/api/v0/models` in its documents."""


def job(status: str, done: int | None = None) -> dict[str, object]:
    """What it says of a download of 4,000 bytes."""
    told: dict[str, object] = {"job_id": "job_493c7c9ded", "status": status}
    if done is not None:
        told |= {"total_size_bytes": 4000, "downloaded_bytes": done}
    return told


class LmStudioFake(FakeEngine):
    """Three models, of which one is loaded. ``jit``: a request loads a model; ``token``: what it
    demands; ``apis``: the paths of its own APIs that this version has; ``jobs``: what it says of
    a download from one question to the next, the last again and again.
    """

    def __init__(
        self,
        *,
        jit: bool = True,
        token: str | None = None,
        apis: tuple[str, ...] = ("/api/v1", "/api/v0"),
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__({}, host)
        self.models = {
            str(model["key"]): {**model, "loaded_instances": list(model["loaded_instances"])}
            for model in (GEMMA, OSS, NOMIC)
        }
        self.jit = jit
        self.token = token
        self.jobs = [job("downloading", 948), job("downloading", 2000), job("completed", 4000)]
        self.routes |= {
            key: reply
            for key, reply in self._routes().items()
            if key[1].startswith(("/v1", "/lmstudio", *apis))
        }

    def answer(self, request: Seen) -> Answer:
        """401 without the token, but for the greeting; 200 and an error for what it lacks."""
        open_to_all = request.path == "/lmstudio-greeting"
        if self.token and not open_to_all:
            given = request.headers.get("authorization", request.headers.get("x-api-key", ""))
            if given.removeprefix("Bearer ") != self.token:
                return Answer(TOKEN_WANTED)
        path = request.path.partition("?")[0]
        known = (request.method, path) in self.routes
        if not known and not path.startswith("/api/v1/models/download/status/"):
            what = f"Unexpected endpoint or method. ({request.method} {path}). Returning 200 anyway"
            self.routes[request.method, path] = as_json({"error": what})
        return super().answer(request)

    def lock(self) -> None:
        """Its user turned "Require Authentication" on."""
        self.token = "sk-lm-1"

    def _routes(self) -> Routes:
        routes: dict[tuple[str, str], Reply] = {
            ("GET", "/lmstudio-greeting"): as_json({"lmstudio": True}, X_Powered_By="Express"),
            ("GET", "/v1/models"): lambda _: as_json({"object": "list", "data": self._plain()}),
            ("GET", "/api/v0/models"): as_json({"object": "list", "data": OLD}),
            ("GET", "/api/v1/models"): lambda _: as_json({"models": list(self.models.values())}),
            ("POST", "/api/v1/models/load"): self._load,
            ("POST", "/api/v1/models/unload"): self._unload,
            ("POST", "/api/v1/models/download"): lambda _: as_json(self._job()),
            ("GET", "/api/v1/models/download/status/job_493c7c9ded"): (
                lambda _: as_json(self._job())
            ),
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): self._embeddings,
        }
        return routes

    def _plain(self) -> list[dict[str, object]]:
        return [
            {"id": key, "object": "model", "owned_by": "organization_owner"}
            for key, model in self.models.items()
            if self.jit or model["loaded_instances"]
        ]

    def _job(self) -> dict[str, object]:
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]

    def _instances(self, key: str) -> list[dict[str, object]]:
        found = self.models[key]["loaded_instances"]
        assert isinstance(found, list)
        return found

    def _load(self, request: Seen) -> bytes:
        asked = asked_for(request)
        key = str(asked.get("model"))
        if key not in self.models:
            error = {"type": "model_not_found", "message": f"Model {key} not found",
                     "code": "model_not_found", "param": "model"}  # fmt: skip
            return as_json({"error": error}, "404 Not Found")
        loaded = self._instances(key)
        id_ = key if not loaded else f"{key}:{len(loaded) + 1}"
        context = asked.get("context_length", 4096)
        loaded.append({"id": id_, "config": {"context_length": context, "parallel": 4}})
        return as_json({"type": "llm", "instance_id": id_, "load_time_seconds": 9.099,
                        "status": "loaded"})  # fmt: skip

    def _unload(self, request: Seen) -> bytes:
        id_ = asked_for(request).get("instance_id")
        for key in self.models:
            for instance in self._instances(key):
                if instance["id"] == id_:
                    self._instances(key).remove(instance)
                    return as_json({"instance_id": id_})
        error = {"type": "model_not_found", "message": f"No model instance {id_} found"}
        return as_json({"error": error}, "404 Not Found")

    def _chat(self, request: Seen) -> bytes | Answer:
        """An unknown model is answered by the one that is loaded, as users report."""
        asked = asked_for(request)
        if asked.get("response_format") == {"type": "json_object"}:
            said = "'response_format.type' must be 'json_schema' or 'text'"
            return as_json({"error": said}, "400 Bad Request")
        if asked.get("model") not in self.models:
            asked["model"] = "openai/gpt-oss-20b"
        return _speech(str(asked["model"])).chat(request)

    def _embeddings(self, request: Seen) -> Answer:
        return _speech(str(asked_for(request)["model"])).embeddings(request)


def _speech(model: str) -> Speech:
    return Speech(
        model=model,
        first={"role": "assistant"},
        extra={"system_fingerprint": model},
        headers={"X-Powered-By": "Express"},
    )


OVERFLOW = as_json(
    {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model"
              " is loaded with context length of only 4096 tokens, which is not enough. Try to load"
              " the model with a larger context length, or provide a shorter input"},
    "400 Bad Request",
)  # fmt: skip
"""As its users report it."""

FAILED = event({"error": {"message": "The model has crashed without additional information."}})

SPECIMEN = Specimen(
    id="lmstudio",
    adapter=LmStudioAdapter(),
    start=LmStudioFake,
    product="LM Studio",
    version=None,
    model=Model(
        name="openai/gpt-oss-20b", engine=EngineId("lmstudio"),
        capabilities=("chat", "tools", "reasoning"), context_length=16_384,
        trained_context=131_072, size_bytes=12_109_567_562, quantization="MXFP4",
        family="gpt_oss", loaded=True, parameters="20B",
    ),
    listing=EVERYWHERE,
    moods={"locked": Mood(LmStudioFake.lock, "error-api", NEEDS_KEY)},
    unknown_model=as_json({"error": 'Model "gone" not found. Please specify a valid model.'},
                          "404 Not Found"),
    overflow=OVERFLOW,
    breaks={"an error": Break((FAILED,)), "its model unloaded": Break()},
    load=EngineLoad(slots=4),
)  # fmt: skip
