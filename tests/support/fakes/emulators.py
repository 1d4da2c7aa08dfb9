"""Engines that FLM serves as `custom` under their true name, and things that are no engine.

Each speaks what its source says (named at each), with the APIs it emulates: they are what a
careless look takes for Ollama, vLLM or llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping

from support.fakes.base import Routes, as_json
from support.replay import Reply, response

TEXT = "text/plain; charset=utf-8"
OLLAMA_GREETING = response("Ollama is running", content_type=TEXT)


def _models(owner: str | None, *ids: str, **more: object) -> bytes:
    entries = [
        {"id": id_, "object": "model", "created": 1_760_000_000, **more}
        | ({} if owner is None else {"owned_by": owner})
        for id_ in ids
    ]
    return as_json({"object": "list", "data": entries})


def koboldcpp() -> Routes:
    """KoboldCpp 1.102 (koboldcpp.py `do_GET`): Ollama's list and version, llama.cpp's props."""
    model = {
        "name": "koboldcpp",
        "model": "koboldcpp",
        "modified_at": "2024-07-19T15:26:55.6122841+08:00",
        "size": 394_998_579,
        "digest": "b5dc5e784f2a3ee1582373093acf69a2f4e2ac1710b253a001712b86a61f88bb",
        "details": {"format": "gguf", "family": "koboldcpp", "families": ["koboldcpp"]},
    }
    flags = {"protected": False, "txt2img": False, "vision": False, "admin": False}
    return {
        ("GET", "/"): response("<html>KoboldAI Lite</html>", content_type="text/html"),
        ("GET", "/.well-known/serviceinfo"): as_json(
            {"version": "0.2", "software": {"name": "KoboldCpp", "version": "1.102"}}
        ),
        ("GET", "/api/extra/version"): as_json(
            {"result": "KoboldCpp", "version": "1.102", **flags}
        ),
        ("GET", "/api/version"): as_json({"version": "0.7.0"}),
        ("GET", "/api/tags"): as_json({"models": [model]}),
        ("GET", "/api/ps"): as_json({"models": [model]}),
        ("GET", "/props"): as_json(
            {"chat_template": "", "total_slots": 1, "default_generation_settings": {"n_ctx": 8192}}
        ),
        ("GET", "/v1/models"): _models("koboldcpp", "koboldcpp/tiny", root="koboldcpp"),
        ("GET", "*"): response("Error: HTTP Server is running", "404 Not Found", TEXT),
    }


def tabbyapi(*, locked: bool = True) -> Routes:
    """TabbyAPI e632af41 (endpoints/core, endpoints/OAI): keys on by default, llama.cpp's props."""
    refused = as_json({"detail": "Please provide an API key"}, "401 Unauthorized")
    return {
        ("GET", "/.well-known/serviceinfo"): as_json(
            {"version": 0.1, "software": {"name": "TabbyAPI", "homepage": "x", "repository": "y"}}
        ),
        ("GET", "/health"): as_json({"status": "healthy", "issues": []}),
        ("GET", "/props"): refused
        if locked
        else as_json(
            {
                "total_slots": 1,
                "chat_template": "",
                "default_generation_settings": {"n_ctx": 4096},
            }
        ),
        ("GET", "/v1/models"): refused if locked else _models("tabbyAPI", "exl3-tiny"),
        ("GET", "*"): as_json({"detail": "Not Found"}, "404 Not Found"),
    }


def localai() -> Routes:
    """LocalAI (core/http/routes): the whole of Ollama's API, the greeting by a flag."""
    return {
        ("GET", "/"): OLLAMA_GREETING,
        ("GET", "/.well-known/localai.json"): as_json(
            {"version": "v4.9.0", "endpoints": {"chat": "/v1/chat/completions"}, "capabilities": {}}
        ),
        ("GET", "/readyz"): response(b"", content_type=TEXT),
        ("GET", "/version"): as_json({"version": "v4.9.0"}),
        ("GET", "/api/version"): as_json({"version": "0.9.0"}),
        ("GET", "/api/tags"): as_json({"models": []}),
        ("GET", "/api/ps"): as_json({"models": []}),
        ("GET", "/v1/models"): _models(None, "gpt-4"),
        ("GET", "*"): as_json(
            {"error": {"code": 404, "message": "Resource not found", "type": ""}}, "404 Not Found"
        ),
    }


