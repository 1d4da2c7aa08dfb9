"""The rungs of the ladder: one product each, told by what it alone says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flm.engines import fingerprint_shapes as shapes
from flm.engines.answers import answered, decoded
from flm.ports.engines import GENERIC, Identity, Probe

GREETING = "/lmstudio-greeting"
MODELS = "/v1/models"
_LOCKED = (401, 403)
_SEMVER = re.compile(r"\d+\.\d+\.\d+\b")

Asked = Mapping[str, Probe]
"""What was answered, by path."""

Rung = Callable[[Asked], Identity | None]


def flm(told: shapes.Flm, models: Probe) -> Identity:
    """FLM itself, asked before the ladder: what its own page says, and its answer for `MODELS`."""
    locked = models.status in _LOCKED
    return Identity(kind="custom", product="FLM", instance=told.instance, locked=locked)


def _lm_studio(asked: Asked) -> Identity | None:
    """Its control port greets in the same words but lists no models."""
    models = asked[MODELS]
    if answered(asked[GREETING], shapes.Greeting) is None:
        return None
    if models.status == 200 and answered(models, shapes.Listing) is None:
        return None
    return Identity(kind="lmstudio", product="LM Studio", locked=models.status in _LOCKED)


def _by_service_info(asked: Asked) -> Identity | None:
    told = answered(asked["/.well-known/serviceinfo"], shapes.ServiceInfo)
    if told is None or told.software.name not in ("TabbyAPI", "KoboldCpp"):
        return None
    version = told.software.version
    return _custom(asked, told.software.name, None if version is None else str(version))


def _koboldcpp(asked: Asked) -> Identity | None:
    told = answered(asked["/api/extra/version"], shapes.Kobold)
    return _custom(asked, "KoboldCpp", told.version) if told is not None else None


def _localai(asked: Asked) -> Identity | None:
    told = answered(asked["/.well-known/localai.json"], shapes.LocalAi)
    return _custom(asked, "LocalAI", told.version) if told is not None else None


def _docker_model_runner(asked: Asked) -> Identity | None:
    if not _says(asked["/"], b"Docker Model Runner is running"):
        return None
    told = answered(asked["/version"], shapes.Version)
    return _custom(asked, "Docker Model Runner", told.version if told is not None else None)


def _lemonade(asked: Asked) -> Identity | None:
    for path in ("/v1/health", "/api/v1/health"):
        told = answered(asked[path], shapes.Lemonade)
        if told is None:
            continue
        old = told.version is not None and bytes(told.model_loaded) != b""
        if told.all_models_loaded is not None or old:
            found = _custom(asked, "Lemonade", told.version)
            loaded = told.all_models_loaded or []
            ports = (_port(each.backend_url) for each in loaded)
            children = tuple(port for port in ports if port is not None)
            return Identity(
                kind=found.kind,
                product=found.product,
                version=found.version,
                locked=found.locked,
                children=children,
            )
    return None


def _sglang(asked: Asked) -> Identity | None:
    told = answered(asked["/get_model_info"], shapes.SGLang)
    return _custom(asked, "SGLang", None) if told is not None else None


def _fastflowlm(asked: Asked) -> Identity | None:
    if answered(asked["/api/npu/status"], shapes.Npu) is None:
        return None
    told = answered(asked["/api/version"], shapes.Version)
    return _custom(asked, "FastFlowLM", told.version if told is not None else None)


def _llamacpp(asked: Asked) -> Identity | None:
    """By `build_info`; while it loads or is locked, by its error and its own name."""
    props = asked["/props"]
    told = answered(props, shapes.LlamaProps)
    if told is not None:
        return Identity(kind="llamacpp", product=_llama_name(props), version=told.build_info)
    if props.headers.get("server") != "llama.cpp":
        return None
    kind = _fault_of(props)
    if props.status == 401 and kind == "authentication_error":
        return Identity(kind="llamacpp", product="llama.cpp", locked=True)
    if props.status == 503 and kind == "unavailable_error":
        return Identity(kind="llamacpp", product="llama.cpp", loading=True)
    if answered(props, shapes.OldLlamaProps) is not None:
        return Identity(kind="llamacpp", product="llama.cpp")
    return None


def _ollama(asked: Asked) -> Identity | None:
    """Its version number tells nothing: 0.7.0, 0.1.0 and 1.0.0 are those of emulators, which
    have been told by now, and of real ones."""
    told = answered(asked["/api/version"], shapes.Version)
    if (
        told is None
        or not _SEMVER.match(told.version)
        or not _says(asked["/"], b"Ollama is running")
        or answered(asked["/api/ps"], shapes.Running) is None
    ):
        return None
    return Identity(kind="ollama", product="Ollama", version=told.version)


def _vllm(asked: Asked) -> Identity | None:
    told = answered(asked["/version"], shapes.Version)
    listed = answered(asked[MODELS], shapes.Listing)
    if told is None or listed is None:
        return None
    owned = any(each.owned_by == "vllm" for each in listed.data)
    return Identity(kind="vllm", product="vLLM", version=told.version) if owned else None


def _text_generation_webui(asked: Asked) -> Identity | None:
    """Locked it says no more than FastAPI does, but only where it has something to hide."""
    info = asked["/v1/internal/model/info"]
    if answered(info, shapes.TextGeneration) is not None:
        return Identity(kind="text-generation-webui", product="text-generation-webui")
    told = decoded(info.body, shapes.Detail) if info.status == 401 else None
    nothing = asked["/get_model_info"]
    if told != shapes.Detail("Unauthorized") or nothing.status != 404:
        return None
    if decoded(nothing.body, shapes.Detail) != shapes.Detail("Not Found"):
        return None
    return Identity(kind="text-generation-webui", product="text-generation-webui", locked=True)


LADDER: tuple[Rung, ...] = (
    _lm_studio,
    _by_service_info,
    _koboldcpp,
    _localai,
    _docker_model_runner,
    _lemonade,
    _sglang,
    _fastflowlm,
    _llamacpp,
    _ollama,
    _vllm,
    _text_generation_webui,
)
"""In this order. After them come those of a second look."""


def may_be_vllm(asked: Asked) -> bool:
    """Whether its metrics are worth asking for: it has a version and shows no list of its own."""
    told = answered(asked["/version"], shapes.Version)
    return told is not None and answered(asked[MODELS], shapes.Listing) is None


def locked_vllm(asked: Asked, metrics: Probe) -> Identity | None:
    """A vLLM that hides its models: version and metrics stand open whatever its key protects."""
    told = answered(asked["/version"], shapes.Version)
    if told is None or metrics.status != 200 or b"vllm:" not in metrics.body:
        return None
    locked = asked[MODELS].status in _LOCKED
    return Identity(kind="vllm", product="vLLM", version=told.version, locked=locked)


def is_open_webui(asked: Asked) -> bool:
    """Open WebUI is a client of engines, and may be one of ours."""
    return answered(asked["/api/config"], shapes.OpenWebUi) is not None


def jan(asked: Asked, openapi: Probe) -> Identity | None:
    """Jan's own server, by the title of its document."""
    told = answered(openapi, shapes.OpenApi)
    named = told is not None and re.match(r"Jan\b", told.info.title) is not None
    return _custom(asked, "Jan", None) if named else None


