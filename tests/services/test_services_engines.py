"""Engines the user adds, over a real store."""

from __future__ import annotations

import pytest

from flm.domain.engines import Address, EngineDefinition, EngineId
from flm.errors import Conflict, InvalidValue, NotFound, NotPermitted, StoreError
from flm.paths import DataPaths
from flm.ports.notify import Notify
from flm.ports.repositories import Store
from flm.services.engines import EngineService
from flm.store import FileSecrets


@pytest.fixture
def engines(store: Store, paths: DataPaths, bell: Notify) -> EngineService:
    """The service as the CLI has it."""
    return EngineService(store.engines, FileSecrets(paths), bell)


def test_an_added_engine_is_listed_and_told(engines: EngineService, bell):
    """Without a key."""
    added = engines.add("my-box", "http://localhost:8080/v1", "llamacpp")
    assert added == EngineDefinition(
        id=EngineId("my-box"), kind="llamacpp", address=Address("127.0.0.1", 8080)
    )
    assert (engines.definitions(), engines.key_of(added), bell.pokes) == ([added], None, 1)


def test_an_engines_key_is_sealed_and_comes_back(engines: EngineService, paths: DataPaths):
    """It is in no file in clear."""
    engines.add("a", "http://127.0.0.1:1", "custom", "sk-very-secret")
    [definition] = engines.definitions()
    assert engines.key_of(definition) == "sk-very-secret"
    files = [path.read_bytes() for path in paths.root.iterdir() if path.is_file()]
    assert [data for data in files if b"very-secret" in data] == []


def test_a_sealed_key_belongs_to_its_engine(engines: EngineService):
    """Moved to another engine's row it stays closed."""
    engines.add("a", "http://127.0.0.1:1", "custom", "sk-very-secret")
    [own] = engines.definitions()
    stolen = EngineDefinition(
        id=EngineId("b"), kind=own.kind, address=own.address, sealed_key=own.sealed_key
    )
    with pytest.raises(StoreError):
        engines.key_of(stolen)


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "embedded"])
def test_the_names_of_found_engines_are_reserved(engines: EngineService, name: str):
    """For adding and for removing."""
    with pytest.raises(Conflict):
        engines.add(name, "http://127.0.0.1:1")
    with pytest.raises(Conflict):
        engines.remove(name)


def test_a_name_is_taken_once(engines: EngineService, bell):
    """The first stays; nobody is told of the refusal."""
    engines.add("a", "http://127.0.0.1:1")
    with pytest.raises(Conflict):
        engines.add("a", "http://127.0.0.1:2")
    assert (engines.definitions()[0].address.port, bell.pokes) == (1, 1)


@pytest.mark.parametrize(
    "url", ["http://192.168.1.2:80", "https://127.0.0.1", "http://example.com"]
)
def test_engines_elsewhere_are_refused(engines: EngineService, url: str):
    """They come with a later version, and the message says so."""
    with pytest.raises(NotPermitted) as caught:
        engines.add("a", url)
    assert "later version" in caught.value.remedy
    assert engines.definitions() == []


@pytest.mark.parametrize("kind", ["embedded", "koboldcpp", ""])
def test_an_unknown_kind_names_the_known_ones(engines: EngineService, kind: str):
    """The embedded engine is not added by URL."""
    with pytest.raises(InvalidValue) as caught:
        engines.add("a", "http://127.0.0.1:1", kind)
    assert (
        caught.value.remedy
        == "Use one of: ollama, vllm, lmstudio, llamacpp, text-generation-webui, custom."
    )


@pytest.mark.parametrize("key", ["", "a b", "sk\n", "sk\r\nX-Evil: 1", "鍵", "x" * 4097])
def test_a_key_that_cannot_stand_in_a_header_is_refused(engines: EngineService, key: str):
    """A line break in it would be a header of its own."""
    with pytest.raises(InvalidValue) as caught:
        engines.add("a", "http://127.0.0.1:1", "custom", key)
    assert "sk" not in caught.value.message


def test_a_removed_engine_is_gone_and_told(engines: EngineService, bell):
    """Its name is free again."""
    engines.add("a", "http://127.0.0.1:1")
    engines.remove("a")
    assert (engines.definitions(), bell.pokes) == ([], 2)
    engines.add("a", "http://127.0.0.1:1")


def test_removing_what_is_not_there_names_what_is(engines: EngineService):
    """With and without engines."""
    with pytest.raises(NotFound) as caught:
        engines.remove("my-bxo")
    assert "none was added" in caught.value.message
    engines.add("my-box", "http://127.0.0.1:1")
    with pytest.raises(NotFound) as caught:
        engines.remove("my-bxo")
    assert caught.value.remedy.startswith("Did you mean my-box?")
