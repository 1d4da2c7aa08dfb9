"""Servers that answer like the engines, with what was recorded from them, and like look-alikes."""

from __future__ import annotations

from support.replay import Reply, recorded, response

OLLAMA = "ollama-0.33.0-rc2"
LLAMACPP = "llamacpp-xllamacpp-2026.10"
LLAMACPP_KEY = "llamacpp-xllamacpp-2026.10-key"
VLLM = "vllm-0.32.0-cpu"
VLLM_KEY = "vllm-0.32.0-cpu-tools-and-key"
WEBUI = "text-generation-webui-4.7.3"

LOADING = response(
    '{"error":{"message":"Loading model","type":"unavailable_error","code":503}}',
    "503 Service Unavailable",
    headers={"Server": "llama.cpp"},
)
"""llama.cpp's answer to everything while it loads (server.cpp, read; not recorded)."""


def ollama(**changed: Reply) -> dict[tuple[str, str], Reply]:
    """Ollama 0.33.0-rc2 with four models, one of them loaded; `version`, `tags`, `ps` or
    `root` can be answered otherwise."""
    return {
        ("GET", "/"): changed.get("root", recorded(OLLAMA, "root")),
        ("GET", "/api/version"): changed.get("version", recorded(OLLAMA, "version")),
        ("GET", "/api/tags"): changed.get("tags", recorded(OLLAMA, "tags")),
        ("GET", "/api/ps"): changed.get("ps", recorded(OLLAMA, "ps")),
        ("POST", "/api/show"): changed.get("show", recorded(OLLAMA, "show")),
        ("GET", "*"): recorded(OLLAMA, "unknown-path"),
    }


def llamacpp(**changed: Reply) -> dict[tuple[str, str], Reply]:
    """llama.cpp with one model in two slots of 1,024 tokens."""
    return {
        ("GET", "/health"): changed.get("health", recorded(LLAMACPP, "get-health")),
        ("GET", "/props"): changed.get("props", recorded(LLAMACPP, "get-props")),
        ("GET", "/v1/models"): changed.get("models", recorded(LLAMACPP, "get-models")),
        ("GET", "/"): recorded(LLAMACPP, "get-root"),
        ("GET", "*"): recorded(LLAMACPP, "get-unknown-path"),
    }


def llamacpp_locked() -> dict[tuple[str, str], Reply]:
    """llama.cpp that demands a key."""
    return {
        ("GET", "/health"): recorded(LLAMACPP_KEY, "noauth-get-health"),
        ("GET", "/props"): recorded(LLAMACPP_KEY, "noauth-get-props"),
        ("GET", "/v1/models"): recorded(LLAMACPP_KEY, "noauth-get-models"),
    }


def vllm() -> dict[tuple[str, str], Reply]:
    """vLLM 0.32.0 on CPU with a context of 512 tokens."""
    return {
        ("GET", "/v1/models"): recorded(VLLM, "get-models"),
        ("GET", "/health"): recorded(VLLM, "get-health"),
        ("GET", "*"): recorded(VLLM, "get-root"),
    }


def lm_studio() -> dict[tuple[str, str], Reply]:
    """LM Studio: 200 with an error for every path it does not know (its bug tracker, 1323)."""
    return {
        ("GET", "*"): response('{"error":"Unexpected endpoint or method. (GET /x)"}'),
        ("GET", "/lmstudio-greeting"): response('{"lmstudio":true}'),
    }


def koboldcpp() -> dict[tuple[str, str], Reply]:
    """KoboldCpp 1.102 (koboldcpp.py, read): Ollama's version, list and ps, its own page at /."""
    model = (
        '{"models":[{"name":"koboldcpp","model":"koboldcpp","size":394998579,'
        '"digest":"b5dc5e784f2a3ee1582373093acf69a2f4e2ac1710b253a001712b86a61f88bb",'
        '"details":{"format":"gguf","family":"koboldcpp"}}]}'
    )
    return {
        ("GET", "/"): response("<html>KoboldAI Lite</html>", content_type="text/html"),
        ("GET", "/api/version"): response('{"version":"0.7.0"}'),
        ("GET", "/api/tags"): response(model),
        ("GET", "/api/ps"): response(model),
        ("GET", "/props"): response('{"chat_template":"","total_slots":1}'),
        ("GET", "/v1/models"): response('{"object":"list","data":[{"id":"koboldcpp/tiny"}]}'),
    }


def greeter(version: str, **extra: str) -> dict[tuple[str, str], Reply]:
    """Something that emulates Ollama wholly, greeting included, with that version."""
    routes: dict[tuple[str, str], Reply] = {
        ("GET", "/"): response("Ollama is running", content_type="text/plain"),
        ("GET", "/api/version"): response(f'{{"version":"{version}"}}'),
        ("GET", "/api/tags"): response('{"models":[]}'),
        ("GET", "/api/ps"): response('{"models":[]}'),
    }
    return routes | {("GET", path): response(body) for path, body in extra.items()}
