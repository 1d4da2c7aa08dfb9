"""Models over all engines: real adapters, and engines that are real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.services.test_services_models import Inspector

from flm.domain.engines import EMBEDDED, Address, Engine, EngineId, EngineKind, Healthy
from flm.domain.models import Model
from flm.engines.download import Downloader
from flm.engines.prober import HttpProber
from flm.engines.registry import adapters
from flm.engines.web import Web
from flm.errors import Conflict, InvalidValue, NotFound, NotPermitted, NotRunning
from flm.paths import DataPaths
from flm.ports.clock import SystemClock
from flm.ports.engines import Progress, Step, Wishes
from flm.ports.processes import current
from flm.ports.repositories import Store
from flm.services.gguf_keeping import GgufKeeping
from flm.services.model_keeping import ModelKeeping
from flm.services.models import ModelService
from flm.settings import resolve
from support.fakes.base import asked_for
from support.fakes.llamacpp import GEMMA, LlamaCppFake, RouterFake
from support.fakes.lmstudio import LmStudioFake
from support.fakes.ollama import OllamaFake
from support.fakes.textgen import TextGenerationWebuiFake
from support.fakes.vllm import VllmFake
from support.web_server import web_server

KINDS = {adapter.kind: adapter for adapter in adapters()}


class Seen(NamedTuple):
    """What was seen."""

    engines: tuple[Engine, ...]
    models: tuple[Model, ...]


class Looks:
    """Describes the engines it is told of by their own adapters, whenever it is asked to look."""

    def __init__(self, files: ModelService) -> None:
        self.places: dict[str, tuple[EngineKind, Address]] = {}
        self.files = files
        self.changes: dict[str, object] = {}
        self.listed = True
        self.looked = 0
        self.last = Seen((), ())

    def known(self) -> Seen:
        """What was seen last."""
        return self.last

    def detect(self) -> Seen:
        """Ask them all."""
        self.looked += 1
        self.last = asyncio.run(self._all())
        return self.last

    async def _all(self) -> Seen:
        engines: list[Engine] = []
        models: list[Model] = []
        prober = HttpProber(SystemClock())
        for id_, (kind, address) in self.places.items():
            seen = await KINDS[kind].describe(prober, EngineId(id_), address, None, Wishes())
            engines.append(msgspec.structs.replace(seen.engine, **self.changes))
            models += seen.models
        engines.append(Engine(id=EMBEDDED, kind="embedded", state=Healthy(0.0)))
        if self.listed:
            models += [Model(name=file.name, engine=EMBEDDED) for file in self.files.files()]
        return Seen(tuple(engines), tuple(models))


class Nobody:
    """Nothing serves; or something does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.there = False
        self.asked: list[tuple[str, str]] = []

    def serves(self) -> bool:
        """Whether something does."""
        return self.there

    def load(self, target: str, progress: Progress) -> None:
        """As a controller that runs, or does not."""
        self._take("load", target)

    def unload(self, target: str, progress: Progress) -> None:
        """The same."""
        self._take("unload", target)

    def _take(self, verb: str, target: str) -> None:
        if not self.there:
            raise NotRunning("Nothing serves.")
        self.asked.append((verb, target))


class House(NamedTuple):
    """The service, and what it stands on."""

    keeping: ModelKeeping
    looks: Looks
    controller: Nobody
    engines: ExitStack
    settings: dict[str, str]


@pytest.fixture
def house(store: Store, paths: DataPaths, clock, bell) -> Iterator[House]:
    """Without any engine yet."""
    models = ModelService(store.files, Inspector(), clock, bell)
    looks, controller, settings = Looks(models), Nobody(), dict[str, str]()
    downloads = Downloader(Web({}), current(None).lock, SystemClock())
    keeping = ModelKeeping(
        looks,
        adapters(),
        {"locked": "sk-1"}.get,
        lambda: resolve(settings),
        GgufKeeping(models, downloads, paths.models),
        controller,
    )
    with ExitStack() as engines:
        yield House(keeping, looks, controller, engines, settings)


