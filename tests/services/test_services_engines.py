"""Engines the user adds, over a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.domain.engines import Address, EngineDefinition, EngineId, KnownEngine
from flm.domain.instance import instance_of
from flm.errors import Conflict, InvalidValue, NotFound, StoreError
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


@pytest.mark.parametrize(
    "name", ["ollama", "vllm", "lmstudio", "llamacpp", "text-generation-webui", "embedded"]
)
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
    ("url", "address"),
    [
        ("http://192.168.1.2:8000/v1", Address("192.168.1.2", 8000)),
        ("http://box.lan:11434", Address("box.lan", 11434)),
        ("https://llm.example/v1", Address("llm.example", 443, tls=True)),
    ],
)
def test_engines_elsewhere_are_taken(engines: EngineService, url: str, address: Address):
    """By name and over HTTPS; what they are is told by what they answer."""
    assert engines.add("a", url).kind == "auto"
    assert engines.definitions()[0].address == address


def test_a_ca_file_is_read_before_it_is_stored(engines: EngineService, tmp_path: Path):
    """A missing one and one without a certificate are refused."""
    (tmp_path / "none.pem").write_text("no certificate")
    for name in ("none.pem", "missing.pem"):
        with pytest.raises(InvalidValue) as caught:
            engines.add("a", "https://box", ca_file=str(tmp_path / name))
        assert name in caught.value.message
    assert engines.definitions() == []


def test_this_flm_is_not_its_own_engine(store: Store, paths: DataPaths, bell: Notify):
    """Another machine's FLM is one."""
    secrets = FileSecrets(paths)
    at = {8356: instance_of(secrets.pepper()), 8357: "another"}
    engines = EngineService(
        store.engines, secrets, bell, None, lambda address: at.get(address.port)
    )
    with pytest.raises(Conflict) as caught:
        engines.add("me", "http://127.0.0.1:8356/v1")
    assert caught.value.code == "own_address"
    engines.add("other", "http://127.0.0.1:8357/v1")
    engines.add("engine", "http://127.0.0.1:8358/v1")
    assert [each.id for each in engines.definitions()] == ["engine", "other"]


FOUND = KnownEngine(id=EngineId("vllm-8001"), kind="vllm", address=Address("127.0.0.1", 8001))


def test_a_found_engine_gets_a_key(engines: EngineService, store: Store, bell):
    """Sealed as that of an added one; None forgets it."""
    store.engines.note([FOUND])
    engines.set_key("vllm-8001", "sk-1")
    [known] = engines.known()
    assert (engines.key_of(known), bell.pokes) == ("sk-1", 1)
    engines.set_key("vllm-8001", None)
    assert engines.known() == [FOUND]
    with pytest.raises(NotFound):
        engines.set_key("vllm-8002", "sk-1")


def test_a_renamed_engine_keeps_its_key_and_settings(store: Store, paths: DataPaths, bell):
    """The key is sealed anew for the new name; what is no engine's own setting stays."""
    engines = EngineService(store.engines, FileSecrets(paths), bell, store.settings)
    store.engines.note([FOUND])
    engines.set_key("vllm-8001", "sk-1")
    store.settings.set("engines.vllm-8001.num_ctx[a/b]", "4096")
    store.settings.set("engines.ollama.cloud", "true")
    assert engines.rename("vllm-8001", "big") == "big"
    [known] = engines.known()
    assert (known.id, engines.key_of(known), bell.pokes) == ("big", "sk-1", 2)
    assert store.settings.all() == {
        "engines.big.num_ctx[a/b]": "4096",
        "engines.ollama.cloud": "true",
    }


def test_an_engine_that_flm_started_keeps_its_name_until_it_is_stopped(
    store: Store, paths: DataPaths, bell
):
    """What runs goes by that name; and nobody gets the name of one that starts."""
    owned = {EngineId("vllm-8001"), EngineId("vllm-small")}
    secrets = FileSecrets(paths)
    engines = EngineService(store.engines, secrets, bell, store.settings, owned=lambda: owned)
    store.engines.note([FOUND])
    with pytest.raises(Conflict) as refused:
        engines.rename("vllm-8001", "big")
    assert refused.value.remedy == "Stop it first: `flm engines stop vllm-8001`."
    assert engines.rename("vllm-8001", "vllm-8001") == "vllm-8001"
    owned.remove(EngineId("vllm-8001"))
    with pytest.raises(Conflict):
        engines.rename("vllm-8001", "vllm-small")
    assert engines.rename("vllm-8001", "big") == "big"


def test_a_name_that_is_taken_or_carried_is_not_given(engines: EngineService, store: Store):
    """Neither another engine's nor the embedded one's; an unknown engine has no name to change."""
    store.engines.note([FOUND])
    engines.add("mine", "http://127.0.0.1:1")
    for name, new in (("mine", "vllm-8001"), ("mine", "embedded"), ("embedded", "x")):
        with pytest.raises(Conflict):
            engines.rename(name, new)
    with pytest.raises(NotFound):
        engines.rename("nobody", "x")
    assert engines.rename("mine", "mine") == "mine"


def test_a_found_engines_name_is_not_added_and_not_removed(engines: EngineService, store: Store):
    """It is known already, and found again as long as it runs."""
    store.engines.note([FOUND])
    with pytest.raises(Conflict):
        engines.add("vllm-8001", "http://127.0.0.1:1")
    with pytest.raises(Conflict):
        engines.remove("vllm-8001")


@pytest.mark.parametrize("kind", ["embedded", "koboldcpp", ""])
def test_an_unknown_kind_names_the_known_ones(engines: EngineService, kind: str):
    """The embedded engine is not added by URL."""
    with pytest.raises(InvalidValue) as caught:
        engines.add("a", "http://127.0.0.1:1", kind)
    assert (
        caught.value.remedy
        == "Use one of: auto, ollama, vllm, lmstudio, llamacpp, text-generation-webui, custom."
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
