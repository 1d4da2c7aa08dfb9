"""The child that serves one model: `python -P -m flm.engines.embedded.child PARENT_PID`.

Its configuration (`Orders`) comes as one line of JSON on stdin, because other users can read
command lines and environments. It loads the model, writes its address to the report file, and
serves until stdin ends, which tells that the parent is gone. llama.cpp's errors go to stderr.

`python -P -m flm.engines.embedded.child --devices` prints what it would run on and leaves.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import msgspec

from flm.ports.processes import current

ONLY_ERRORS = 1
"""llama.cpp's verbosity: with warnings it writes lines for each request, without bound."""

PROMPT_CACHE_MIB = 256
"""What llama.cpp keeps of earlier prompts; by itself it takes up to 8 GiB."""

LARGEST_BATCH = 8192
HTTP_THREADS = 32
"""One for each open request, waiting ones included; /health must not wait behind them."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent wants served. ``context_length`` is the one of each request."""

    path: str
    name: str
    key: str
    report: str
    context_length: int
    parallel: int
    threads: int
    embeddings: bool


def main(arguments: list[str]) -> int:
    """Serve until the parent is gone; 1 when the model does not load."""
    if arguments == ["--devices"]:
        print(json.dumps(devices()))  # noqa: T201 - the answer of this program
        return 0
    if not current().harden_child(int(arguments[0])):
        return 1
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    watcher = threading.Thread(target=_leave_with_parent, name="parent", daemon=True)
    watcher.start()
    try:
        server = _serve(orders)
    except RuntimeError as error:
        print(f"E {error}", file=sys.stderr)  # noqa: T201 - stderr is the log the parent reads
        return 1
    _report(Path(orders.report), server)
    watcher.join()
    return 0


def devices() -> list[dict[str, str]]:
    """The devices llama.cpp sees in this wheel: its kind (CPU, GPU, …) and its name."""
    import xllamacpp

    return [
        {
            "kind": device["type"].name.rsplit("_", 1)[-1],
            "name": str(device.get("description") or device["name"]),
        }
        for device in xllamacpp.get_device_info()
    ]


def _serve(orders: Orders) -> object:
    """The running server; it lives as long as the object. `RuntimeError` when it cannot load."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = orders.path
    params.model_alias = {orders.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [orders.key]
    params.n_ctx = orders.context_length * orders.parallel
    params.n_parallel = orders.parallel
    params.verbosity = ONLY_ERRORS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.n_threads_http = max(HTTP_THREADS, orders.parallel + 8)
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    if orders.threads:
        params.cpuparams.n_threads = orders.threads
        params.cpuparams_batch.n_threads = orders.threads
    if orders.embeddings:
        # an input is embedded in one batch: what is longer than it is refused
        params.embedding = True
        params.n_batch = params.n_ubatch = min(orders.context_length, LARGEST_BATCH)
    return xllamacpp.Server(params)


def _report(path: Path, server: object) -> None:
    """Tell the parent the address: the file is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(str(getattr(server, "listening_address", "")), encoding="ascii")
    part.replace(path)


def _leave_with_parent() -> None:
    """Wait for the end of stdin and leave at once: what is loaded needs no farewell."""
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
