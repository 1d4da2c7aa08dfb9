"""A real llama.cpp server with one model: xllamacpp's, in a process of its own.

As a program (`python llama_server.py GGUF KEY`) it serves until its stdin ends, and writes its
address to stdout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flm.domain.engines import Address

NAME = "scripted"
CONTEXT = 32_768
"""So much that an answer can be long enough to be left in its middle."""

SLOTS = 2


@dataclass(frozen=True)
class RealLlamaCpp:
    """Where it listens."""

    address: Address


@contextmanager
def llama_server(model: Path, key: str) -> Iterator[RealLlamaCpp]:
    """A server with that model, in `SLOTS` slots of `CONTEXT` tokens, slots and metrics told."""
    child = subprocess.Popen(
        [sys.executable, __file__, str(model), key], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        said = child.stdout.readline().decode().strip()
        yield RealLlamaCpp(Address("127.0.0.1", int(said.rpartition(":")[2])))
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()


def main(model: str, key: str) -> None:
    """Serve."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    params.embedding = True
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.n_threads_http = 32  # each kept connection holds one
    params.verbosity = 0
    params.offline = True
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
