"""Engines as programs: `install` writes one into a folder, under the name that the real one has.

Each is a real process that serves the few documented bytes FLM asks for (Ollama 0.33, vLLM 0.32,
llama.cpp b10488, LM Studio 0.4), and has children: one in its group, one in a session of its own,
and one that nobody is the parent of any more. What it does is in the test's hand by files in its
folder: `hold` keeps it from becoming ready, `fail` has it say the file's words and end with 3,
`slow` has it wait so long before each answer. `pids` lists every process that it ever started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRIPT = """#!{python}
import sys
sys.path.insert(0, {support!r})
from engine_program import main
main({name!r}, {folder!r}, {models!r})
"""


def install(folder: Path, name: str, *models: str) -> Path:
    """Write the program `name` into `folder`; its path. It serves `models`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(
        SCRIPT.format(
            python=sys.executable,
            support=str(Path(__file__).parent),
            name=name,
            folder=str(folder),
            models=list(models),
        )
    )
    path.chmod(0o755)
    return path


def pids(folder: Path) -> list[int]:
    """Every process that the programs in `folder` ever started."""
    file = folder / "pids"
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def starts(folder: Path) -> list[list[str]]:
    """The command lines of every start, in order."""
    file = folder / "starts"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main(name: str, folder: str, models: list[str]) -> None:
    """Be that engine."""
    at = Path(folder)
    if name == "lms":
        _lms(at, models)
        return
    _note(at, "starts", json.dumps(sys.argv[1:]))
    _note(at, "pids", str(os.getpid()))
    print(f"{name} is starting", flush=True)
    if (at / "fail").exists():
        print((at / "fail").read_text(), flush=True)
        sys.exit(3)
    _have_children(at)
    Server(name, at, models).run()


def _lms(at: Path, models: list[str]) -> None:
    """Starts a server that is no child of its own, or stops it, and leaves."""
    if sys.argv[1:3] == ["server", "start"]:
        _note(at, "starts", json.dumps(sys.argv[1:]))
        port = sys.argv[sys.argv.index("--port") + 1]
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
            f"sys.argv = ['llmster', '--port', {port!r}]; "
            f"from engine_program import main; main('llmster', {str(at)!r}, {models!r})"
        )
        with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as daemon:
            (at / "daemon").write_text(str(daemon.pid))
            os._exit(0)
    _note(at, "stops", json.dumps(sys.argv[1:]))
    os.kill(int((at / "daemon").read_text()), signal.SIGTERM)


def _note(at: Path, name: str, line: str) -> None:
    with (at / name).open("a") as file:
        file.write(line + "\n")


def _have_children(at: Path) -> None:
    for away in (False, True):
        child = subprocess.Popen(["sleep", "600"], start_new_session=away)
        _note(at, "pids", str(child.pid))
    # a shell that leaves its child behind, in a session of its own
    shell = ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"]
    said = subprocess.run(shell, stdout=subprocess.PIPE, start_new_session=True, check=True)
    _note(at, "pids", said.stdout.decode().strip())


