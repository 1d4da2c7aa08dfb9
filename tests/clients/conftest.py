"""One started FLM for all clients: a real llama.cpp, and engines that act what it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

from clients_engines import ActingEngine, OllamaActor, OpenAiActor
from clients_house import SENTENCE, House
from clients_node import installed

from support.gguf_models import write_scripted
from support.running_flm import Flm


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The FLM that every client of this folder is pointed at."""
    folder = tmp_path_factory.mktemp("gguf")
    with OpenAiActor() as stage, OllamaActor() as ollama:
        flm = Flm(
            tmp_path_factory.mktemp("clients") / "data",
            {"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"},
        )
        with flm.services() as services:
            # It runs while other tests do, whose engines and gateways it would ask who they are.
            services.settings.set("engine.check_seconds", "3600")
            services.settings.set("engines.embedded.num_ctx", "32768")
            for file, more in (("words", {}), ("embedder", {"embeddings": True})):
                services.models.add(str(write_scripted(folder / f"{file}.gguf", SENTENCE, **more)))
            long = write_scripted(folder / "long.gguf", SENTENCE, context=65_536)
            services.models.add(str(long))
            services.engines.add("stage", f"{stage.url}/v1")
            _, key = services.keys.create("clients")
        served = flm.start()
        try:
            flm.tell("engines", "detect")
            for names in ("claude-*", "gpt-*"):
                flm.tell("api", "create", names, "--model", "stage/coder")
            yield House(flm, served, key, stage, ollama)
        finally:
            flm.close()


@pytest.fixture(params=["stage", "ollama"])
def engine(request: pytest.FixtureRequest, house: House) -> Iterator[ActingEngine]:
    """Each of the two acting engines in turn; it refuses nothing afterwards."""
    found: ActingEngine = house.openai if request.param == "stage" else house.ollama
    yield found
    found.refusals.clear()


@pytest.fixture
def actor(house: House, engine: ActingEngine) -> str:
    """The actor's name on either engine."""
    return house.name(engine, "actor")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK as a user makes it, but that it retries nothing; others' tests have theirs."""
    with openai.OpenAI(
        base_url=house.base_url, api_key=house.key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder of the clients that come from npm."""
    return installed()
