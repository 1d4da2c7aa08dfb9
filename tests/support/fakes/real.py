"""The engines that are no fakes: a llama.cpp, in the extra `embedded`, and a vLLM where one runs.

`FLM_TEST_VLLM_URL` names a running vLLM (`make test-vllm`); without it there is none to test.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flm.domain.engines import Address, EngineId, EngineLoad
from flm.domain.models import Model
from flm.engines.llamacpp.adapter import LlamaCppAdapter
from flm.engines.vllm.adapter import VllmAdapter
from support.fakes.specimen import Place, Specimen
from support.fakes.speech import TEXT
from support.llama_server import CONTEXT, NAME, SLOTS, RealLlamaCpp, llama_server

KEY = "sesame-of-the-real-one"
VLLM_URL = "FLM_TEST_VLLM_URL"


@contextmanager
def _scripted() -> Iterator[RealLlamaCpp]:
    from support.gguf_models import write_scripted  # needs the extra `embedded`

    with tempfile.TemporaryDirectory() as folder:
        model = write_scripted(
            Path(folder) / "m.gguf", TEXT, name=NAME, embeddings=True, context=CONTEXT
        )
        with llama_server(model, KEY) as running:
            yield running


LLAMACPP = Specimen(
    id="real-llamacpp",
    adapter=LlamaCppAdapter(),
    start=_scripted,
    product="llama.cpp",
    version="b0-unknown",
    model=Model(
        name=NAME, engine=EngineId("real-llamacpp"), capabilities=("chat", "embeddings"),
        context_length=CONTEXT, trained_context=CONTEXT, size_bytes=275200,
        quantization="all F32", parameters="69K", loaded=True,
    ),
    setting="start llama.cpp with a larger --ctx-size",
    call=None,
    vector=None,
    load=EngineLoad(running=0, waiting=0, slots=SLOTS),
    long={"ignore_eos": True, "max_tokens": CONTEXT - 100},
    key=KEY,
)  # fmt: skip


@dataclass(frozen=True)
class RunningVllm:
    """Where it listens."""

    address: Address


def vllm(environment: Mapping[str, str]) -> tuple[Specimen, ...]:
    """The vLLM that the environment names, with what its own list says of its first model."""
    url = environment.get(VLLM_URL, "")
    if not url:
        return ()
    parts = urlsplit(url)
    place = RunningVllm(Address(parts.hostname or "127.0.0.1", parts.port or 8000))
    first = _asked(f"{place.address.url}/v1/models")["data"][0]

    @contextmanager
    def running() -> Iterator[Place]:
        yield place

    return (
        Specimen(
            id="real-vllm",
            adapter=VllmAdapter(),
            start=running,
            product="vLLM",
            version=str(_asked(f"{place.address.url}/version")["version"]),
            model=Model(
                name=first["id"], engine=EngineId("real-vllm"), capabilities=("chat",),
                context_length=first["max_model_len"], loaded=True,
            ),
            setting="--max-model-len",
            text=None,
            tokens=0,
            call=None,
            vector=None,
            load=EngineLoad(running=0, waiting=0, cache_usage=0.0),
            long={"ignore_eos": True, "max_tokens": first["max_model_len"] - 100, "n": 64},
        ),
    )  # fmt: skip


def _asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


_HERE = all(importlib.util.find_spec(name) for name in ("xllamacpp", "gguf"))

REAL: tuple[Specimen, ...] = (*((LLAMACPP,) if _HERE else ()), *vllm(os.environ))
"""What can be asked here: the llama.cpp where the extra `embedded` is installed."""