def ollama(house: House, id_: str = "ollama") -> OllamaFake:
    """One more Ollama."""
    fake = OllamaFake()
    house.engines.enter_context(fake)
    house.looks.places[id_] = ("ollama", fake.address)
    return fake


def ignore(step: Step) -> None:
    """Who watches no progress."""


# Fetching.


def test_the_only_engine_that_can_fetches(house: House) -> None:
    """And is looked at afterwards; a server with one model cannot."""
    ollama(house)
    plain = LlamaCppFake()
    house.engines.enter_context(plain)
    house.looks.places["llamacpp"] = ("llamacpp", plain.address)
    engine, name = house.keeping.puller("qwen3:8b")
    steps: list[Step] = []
    looked = house.looks.looked
    pulled = house.keeping.pull(engine, name, steps.append)
    assert (pulled.engine.id, pulled.name) == ("ollama", "qwen3:8b")
    assert steps[-1].doing == "Storing {model}"
    assert house.looks.looked == looked + 1


def test_a_fetched_model_is_told_as_it_is_listed_now(house: House) -> None:
    """Ollama adds its `:latest`."""
    fake = ollama(house)
    engine, name = house.keeping.puller("tiny")
    fake.models["tiny:latest"]["details"]["parameter_size"] = "1B"
    pulled = house.keeping.pull(engine, name, ignore)
    assert pulled.model is not None
    assert (pulled.model.name, pulled.model.parameters) == ("tiny:latest", "1B")


@pytest.mark.parametrize(
    ("name", "engine", "own"),
    [
        ("second/qwen3", None, "qwen3"),
        ("qwen3", "second", "qwen3"),
        ("second/qwen3", "second", "qwen3"),
        ("flm://second/hf.co/a/b", None, "hf.co/a/b"),
        ("user/model", "second", "user/model"),
    ],
)
def test_the_engine_that_is_named_fetches(
    house: House, name: str, engine: str | None, own: str
) -> None:
    """By an option, or before the name."""
    ollama(house, "first")
    ollama(house, "second")
    found, asked = house.keeping.puller(name, engine)
    assert (found.id, asked) == ("second", own)


def test_several_that_could_fetch_are_named(house: House) -> None:
    """Nothing is guessed."""
    ollama(house, "first")
    ollama(house, "second")
    with pytest.raises(Conflict) as caught:
        house.keeping.puller("qwen3")
    assert caught.value.message == "Several engines could fetch qwen3: first, second."
    assert caught.value.remedy == "Say which one with --engine first."


def test_a_name_of_hugging_face_could_be_the_embedded_engines(house: House) -> None:
    """Ollama knows such names too."""
    ollama(house)
    with pytest.raises(Conflict) as caught:
        house.keeping.puller("hf.co/me/tiny-GGUF:Q4_K_M")
    assert caught.value.values["choices"] == "ollama, embedded"
    house.looks.places.clear()
    assert house.keeping.puller("hf.co/me/tiny-GGUF")[0].id == "embedded"


def test_nobody_who_could_fetch_is_said(house: House) -> None:
    """With what can be done."""
    with pytest.raises(NotFound) as caught:
        house.keeping.puller("qwen3")
    assert (caught.value.code, "Ollama" in caught.value.remedy) == ("no_engine", True)


def test_a_url_is_the_embedded_engines_without_a_look(house: House, paths: DataPaths) -> None:
    """Fetched, added and listed."""
    with web_server() as web:
        web.put("/tiny.gguf", b"GGUF\x03")
        engine, name = house.keeping.puller(web.url("/tiny.gguf"))
        assert (engine.id, house.looks.looked) == ("embedded", 0)
        pulled = house.keeping.pull(engine, name, ignore, call_it="mine")
    assert pulled.path is not None
    assert (pulled.name, Path(pulled.path).is_relative_to(paths.models)) == ("mine", True)
    assert pulled.model == Model(name="mine", engine=EMBEDDED)


def test_a_plain_name_is_nothing_for_the_embedded_engine(house: House) -> None:
    """It serves files."""
    engine, name = house.keeping.puller("qwen3", "embedded")
    with pytest.raises(InvalidValue) as caught:
        house.keeping.pull(engine, name, ignore)
    assert "hf.co/OWNER/REPO" in caught.value.remedy