def may_be_mlx(asked: Asked) -> bool:
    """Whether its health may be asked: Python's own server, with models that nobody owns."""
    models = asked[MODELS]
    listed = answered(models, shapes.Listing)
    named = models.headers.get("server", "").startswith("BaseHTTP")
    return named and listed is not None and all(each.owned_by is None for each in listed.data)


def mlx(health: Probe) -> Identity | None:
    """mlx_lm.server is healthy with and without a model."""
    if answered(health, shapes.Healthy) is None:
        return None
    return Identity(kind="custom", product="mlx_lm")


def openai_compatible(asked: Asked) -> Identity | None:
    """Anything with OpenAI's list of models, or with OpenAI's error in front of it."""
    models = asked[MODELS]
    listed = answered(models, shapes.Listing)
    if listed is not None and (listed.data or listed.object == "list"):
        return _custom(asked, _llama_name(models, GENERIC), None)
    if models.status in _LOCKED and decoded(models.body, shapes.Refused) is not None:
        return _custom(asked, GENERIC, None)
    return None


def _custom(asked: Asked, product: str, version: str | None) -> Identity:
    locked = asked[MODELS].status in _LOCKED
    return Identity(kind="custom", product=product, version=version or None, locked=locked)


def _llama_name(probe: Probe, otherwise: str = "llama.cpp") -> str:
    """llamafile carries llama.cpp's server under its own name."""
    return "llamafile" if "llamafile" in probe.headers.get("server", "").lower() else otherwise


def _says(probe: Probe, text: bytes) -> bool:
    return probe.status == 200 and probe.body.strip() == text


def _fault_of(probe: Probe) -> str | None:
    told = decoded(probe.body, shapes.Refused)
    return told.error.type if told is not None and isinstance(told.error, shapes.Fault) else None


def _port(url: str | None) -> int | None:
    try:
        return urlsplit(url or "").port
    except ValueError:
        return None