def docker_model_runner() -> Routes:
    """Docker Model Runner 1.2.6 (pkg/routing, pkg/ollama): vLLM's version, Ollama's API."""
    return {
        ("GET", "/"): response("Docker Model Runner is running", content_type=TEXT),
        ("GET", "/version"): as_json({"version": "v1.2.6"}),
        ("GET", "/api/version"): as_json({"version": "0.1.0"}),
        ("GET", "/api/tags"): as_json({"models": []}),
        ("GET", "/api/ps"): as_json({"models": []}),
        ("GET", "/v1/models"): _models("docker", "ai/smollm2", dmr={"context_window": 8192}),
        ("GET", "*"): response("not found", "404 Not Found", TEXT),
    }


def lemonade(backend: int = 8001) -> Routes:
    """Lemonade 11.7 (server.cpp `/v1/health`): Ollama's API; its llama-server at ``backend``."""
    loaded = {
        "model_name": "Tiny-GGUF",
        "type": "llm",
        "device": "gpu",
        "recipe": "llamacpp",
        "pid": 4242,
        "backend_url": f"http://127.0.0.1:{backend}/v1",
    }
    health = {"status": "ok", "version": "11.7.0", "model_loaded": "Tiny-GGUF"}
    return {
        ("GET", "/"): OLLAMA_GREETING,
        ("GET", "/live"): as_json({"status": "ok"}),
        ("GET", "/v1/health"): as_json({**health, "all_models_loaded": [loaded]}),
        ("GET", "/api/v1/health"): as_json({**health, "all_models_loaded": [loaded]}),
        ("GET", "/api/version"): as_json({"version": "0.12.0"}),
        ("GET", "/api/tags"): as_json({"models": []}),
        ("GET", "/api/ps"): as_json({"models": []}),
        ("GET", "/v1/models"): _models("lemonade", "Tiny-GGUF", recipe="llamacpp", size=0.4),
        ("GET", "*"): as_json({"error": {"message": "x", "type": "not_found"}}, "404 Not Found"),
    }


def sglang() -> Routes:
    """SGLang (http_server.py, docs ollama_api): Ollama's greeting and list, no `/api/version`."""
    return {
        ("GET", "/"): OLLAMA_GREETING,
        ("GET", "/get_model_info"): as_json(
            {
                "model_path": "Qwen/Qwen3-0.6B",
                "tokenizer_path": "Qwen/Qwen3-0.6B",
                "is_generation": True,
                "preferred_sampling_params": None,
                "weight_version": "default",
            }
        ),
        ("GET", "/api/tags"): as_json({"models": []}),
        ("GET", "/v1/models"): _models("sglang", "Qwen/Qwen3-0.6B", max_model_len=40_960),
        ("GET", "*"): as_json({"detail": "Not Found"}, "404 Not Found"),
    }


def fastflowlm() -> Routes:
    """FastFlowLM 0.9.2 (server.cpp): Ollama's port, version and list; errors with status 200."""
    return {
        ("GET", "/"): OLLAMA_GREETING,
        ("GET", "/api/npu/status"): as_json(
            {"npu_available": True, "active_requests": 0, "message": "NPU is available"}
        ),
        ("GET", "/api/version"): as_json({"version": "1.0.0"}),
        ("GET", "/api/tags"): as_json({"models": [{"name": "llama3.2:1b"}]}),
        ("GET", "/api/ps"): as_json({"models": []}),
        ("GET", "/v1/models"): _models("FastFlowLM", "llama3.2:1b"),
        ("GET", "*"): as_json({"error": "Not Found"}, "404 Not Found"),
    }


def jan() -> Routes:
    """Jan's app (proxy.rs): a key on everything but its document; plain-text errors."""
    refused = response("Invalid or missing authorization token", "401 Unauthorized", TEXT)
    return {
        ("GET", "/openapi.json"): as_json(
            {"openapi": "3.0.0", "info": {"title": "Jan API Server Endpoints", "version": "0"}}
        ),
        ("GET", "*"): refused,
    }


def mlx_lm() -> Routes:
    """mlx_lm 0.31.3 (server.py): Python's own server, models that nobody owns."""
    named = {"Server": "BaseHTTP/0.6 Python/3.12.4"}
    entry = {"id": "mlx-community/tiny", "object": "model", "created": 1_760_000_000}
    return {
        ("GET", "/health"): as_json({"status": "ok"}, Server=named["Server"]),
        ("GET", "/v1/models"): as_json({"object": "list", "data": [entry]}, Server=named["Server"]),
        ("GET", "*"): response("Not Found", "404 Not Found", TEXT, named),
    }


