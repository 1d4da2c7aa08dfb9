"""GGUF models fetched from a web server on good and bad days, and deleted again."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.test_services_models import Inspector

from flm.engines.download import Downloader
from flm.engines.web import Web
from flm.errors import Conflict, InvalidValue, NotFound, UserError
from flm.paths import DataPaths
from flm.ports.clock import SystemClock
from flm.ports.engines import Progress, Step
from flm.ports.processes import current
from flm.ports.repositories import Store
from flm.services.gguf_keeping import GgufKeeping
from flm.services.gguf_sources import HubModel, LocalFile, WebFile
from flm.services.models import ModelService
from support.web_server import WebServer, web_server

GGUF = b"GGUF" + bytes(range(256)) * 40
OTHER = b"GGUF" + bytes(40)


def ignore(step: Step) -> None:
    """Who watches no progress."""


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server with nothing on it."""
    with web_server() as made:
        yield made


@pytest.fixture
def models(store: Store, clock, bell) -> ModelService:
    """The files the embedded engine knows."""
    return ModelService(store.files, Inspector(), clock, bell)


async def at_once(seconds: float) -> None:
    """A pause that takes no time."""
    await asyncio.sleep(0)


@pytest.fixture
def keeping(models: ModelService, paths: DataPaths, web: WebServer) -> GgufKeeping:
    """The service, whose hub is the web server."""
    downloads = Downloader(Web({}), current(None).lock, SystemClock(), pause=at_once)
    return GgufKeeping(models, downloads, paths.models, web.base)


def arrived(web: WebServer, count: int) -> Progress:
    """Lets the line drop once so many bytes are known to have come."""
    web.hold = threading.Event()
    web.patience = 2.0  # progress is told now and then: the last of it may not be

    def told(step: Step) -> None:
        if step.done >= count and web.hold is not None:
            web.hold.set()

    return told


def put_repository(web: WebServer, files: dict[str, bytes]) -> None:
    """Serve `me/tiny-GGUF` as the hub does: its list, and each file."""
    listed = []
    for path, content in files.items():
        oid = web.put(f"/me/tiny-GGUF/resolve/main/{path}", content)
        entry = {"type": "file", "oid": "0" * 40, "size": len(content), "path": path}
        listed.append(entry | {"lfs": {"oid": oid, "size": len(content), "pointerSize": 134}})
    readme = {"type": "file", "oid": "1" * 40, "size": 7, "path": "README.md"}
    folder = {"type": "directory", "oid": "2" * 40, "size": 0, "path": "sub"}
    web.put("/api/models/me/tiny-GGUF/tree/main", json.dumps([readme, folder, *listed]).encode())


def test_a_url_is_fetched_and_served(
    keeping: GgufKeeping, web: WebServer, models: ModelService, paths: DataPaths
) -> None:
    """In the data directory, for the owner alone; the progress says how far it is."""
    sha = web.put("/a/tiny.gguf", GGUF)
    steps: list[Step] = []
    added = keeping.pull(WebFile(web.url("/a/tiny.gguf")), steps.append, sha256=sha)
    assert (added.name, Path(added.path).read_bytes()) == ("tiny", GGUF)
    assert Path(added.path).parent.parent == paths.models
    assert Path(added.path).stat().st_mode & 0o777 == 0o600
    assert models.files() == [added]
    assert steps[-1].done == steps[-1].total == len(GGUF)


def test_what_is_there_is_not_fetched_again(keeping: GgufKeeping, web: WebServer) -> None:
    """Its checksum is looked at where there is one."""
    sha = web.put("/a/tiny.gguf", GGUF)
    source = WebFile(web.url("/a/tiny.gguf"))
    added = keeping.pull(source, ignore)
    assert keeping.pull(source, ignore, sha256=sha) == added
    assert web.paths() == ["/a/tiny.gguf"]


def test_another_version_of_the_file_takes_its_place(keeping: GgufKeeping, web: WebServer) -> None:
    """When a checksum says that what is there is not it."""
    source = WebFile(web.url("/a/tiny.gguf"))
    web.put("/a/tiny.gguf", GGUF)
    added = keeping.pull(source, ignore)
    sha = web.put("/a/tiny.gguf", OTHER)
    keeping.pull(source, ignore, sha256=sha)
    assert Path(added.path).read_bytes() == OTHER


def test_a_line_that_drops_is_gone_on_with(keeping: GgufKeeping, web: WebServer) -> None:
    """From the byte where it dropped."""
    web.put("/a/tiny.gguf", GGUF)
    web.cuts[:] = [4000]
    watching = arrived(web, 4000)
    added = keeping.pull(WebFile(web.url("/a/tiny.gguf")), watching)
    assert Path(added.path).read_bytes() == GGUF
    assert web.ranges_asked() == [None, "bytes=4000-"]


