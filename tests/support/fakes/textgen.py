"""text-generation-webui 4.7.3: what was recorded of it, the rest as `modules/api` words it."""

from __future__ import annotations

import json

from flm.domain.engines import NEEDS_KEY, EngineId
from flm.domain.models import Model
from flm.engines.text_generation_webui.adapter import TextGenerationWebuiAdapter
from support.fakes.base import FakeEngine, as_json, asked_for, instead
from support.fakes.specimen import Break, Mood, Specimen
from support.fakes.speech import Speech
from support.replay import Answer, Seen, recorded, response

RECORDED = "text-generation-webui-4.7.3"
NO_ROUTE = recorded(RECORDED, "get-unknown-path")
NO_MODEL = recorded(RECORDED, "after-unload-chat")
LOCKED = as_json({"detail": "Unauthorized"}, "401 Unauthorized", Server="uvicorn")
NOT_LOADED = as_json({"detail": "Failed to load the model."}, "400 Bad Request")
BUSY = as_json(
    {"error": {"message": "The model is not loaded.", "type": "server_error", "param": None,
               "code": None}},
    "503 Service Unavailable",
)  # fmt: skip
"""`ServiceUnavailable` (errors.py)."""

SPEECH = Speech(
    model="tiny",
    first={"role": "assistant", "refusal": None, "content": ""},
    message={"refusal": None},
    extra={"system_fingerprint": None},
    whole_calls=True,
    spaced=True,
    headers={"Server": "uvicorn"},
)


class TextGenerationWebuiFake(FakeEngine):
    """Three models on its disk, one of them loaded (``loaded``, None: none is).

    ``broken``: those that cannot be loaded. It answers every `model` with the one it has.
    """

    def __init__(self) -> None:
        self.names = ["tiny", "Qwen3-8B-Q4_K_M.gguf", "broken.gguf"]
        self.loaded: str | None = "tiny"
        self.broken = {"broken.gguf"}
        super().__init__({
            ("GET", "/v1/internal/health"): recorded(RECORDED, "get-internal-health"),
            ("GET", "/v1/internal/model/info"): self._info,
            ("GET", "/v1/internal/model/list"): lambda _: as_json({"model_names": self.names}),
            ("POST", "/v1/internal/model/load"): self._load,
            ("POST", "/v1/internal/model/unload"): self._unload,
            ("GET", "/v1/models"): recorded(RECORDED, "get-models"),
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): SPEECH.embeddings,
            ("GET", "*"): NO_ROUTE,
            ("POST", "*"): NO_ROUTE,
        })  # fmt: skip

    def _info(self, request: Seen) -> bytes:
        return as_json({"model_name": self.loaded or "None", "lora_names": [],
                        "loader": "Transformers"})  # fmt: skip

    def _chat(self, request: Seen) -> Answer:
        return SPEECH.chat(request) if self.loaded else Answer(NO_MODEL)

    def _load(self, request: Seen) -> bytes:
        """What is loaded goes first, whether or not the other one comes."""
        wanted = str(asked_for(request)["model_name"])
        self.loaded = None
        if wanted in self.broken or wanted not in self.names:
            return NOT_LOADED
        self.loaded = wanted
        return recorded(RECORDED, "internal-model-load")

    def _unload(self, request: Seen) -> bytes:
        self.loaded = None
        return recorded(RECORDED, "internal-model-unload")

    def lock(self) -> None:
        """It demands a key of all its routes, not of those it does not have."""
        for _, path in self.routes:
            if path != "*":
                self.fault(path, instead(LOCKED))

    def misread(self) -> None:
        """Its model's name is no text."""
        self.fault("/v1/internal/model/info", instead(response(json.dumps({"model_name": 3}))))


SPECIMEN = Specimen(
    id="text-generation-webui",
    adapter=TextGenerationWebuiAdapter(),
    start=TextGenerationWebuiFake,
    product="text-generation-webui",
    version=None,
    model=Model(
        name="tiny", engine=EngineId("text-generation-webui"), capabilities=("chat",),
        loaded=True, by_hand=True,
    ),
    listing="/v1/internal/model/info",
    moods={
        "locked": Mood(TextGenerationWebuiFake.lock, "error-api", NEEDS_KEY),
        "misread": Mood(
            TextGenerationWebuiFake.misread, "error-api", "its model cannot be read"
        ),
    },
    busy=BUSY,
    breaks={"its model unloaded": Break()},
)  # fmt: skip