def test_what_is_for_files_is_refused_for_engines(house: House) -> None:
    """Rather than overlooked."""
    ollama(house)
    engine, name = house.keeping.puller("qwen3")
    with pytest.raises(InvalidValue):
        house.keeping.pull(engine, name, ignore, sha256="0" * 64)


def test_an_unknown_engine_names_those_there_are(house: House) -> None:
    """`--engine` is checked before anything is asked."""
    ollama(house)
    with pytest.raises(NotFound) as caught:
        house.keeping.puller("qwen3", "olama")
    assert "ollama, embedded" in caught.value.remedy


def test_an_engine_that_does_not_answer_is_not_asked(house: House) -> None:
    """It is said that it does not run."""
    fake = ollama(house)
    fake.close()
    with pytest.raises(NotRunning) as caught:
        house.keeping.puller("qwen3", "ollama")
    assert caught.value.code == "engine_not_running"


# What engines do not let others do.


def test_lm_studio_deletes_nothing_and_says_where_to_do_it(house: House) -> None:
    """In its own words, before anybody is asked whether to."""
    fake = LmStudioFake()
    house.engines.enter_context(fake)
    house.looks.places["lmstudio"] = ("lmstudio", fake.address)
    with pytest.raises(NotPermitted) as caught:
        house.keeping.removal("google/gemma-3-4b")
    assert caught.value.remedy == "Delete google/gemma-3-4b in LM Studio, under My Models."


@pytest.mark.parametrize("verb", ["pull", "remove"])
def test_text_generation_webui_fetches_and_deletes_on_its_own_page(house: House, verb: str):
    """The remedy says where."""
    fake = TextGenerationWebuiFake()
    house.engines.enter_context(fake)
    house.looks.places["webui"] = ("text-generation-webui", fake.address)
    ask = {
        "pull": lambda: house.keeping.puller("tiny", "webui"),
        "remove": lambda: house.keeping.removal("tiny"),
    }[verb]
    with pytest.raises(NotPermitted) as caught:
        ask()
    assert "user_data/models" in caught.value.remedy


@pytest.mark.parametrize("verb", ["remove", "load", "unload"])
def test_vllm_serves_what_it_was_started_with(house: House, verb: str) -> None:
    """And FLM can start it with something else."""
    fake = VllmFake()
    house.engines.enter_context(fake)
    house.looks.places["vllm"] = ("vllm", fake.address)
    (model,) = house.looks.detect().models
    ask = {
        "remove": lambda: house.keeping.removal(model.name),
        "load": lambda: house.keeping.load(model.name, None, ignore),
        "unload": lambda: house.keeping.unload(model.name, None, ignore),
    }[verb]
    with pytest.raises(NotPermitted) as caught:
        ask()
    assert caught.value.remedy == (
        "Start it with another model: `flm engines start vllm -- MODEL`."
    )


def test_a_plain_llama_cpp_is_asked_nothing_that_it_might_do(house: House) -> None:
    """It said that it is no router: its models stay as they are."""
    fake = LlamaCppFake()
    house.engines.enter_context(fake)
    house.looks.places["llamacpp"] = ("llamacpp", fake.address)
    with pytest.raises(NotPermitted):
        house.keeping.removal("tiny-llama")
    assert [seen.method for seen in fake.seen if seen.method != "GET"] == []


# Deleting.


def test_a_model_is_deleted_where_it_lives(house: House) -> None:
    """What that means is known before it is done."""
    fake = ollama(house)
    removal = house.keeping.removal("tiny")
    assert (removal.home.model.target, removal.deletes, removal.files) == (
        "ollama/tiny:latest",
        True,
        (),
    )
    assert "tiny:latest" in fake.models
    house.keeping.remove(removal)
    assert "tiny:latest" not in fake.models
    assert all(model.name != "tiny:latest" for model in house.looks.last.models)


def test_a_router_is_asked_by_its_own_name_for_a_model(house: House) -> None:
    """With its quantisation, slashes and all."""
    fake = RouterFake()
    house.engines.enter_context(fake)
    house.looks.places["llamacpp"] = ("llamacpp", fake.address)
    house.keeping.remove(house.keeping.removal(GEMMA))
    assert GEMMA not in fake.status