class Server:
    """The HTTP of an engine."""

    def __init__(self, name: str, at: Path, models: list[str]) -> None:
        self.name = name
        self.at = at
        self.models = models
        self.key = os.environ.get("VLLM_API_KEY" if name == "vllm" else "LLAMA_API_KEY")
        self.busy = threading.Semaphore(64)

    def run(self) -> None:
        """Serve until told to leave. vLLM listens when it is ready, llama.cpp before."""
        if self.name == "ollama":
            host, _, port = os.environ["OLLAMA_HOST"].partition(":")
        else:
            host, port = "127.0.0.1", sys.argv[sys.argv.index("--port") + 1]
        if self.name != "llama-server":
            while self.loading():
                time.sleep(0.02)
        server = Http((host, int(port)), Handler)
        server.engine = self
        print(f"{self.name} listens on {host}:{port}", flush=True)
        server.serve_forever()

    def loading(self) -> bool:
        """Whether it is kept from becoming ready."""
        return (self.at / "hold").exists()

    def get(self, path: str) -> tuple[int, Any]:
        """Status and document of a GET."""
        if self.name == "llama-server" and self.loading():
            message = {"message": "Loading model", "type": "unavailable_error", "code": 503}
            return 503, {"error": message}
        answers = {"ollama": self._ollama, "vllm": self._vllm, "llama-server": self._llama}
        return answers.get(self.name, self._lmstudio)(path)

    def _ollama(self, path: str) -> tuple[int, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "1B",
                   "quantization_level": "Q4_0"}  # fmt: skip
        tags = [
            {"name": name, "model": name, "modified_at": "2026-01-01T00:00:00Z", "size": 1,
             "digest": name, "details": details, "capabilities": ["completion"]}
            for name in self.models
        ]  # fmt: skip
        known: dict[str, Any] = {
            "/": "Ollama is running",
            "/api/version": {"version": "0.33.0"},
            "/api/tags": {"models": tags},
            "/api/ps": {"models": []},
            "/api/status": {"cloud": {"disabled": True, "source": "env"}},
        }
        return (200, known[path]) if path in known else (404, "404 page not found")

    def _vllm(self, path: str) -> tuple[int, Any]:
        models = [
            {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": name,
             "parent": None, "max_model_len": 4096, "permission": []}
            for name in self.models
        ]  # fmt: skip
        known: dict[str, Any] = {
            "/health": "",
            "/version": {"version": "0.32.0"},
            "/v1/models": {"object": "list", "data": models},
            "/metrics": "vllm:num_requests_running 0.0\n",
        }
        return (200, known[path]) if path in known else (404, {"detail": "Not Found"})

    def _llama(self, path: str) -> tuple[int, Any]:
        models = [
            {"id": name, "object": "model", "created": 1, "owned_by": "llamacpp",
             "meta": {"n_ctx_train": 4096, "n_ctx": 4096}}
            for name in self.models
        ]  # fmt: skip
        props = {
            "default_generation_settings": {"n_ctx": 4096}, "total_slots": 1,
            "model_alias": self.models[0], "model_path": "/m.gguf", "chat_template": "",
            "modalities": {"vision": False, "audio": False}, "build_info": "b10488-fb307609",
            "chat_template_caps": {},
        }  # fmt: skip
        known: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/props": props,
            "/slots": [],
            "/v1/models": {"models": [], "object": "list", "data": models},
            "/models": {"models": [], "object": "list", "data": models},
        }
        missing = {"message": "File Not Found", "type": "not_found_error", "code": 404}
        return (200, known[path]) if path in known else (404, {"error": missing})

    def _lmstudio(self, path: str) -> tuple[int, Any]:
        v1 = [
            {"type": "llm", "publisher": "me", "key": name, "display_name": name,
             "quantization": {"name": "Q4_0", "bits_per_weight": 4}, "size_bytes": 1,
             "params_string": "1B", "loaded_instances": [], "max_context_length": 4096,
             "format": "gguf"}
            for name in self.models
        ]  # fmt: skip
        v0 = [
            {"id": name, "object": "model", "type": "llm", "publisher": "me", "arch": "llama",
             "compatibility_type": "gguf", "quantization": "Q4_0", "state": "not-loaded",
             "max_context_length": 4096}
            for name in self.models
        ]  # fmt: skip
        openai = [{"id": name, "object": "model", "owned_by": "me"} for name in self.models]
        known: dict[str, Any] = {
            "/lmstudio-greeting": {"lmstudio": True},
            "/api/v1/models": {"models": v1},
            "/api/v0/models": {"object": "list", "data": v0},
            "/v1/models": {"object": "list", "data": openai},
        }
        return 200, known.get(path, {"error": f"Unexpected endpoint or method. (GET {path})"})

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and document of a POST: every chat is answered with the model's name."""
        slow = self.at / "slow"
        if slow.exists():
            time.sleep(float(slow.read_text()))
        model = body.get("model", "")
        if path == "/api/show":
            return 200, {"details": {}, "model_info": {}, "capabilities": ["completion"]}
        if model not in self.models:
            return 404, {"error": {"message": f"no model {model}", "type": "NotFoundError",
                                   "param": "model", "code": 404}}  # fmt: skip
        if path == "/api/chat":
            return 200, {"model": model, "created_at": "2026-01-01T00:00:00Z", "done": True,
                         "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1,
                         "message": {"role": "assistant", "content": model}}  # fmt: skip
        message = {"role": "assistant", "content": model}
        return 200, {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip


class Http(ThreadingHTTPServer):
    """A server that knows its engine."""

    daemon_threads = True
    request_queue_size = 128
    engine: Server


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Http

    def do_GET(self) -> None:
        """Answer a GET; a key is asked for where the real one asks."""
        path = self.path.partition("?")[0]
        if path.startswith("/v1/") and not self._may():
            return
        self._send(*self.server.engine.get(path))

    def do_POST(self) -> None:
        """Answer a POST."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self._may():
            self._send(*self.server.engine.post(self.path, json.loads(body)))

    def _may(self) -> bool:
        key = self.server.engine.key
        if key is None or self.headers.get("authorization") == f"Bearer {key}":
            return True
        self._send(401, {"error": "Unauthorized"})
        return False

    def _send(self, status: int, document: Any) -> None:
        text = isinstance(document, str)
        data = (document if text else json.dumps(document)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.server.engine.name == "llama-server":
            self.send_header("Server", "llama.cpp")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing of each request."""
