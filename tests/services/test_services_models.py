"""GGUF files for the embedded engine, over a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from flm.domain.engines import EMBEDDED
from flm.domain.models import GgufFile, Model
from flm.errors import Conflict, InvalidValue, NotFound, UserError
from flm.ports.clock import Clock
from flm.ports.engines import ModelServer
from flm.ports.notify import Notify
from flm.ports.repositories import Store
from flm.services.models import ModelService

NOW = 1_767_225_600.0


class Inspector:
    """A launcher that only looks at a file's magic, as the real one does first."""

    why: str | None = None

    def missing(self) -> str | None:
        return self.why

    def device(self) -> str:
        return "CPU"

    async def launch(
        self, file: GgufFile, *, context_length: int, parallel: int, threads: int, seconds: float
    ) -> ModelServer:
        raise AssertionError("adding a model starts nothing")

    def inspect(self, path: str) -> Model:
        if Path(path).read_bytes()[:4] != b"GGUF":
            raise InvalidValue("{path} is no GGUF file.", path=path)
        return Model(name="x", engine=EMBEDDED)


@pytest.fixture
def launcher() -> Inspector:
    """The embedded engine is installed."""
    return Inspector()


@pytest.fixture
def models(store: Store, launcher: Inspector, clock: Clock, bell: Notify) -> ModelService:
    """The service as the CLI has it."""
    return ModelService(store.files, launcher, clock, bell)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What passes for a model."""
    path = tmp_path / "Qwen3 日本.Q4.GGUF"
    path.write_bytes(b"GGUF\x03")
    return path


def test_a_file_is_known_by_its_name_without_the_ending(models: ModelService, file: Path, bell):
    """Its absolute path is remembered."""
    added = models.add(str(file))
    assert added == GgufFile(name="Qwen3 日本.Q4", path=str(file), added_at=NOW)
    assert (models.files(), bell.pokes) == ([added], 1)


def test_a_relative_path_is_stored_absolute(
    models: ModelService, file: Path, monkeypatch: pytest.MonkeyPatch
):
    """The controller runs elsewhere."""
    monkeypatch.chdir(file.parent)
    assert models.add(file.name).path == str(file)


def test_a_link_stays_a_link(models: ModelService, file: Path, tmp_path: Path):
    """A cache that moves its blobs is followed, and the name is the link's."""
    (tmp_path / "nice.gguf").symlink_to(file)
    added = models.add(str(tmp_path / "nice.gguf"))
    assert (added.name, added.path) == ("nice", str(tmp_path / "nice.gguf"))


def test_a_name_can_be_given(models: ModelService, file: Path):
    """Slashes are fine in a model's name."""
    assert models.add(str(file), "Qwen/Qwen3-8B").name == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "flm://x", "x" * 201])
def test_a_name_that_cannot_be_asked_for_is_refused(models: ModelService, file: Path, name: str):
    """Nothing is stored."""
    with pytest.raises(InvalidValue):
        models.add(str(file), name)
    assert models.files() == []


def test_a_name_is_taken_once(models: ModelService, file: Path, bell):
    """The remedy names --name."""
    models.add(str(file))
    with pytest.raises(Conflict) as caught:
        models.add(str(file))
    assert "--name" in caught.value.remedy
    assert bell.pokes == 1


@pytest.mark.parametrize("path", ["missing.gguf", "."])
def test_what_is_no_file_is_refused(models: ModelService, tmp_path: Path, path: str):
    """Missing, or a directory."""
    with pytest.raises(InvalidValue) as caught:
        models.add(str(tmp_path / path))
    assert caught.value.message.startswith("There is no file")


def test_what_is_no_gguf_is_refused(models: ModelService, tmp_path: Path):
    """The launcher says so, and nothing is stored."""
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidValue):
        models.add(str(tmp_path / "x.gguf"))
    assert models.files() == []


def test_without_the_embedded_engine_the_install_line_is_shown(
    models: ModelService, launcher: Inspector, file: Path
):
    """A model that could never be served is not taken."""
    launcher.why = 'Install it with: pip install "flm-gateway[embedded]"'
    with pytest.raises(UserError) as caught:
        models.add(str(file))
    assert (caught.value.code, caught.value.message) == ("engine_missing", launcher.why)


def test_a_removed_model_leaves_its_file(models: ModelService, file: Path, bell):
    """FLM deletes no models."""
    models.add(str(file), "m")
    models.remove("m")
    assert (models.files(), file.exists(), bell.pokes) == ([], True, 2)


def test_removing_what_is_not_there_names_what_is(models: ModelService, file: Path):
    """With and without files."""
    with pytest.raises(NotFound) as caught:
        models.remove("qwen")
    assert "none was added at all" in caught.value.message
    models.add(str(file), "qwen3")
    with pytest.raises(NotFound) as caught:
        models.remove("qwen")
    assert caught.value.remedy == "Did you mean qwen3?"