def test_a_model_on_two_engines_is_not_deleted_from_either(house: House) -> None:
    """Until it is said from which."""
    one, two = ollama(house, "one"), ollama(house, "two")
    with pytest.raises(Conflict) as caught:
        house.keeping.removal("tiny")
    assert caught.value.values["choices"] == "one/tiny:latest, two/tiny:latest"
    house.keeping.remove(house.keeping.removal("two/tiny"))
    assert ("tiny:latest" in one.models, "tiny:latest" in two.models) == (True, False)


def test_a_model_in_use_is_deleted_by_force_only(house: House) -> None:
    """As far as FLM's own requests tell."""
    ollama(house)
    house.looks.changes["in_flight"] = 2
    with pytest.raises(Conflict) as caught:
        house.keeping.removal("tiny")
    assert (caught.value.code, "--force" in caught.value.remedy) == ("model_in_use", True)
    assert house.keeping.removal("tiny", force=True).deletes


def test_a_file_of_the_users_is_let_go_and_nothing_deleted(house: House, tmp_path: Path) -> None:
    """So nobody has to be asked."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF\x03")
    house.looks.files.add(str(path))
    removal = house.keeping.removal("mine")
    assert (removal.deletes, removal.files) == (False, ())
    house.keeping.remove(removal)
    assert (house.looks.files.files(), path.exists()) == ([], True)


def test_a_file_that_is_gone_can_be_let_go(house: House, tmp_path: Path) -> None:
    """Though it is no model any more, and nobody lists it."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF\x03")
    house.looks.files.add(str(path))
    house.looks.listed = False
    removal = house.keeping.removal("embedded/mine")
    assert (removal.home.model.target, removal.deletes) == ("embedded/mine", False)
    house.keeping.remove(removal)
    assert house.looks.files.files() == []


# In memory, or not.


def test_a_model_is_loaded_with_the_context_that_is_set_for_it(house: House) -> None:
    """So that the first request does not have it loaded again."""
    fake = ollama(house)
    house.settings["engines.ollama.num_ctx[scripted-tools]"] = "1024"
    home = house.keeping.load("scripted-tools", None, ignore)
    assert fake.loaded["scripted-tools:latest"] == 1024
    assert (home.model.loaded, home.model.context_length) == (True, 1024)
    assert asked_for(fake.asked("/api/generate")[0])["options"] == {"num_ctx": 1024}


def test_a_model_is_taken_out_of_memory(house: House) -> None:
    """And seen to be out of it."""
    fake = ollama(house)
    home = house.keeping.unload("tiny", None, ignore)
    assert (home.model.loaded, fake.loaded) == (False, {})


def test_what_serves_does_it_when_something_does(house: House) -> None:
    """It alone can send requests elsewhere meanwhile."""
    fake = ollama(house)
    house.looks.detect()
    house.controller.there = True
    house.keeping.load("tiny", None, ignore)
    house.keeping.unload("tiny", "ollama", ignore)
    assert house.controller.asked == [
        ("load", "ollama/tiny:latest"),
        ("unload", "ollama/tiny:latest"),
    ]
    assert fake.asked("/api/generate") == []


def test_an_embedded_model_needs_something_that_serves(house: House, tmp_path: Path) -> None:
    """Its memory is that of the controller's children."""
    (tmp_path / "mine.gguf").write_bytes(b"GGUF\x03")
    house.looks.files.add(str(tmp_path / "mine.gguf"))
    with pytest.raises(NotRunning):
        house.keeping.load("mine", None, ignore)


def test_a_model_that_came_meanwhile_is_found_by_another_look(house: House) -> None:
    """What is known may be some seconds old."""
    ollama(house)
    house.looks.detect()
    fake = ollama(house, "second")
    fake.models["new:latest"] = {**fake.models["tiny:latest"], "name": "new:latest"}
    house.controller.there = True
    assert [home.model.target for home in house.keeping.show("new")] == ["second/new:latest"]
    with pytest.raises(NotFound):
        house.keeping.show("nothing")