def test_a_line_that_stays_dead_ends_clearly_and_nothing_is_served(
    keeping: GgufKeeping, web: WebServer, models: ModelService
) -> None:
    """Run again it goes on with what has come."""
    web.put("/a/tiny.gguf", GGUF)
    web.cuts[:] = [4000, 0, 0, 0, 0, 0]
    source = WebFile(web.url("/a/tiny.gguf"))
    watching = arrived(web, 4000)
    with pytest.raises(UserError) as caught:
        keeping.pull(source, watching)
    assert caught.value.code == "download_interrupted"
    assert "run it again" in caught.value.remedy
    assert models.files() == []
    web.cuts.clear()
    web.asked.clear()
    assert Path(keeping.pull(source, ignore).path).read_bytes() == GGUF
    assert web.ranges_asked() == ["bytes=4000-"]


def test_a_full_disk_ends_clearly(models: ModelService, paths: DataPaths, web: WebServer) -> None:
    """With what is needed and what is free."""
    web.put("/a/tiny.gguf", GGUF)
    downloads = Downloader(Web({}), current(None).lock, SystemClock(), free=lambda folder: 100)
    with pytest.raises(UserError) as caught:
        GgufKeeping(models, downloads, paths.models).pull(WebFile(web.url("/a/tiny.gguf")), ignore)
    assert caught.value.code == "disk_full"
    assert models.files() == []


def test_a_wrong_checksum_leaves_nothing(
    keeping: GgufKeeping, web: WebServer, models: ModelService, paths: DataPaths
) -> None:
    """Neither a model nor a file."""
    web.put("/a/tiny.gguf", GGUF)
    with pytest.raises(UserError) as caught:
        keeping.pull(WebFile(web.url("/a/tiny.gguf")), ignore, sha256="0" * 64)
    assert caught.value.code == "checksum_wrong"
    assert models.files() == []
    assert list(paths.models.rglob("*.gguf*")) == []


def test_what_is_no_model_is_deleted_again(
    keeping: GgufKeeping, web: WebServer, models: ModelService, paths: DataPaths
) -> None:
    """A page that says "sign in" under a file's name."""
    web.put("/a/tiny.gguf", b"<html>Please sign in</html>")
    with pytest.raises(InvalidValue):
        keeping.pull(WebFile(web.url("/a/tiny.gguf")), ignore)
    assert models.files() == []
    assert list(paths.models.iterdir()) == []


def test_a_split_model_comes_whole(keeping: GgufKeeping, web: WebServer) -> None:
    """Its parts lie beside each other; run again after a failure, only the rest is fetched."""
    web.put("/a/big-00001-of-00002.gguf", GGUF)
    source = WebFile(web.url("/a/big-00001-of-00002.gguf"))
    with pytest.raises(UserError) as caught:
        keeping.pull(source, ignore)
    assert caught.value.code == "download_not_found"
    web.put("/a/big-00002-of-00002.gguf", OTHER)
    web.asked.clear()
    added = keeping.pull(source, ignore)
    assert added.name == "big"
    assert Path(added.path).with_name("big-00002-of-00002.gguf").read_bytes() == OTHER
    assert web.paths() == ["/a/big-00002-of-00002.gguf"]


def test_a_name_of_the_hub_is_looked_up_and_verified(keeping: GgufKeeping, web: WebServer) -> None:
    """By the list of its files, which holds their checksums."""
    put_repository(web, {"tiny-Q4_K_M.gguf": GGUF, "tiny-Q8_0.gguf": OTHER})
    added = keeping.pull(HubModel("me/tiny-GGUF", "Q8_0"), ignore, name="tiny")
    assert (added.name, Path(added.path).read_bytes()) == ("tiny", OTHER)
    assert [path.partition("?")[0] for path in web.paths()] == [
        "/api/models/me/tiny-GGUF/tree/main",
        "/me/tiny-GGUF/resolve/main/tiny-Q8_0.gguf",
    ]


def test_a_file_that_is_not_what_the_hub_says_is_refused(
    keeping: GgufKeeping, web: WebServer, models: ModelService
) -> None:
    """Nobody had to give a checksum for that."""
    put_repository(web, {"tiny-Q4_K_M.gguf": GGUF})
    web.put("/me/tiny-GGUF/resolve/main/tiny-Q4_K_M.gguf", GGUF[:-1] + b"x")
    with pytest.raises(UserError) as caught:
        keeping.pull(HubModel("me/tiny-GGUF"), ignore)
    assert caught.value.code == "checksum_wrong"
    assert models.files() == []


