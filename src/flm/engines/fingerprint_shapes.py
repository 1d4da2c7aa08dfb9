"""The bodies by which engines are told, each as its source writes it. Only what tells is named."""

from __future__ import annotations

from typing import Literal

import msgspec


class Flm(msgspec.Struct):
    """`/.well-known/flm`."""

    instance: str


class Greeting(msgspec.Struct):
    """LM Studio's `/lmstudio-greeting`."""

    lmstudio: Literal[True]


class Software(msgspec.Struct):
    """`software` of `/.well-known/serviceinfo`."""

    name: str
    version: str | float | None = None


class ServiceInfo(msgspec.Struct):
    """TabbyAPI's and KoboldCpp's `/.well-known/serviceinfo`."""

    software: Software


class Kobold(msgspec.Struct):
    """KoboldCpp's `/api/extra/version`."""

    result: Literal["KoboldCpp"]
    version: str | None = None


class LocalAi(msgspec.Struct):
    """LocalAI's `/.well-known/localai.json`."""

    version: str
    endpoints: dict[str, msgspec.Raw] | list[msgspec.Raw]


class Backend(msgspec.Struct):
    """One of Lemonade's loaded models: the engine it started for it listens at ``backend_url``."""

    backend_url: str | None = None


class Lemonade(msgspec.Struct):
    """Lemonade's `/v1/health`; old ones name the one loaded model only."""

    status: str
    version: str | None = None
    model_loaded: msgspec.Raw = msgspec.Raw(b"")
    all_models_loaded: list[Backend] | None = None


class SGLang(msgspec.Struct):
    """SGLang's `/get_model_info`."""

    model_path: str
    is_generation: bool


class Npu(msgspec.Struct):
    """FastFlowLM's `/api/npu/status`."""

    npu_available: bool


class Fault(msgspec.Struct):
    """An `error` object, llama.cpp's with its kind in ``type``."""

    message: str
    type: str | None = None


class Refused(msgspec.Struct):
    """An error answer: an object, or vLLM's and SGLang's plain string."""

    error: Fault | str


class Detail(msgspec.Struct):
    """FastAPI's error answer."""

    detail: str


class LlamaProps(msgspec.Struct):
    """llama.cpp's `/props`. KoboldCpp and TabbyAPI serve a look-alike without ``build_info``."""

    build_info: str


class OldLlamaProps(msgspec.Struct):
    """The same of builds before the end of 2024."""

    default_generation_settings: dict[str, msgspec.Raw]
    total_slots: int


class Version(msgspec.Struct):
    """`/api/version` of Ollama and its emulators, `/version` of vLLM and others."""

    version: str


class Running(msgspec.Struct):
    """Ollama's `/api/ps`."""

    models: list[msgspec.Raw]


class Listed(msgspec.Struct):
    """One entry of OpenAI's list of models."""

    id: str
    owned_by: str | None = None


class Listing(msgspec.Struct):
    """OpenAI's `/v1/models`."""

    data: list[Listed]
    object: str = ""


class TextGeneration(msgspec.Struct):
    """text-generation-webui's `/v1/internal/model/info`."""

    model_name: str
    lora_names: list[str]
    loader: str | None


class OpenWebUi(msgspec.Struct):
    """Open WebUI's `/api/config`; ``name`` is what its owner called it."""

    name: str
    status: bool
    version: str
    features: dict[str, msgspec.Raw]


class Info(msgspec.Struct):
    """`info` of an OpenAPI document."""

    title: str


class OpenApi(msgspec.Struct):
    """An OpenAPI document."""

    info: Info


class Healthy(msgspec.Struct):
    """`/health` of mlx_lm and many others."""

    status: Literal["ok"]