def llamafile() -> Routes:
    """llamafiler, llamafile's older server: its own name, no `/props`."""
    named = {"Server": "llamafiler/0.9.3"}
    return {
        ("GET", "/v1/models"): as_json(
            {"object": "list", "data": [{"id": "tiny", "object": "model"}]}, Server=named["Server"]
        ),
        ("GET", "*"): response("404 Not Found", "404 Not Found", TEXT, named),
    }


def openai_compatible() -> Routes:
    """Anything else with OpenAI's list of models (platform.openai.com/docs/api-reference)."""
    return {("GET", "/v1/models"): _models("somebody", "a-model")}


def locked_openai_compatible() -> Routes:
    """The same behind a key."""
    error = {"message": "No API key", "type": "invalid_request_error", "param": None, "code": None}
    return {("GET", "*"): as_json({"error": error}, "401 Unauthorized")}


CUSTOM: Mapping[str, tuple[str, Routes]] = {
    "koboldcpp": ("KoboldCpp", koboldcpp()),
    "tabbyapi": ("TabbyAPI", tabbyapi(locked=False)),
    "localai": ("LocalAI", localai()),
    "docker-model-runner": ("Docker Model Runner", docker_model_runner()),
    "lemonade": ("Lemonade", lemonade()),
    "sglang": ("SGLang", sglang()),
    "fastflowlm": ("FastFlowLM", fastflowlm()),
    "mlx_lm": ("mlx_lm", mlx_lm()),
    "llamafile": ("llamafile", llamafile()),
    "custom": ("OpenAI-compatible", openai_compatible()),
}
"""By the id they are given: the true name, and the routes of a healthy one."""


# What is no engine


def open_webui() -> Routes:
    """Open WebUI (main.py `/api/config`): a client of engines with a list of its own."""
    config = {
        "status": True,
        "name": "Our chat (Open WebUI)",
        "version": "0.6.30",
        "default_locale": "",
        "oauth": {"providers": {}},
        "features": {"auth": True, "enable_signup": False},
    }
    page = response("<!doctype html><html></html>", content_type="text/html")
    return {
        ("GET", "/api/config"): as_json(config),
        ("GET", "/api/version"): as_json({"version": "0.6.30"}),
        ("GET", "/health"): as_json({"status": True}),
        ("GET", "/v1/models"): _models("openai", "gpt-4"),
        ("GET", "*"): page,
    }


def airplay() -> Routes:
    """macOS's AirPlay receiver on port 5000: 403 and not a byte more."""
    return {
        ("GET", "*"): response(
            b"", "403 Forbidden", "application/octet-stream", {"Server": "AirTunes/870.14.1"}
        )
    }


def corporate_proxy() -> Routes:
    """A proxy that answers every URL with a page of its own and status 200."""
    return {("GET", "*"): response("<html>Access notice</html>", content_type="text/html")}


def admin_page() -> Routes:
    """Something that wants a login before it says what it is."""
    return {("GET", "*"): response("<html>Sign in</html>", "401 Unauthorized", "text/html")}


def json_of_another() -> Routes:
    """A web service that answers every path with the same friendly JSON."""
    return {("GET", "*"): as_json({"status": "ok", "version": "2.1.0", "data": [], "models": []})}


def redirecting() -> Routes:
    """A server that sends everybody to its login."""
    return {("GET", "*"): response(b"", "302 Found", TEXT, {"Location": "/login"})}


def flm(instance: str) -> Routes:
    """FLM itself, one of that instance: OpenAI's list, and who it is."""
    return {
        ("GET", "/.well-known/flm"): as_json({"instance": instance}),
        ("GET", "/health"): as_json({"status": "ok"}),
        ("GET", "/v1/models"): as_json(
            {"error": {"message": "No key.", "type": "invalid_request_error"}}, "401 Unauthorized"
        ),
    }


IMPOSTORS: Mapping[str, Routes] = {
    "Open WebUI": open_webui(),
    "AirPlay": airplay(),
    "corporate proxy": corporate_proxy(),
    "admin page": admin_page(),
    "another's JSON": json_of_another(),
    "redirecting": redirecting(),
    "FLM": flm("0123456789abcdef"),
    "nothing but 404": {},
}
"""What is never listed as an engine."""


def greeter(version: str, **changed: Reply) -> Routes:
    """Ollama's API with that version: a real one, or whatever ``changed`` (by path) makes of it."""
    routes: Routes = {
        ("GET", "/"): OLLAMA_GREETING,
        ("GET", "/api/version"): as_json({"version": version}),
        ("GET", "/api/tags"): as_json({"models": []}),
        ("GET", "/api/ps"): as_json({"models": []}),
    }
    return routes | {("GET", path): reply for path, reply in changed.items()}