def test_a_hub_that_says_something_else_is_named(keeping: GgufKeeping, web: WebServer) -> None:
    """A mirror that does not know the list of files."""
    web.put("/api/models/me/tiny-GGUF/tree/main", b"<html>")
    with pytest.raises(UserError) as caught:
        keeping.pull(HubModel("me/tiny-GGUF"), ignore)
    assert "HF_ENDPOINT" in caught.value.remedy


def test_a_taken_name_is_refused_before_anything_is_fetched(
    keeping: GgufKeeping, web: WebServer, models: ModelService, tmp_path: Path
) -> None:
    """The remedy names --name."""
    (tmp_path / "tiny.gguf").write_bytes(GGUF)
    models.add(str(tmp_path / "tiny.gguf"))
    web.put("/a/tiny.gguf", GGUF)
    with pytest.raises(Conflict) as caught:
        keeping.pull(WebFile(web.url("/a/tiny.gguf")), ignore)
    assert "--name" in caught.value.remedy
    assert web.paths() == []


def test_without_the_embedded_engine_nothing_is_fetched(
    store: Store, clock, bell, paths: DataPaths, web: WebServer
) -> None:
    """It could not be served."""
    launcher = Inspector()
    launcher.why = "Install it with: pip install …"
    models = ModelService(store.files, launcher, clock, bell)
    downloads = Downloader(Web({}), current(None).lock, SystemClock())
    web.put("/a/tiny.gguf", GGUF)
    with pytest.raises(UserError) as caught:
        GgufKeeping(models, downloads, paths.models).pull(WebFile(web.url("/a/tiny.gguf")), ignore)
    assert caught.value.code == "engine_missing"
    assert web.paths() == []


def test_a_file_of_the_users_is_checked_and_stays_where_it_is(
    keeping: GgufKeeping, tmp_path: Path, web: WebServer
) -> None:
    """Removed, it still stays."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    sha = web.put("/x", GGUF)
    added = keeping.pull(LocalFile(str(path)), ignore, sha256=sha.upper())
    assert (added.name, added.path) == ("mine", str(path))
    assert keeping.fetched("mine") == ()
    assert keeping.remove("mine") == ()
    assert path.exists()


def test_a_file_of_the_users_with_another_checksum_is_not_served(
    keeping: GgufKeeping, tmp_path: Path, models: ModelService
) -> None:
    """And is left alone."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    with pytest.raises(UserError) as caught:
        keeping.pull(LocalFile(str(path)), ignore, sha256="0" * 64)
    assert (caught.value.code, models.files(), path.exists()) == ("checksum_wrong", [], True)


def test_what_is_no_checksum_is_refused(keeping: GgufKeeping) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidValue):
        keeping.pull(WebFile("http://127.0.0.1:1/x.gguf"), ignore, sha256="abc")


def test_what_was_fetched_is_deleted_with_all_its_parts(
    keeping: GgufKeeping, web: WebServer, models: ModelService, paths: DataPaths
) -> None:
    """And the folder with it."""
    web.put("/a/big-00001-of-00002.gguf", GGUF)
    web.put("/a/big-00002-of-00002.gguf", OTHER)
    keeping.pull(WebFile(web.url("/a/big-00001-of-00002.gguf")), ignore)
    gone = keeping.remove("big")
    assert [path.name for path in gone] == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    assert (models.files(), list(paths.models.iterdir())) == ([], [])


def test_a_file_that_another_name_serves_too_stays(
    keeping: GgufKeeping, web: WebServer, models: ModelService
) -> None:
    """Until the last of them goes."""
    web.put("/a/tiny.gguf", GGUF)
    source = WebFile(web.url("/a/tiny.gguf"))
    added = keeping.pull(source, ignore, name="one")
    keeping.pull(source, ignore, name="two")
    assert keeping.remove("one") == ()
    assert Path(added.path).exists()
    assert keeping.remove("two") == (Path(added.path),)
    assert not Path(added.path).exists()


def test_a_model_that_is_not_there_is_named(keeping: GgufKeeping) -> None:
    """Nothing is deleted."""
    with pytest.raises(NotFound):
        keeping.remove("nothing")


def test_a_file_that_cannot_be_deleted_is_named(
    keeping: GgufKeeping, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is served no more all the same: Windows keeps what is open."""
    web.put("/a/tiny.gguf", GGUF)
    added = keeping.pull(WebFile(web.url("/a/tiny.gguf")), ignore)

    def in_use(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "in use", str(path))

    monkeypatch.setattr(Path, "unlink", in_use)
    with pytest.raises(UserError) as caught:
        keeping.remove("tiny")
    assert (caught.value.code, caught.value.values["path"]) == ("cannot_delete", added.path)
