"""Started FLMs: one for all that only look, a fresh one for what kills, stops or fills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

from e2e_engines import ENDLESS, QWEN, SENTENCE, WORDS, Switchboard, ollama
from e2e_house import House

from support.gguf_models import write_scripted
from support.replay import ReplayServer
from support.running_flm import Flm


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models."""
    folder = tmp_path_factory.mktemp("gguf")
    write_scripted(folder / "words.gguf", SENTENCE)
    write_scripted(folder / "other.gguf", WORDS)
    write_scripted(folder / "embedder.gguf", WORDS, embeddings=True)
    write_scripted(folder / "endless.gguf", ENDLESS, context=65_536)
    return folder


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[House]:
    """One FLM, started with `flm proxy start`, for all tests that leave it as it is."""
    with ReplayServer(ollama()) as found, Switchboard() as switch, Switchboard() as second:
        environ = {"OLLAMA_HOST": f"127.0.0.1:{found.port}"}
        flm = Flm(tmp_path_factory.mktemp("house") / "data", environ)
        with flm.services() as services:
            services.settings.set("embedded.max_loaded", "4")
            services.models.add(str(gguf / "words.gguf"))
            services.models.add(str(gguf / "other.gguf"), QWEN)
            services.models.add(str(gguf / "embedder.gguf"))
            services.models.add(str(gguf / "endless.gguf"))
            services.engines.add("switch", f"{switch.url}/v1")
            services.engines.add("second", f"{second.url}/v1")
            _, key = services.keys.create("house")
        served = flm.start("--demo")
        try:
            flm.tell("engines", "detect")
            yield House(flm, served, key, found, switch, second)
        finally:
            flm.close()


@pytest.fixture
def flm(tmp_path: Path) -> Iterator[Flm]:
    """An empty data directory whose processes end with the test."""
    made = Flm(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def switch() -> Iterator[Switchboard]:
    """An OpenAI-compatible engine in the test's hand."""
    with Switchboard() as made:
        yield made


@pytest.fixture(scope="module")
def served_plainly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flm]:
    """A running FLM without any engine, for tests that are all refused."""
    made = Flm(tmp_path_factory.mktemp("plain") / "data")
    made.start()
    yield made
    made.close()
