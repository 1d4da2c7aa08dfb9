"""Fetching GGUF models for the embedded engine, and deleting those that were fetched."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flm.domain.models import GgufFile
from flm.errors import N_, Conflict, InvalidValue, UserError
from flm.ports.downloads import Downloads
from flm.ports.engines import Progress, Step
from flm.services.gguf_sources import (
    HUB,
    Fetch,
    HubModel,
    Listed,
    LocalFile,
    Source,
    chosen,
    fetches,
    folder_of,
    listing_url,
    name_of_model,
    part_names,
)
from flm.services.models import ModelService, model_name, readable

LISTING_BYTES = 8 << 20
"""A repository with so long a list of files is none of models."""

_BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_OWN_FOLDER = re.compile(r"[0-9a-f]{12}")


class _Large(msgspec.Struct):
    """Where a file is kept in Git LFS: its checksum."""

    oid: str


class _Entry(msgspec.Struct):
    """An entry of Hugging Face's list of files (`/api/models/…/tree/main`)."""

    type: str
    path: str
    lfs: _Large | None = None


class GgufKeeping:
    """The use cases of GGUF files that FLM fetches itself. They lie in folders under ``folder``.

    ``hub``: where repositories of Hugging Face are, itself or a mirror (`HF_ENDPOINT`).
    """

    def __init__(
        self, models: ModelService, downloads: Downloads, folder: Path, hub: str = HUB
    ) -> None:
        self._models = models
        self._downloads = downloads
        self._folder = folder
        self._hub = hub

    def is_here(self) -> bool:
        """Whether the embedded engine is installed."""
        return self._models.is_here()

    def pull(
        self,
        source: Source,
        progress: Progress,
        *,
        name: str | None = None,
        sha256: str | None = None,
    ) -> GgufFile:
        """Have the embedded engine serve what `source` means, fetched if need be.

        Called again it goes on where it stopped; what is there already is not fetched again.
        Raises what `ModelService.add` and `Downloads.download` raise, and `UserError`
        (`checksum_wrong`) for a file that is not the one it should be.
        """
        self._models.check_engine()
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise InvalidValue(
                N_("{text!r} is no SHA-256 checksum."),
                remedy=N_("Give the 64 hexadecimal digits."),
                text=sha256,
            )
        wanted = None if name is None else model_name(name)
        if isinstance(source, LocalFile):
            if sha256 is not None:
                _check(Path(readable(source.path)), sha256, progress)
            return self._models.add(source.path, wanted or name_of_model(source.path))
        return self._fetched(source, progress, wanted, sha256)

    def _fetched(
        self, source: Source, progress: Progress, name: str | None, sha256: str | None
    ) -> GgufFile:
        files = asyncio.run(self._files(source, sha256))
        folder = self._folder / folder_of(files[0].url)
        first = folder / files[0].name
        called = name or model_name(name_of_model(files[0].name))
        known = next((each for each in self._models.files() if each.name == called), None)
        if known is not None and Path(known.path) != first:
            raise Conflict(
                N_("There is a model called {name} already."),
                remedy=N_(
                    "Give this one another name with --name, or run `flm models remove {name}`."
                ),
                name=called,
            )
        came = asyncio.run(self._fetch(files, folder, progress))
        if known is not None:
            return known
        try:
            return self._models.add(str(first), called)
        except InvalidValue:
            _delete(came)  # no model: nobody wants it again
            raise

    async def _files(self, source: Source, sha256: str | None) -> tuple[Fetch, ...]:
        if not isinstance(source, HubModel):
            assert not isinstance(source, LocalFile), "a file that is here is not fetched"
            return fetches(source.url, sha256)
        files = chosen(self._hub, source, await self._listed(source.repository))
        if sha256 is None:
            return files
        fetches(files[0].url, sha256)  # one checksum for several files is refused there
        return (msgspec.structs.replace(files[0], sha256=sha256),)

    async def _listed(self, repository: str) -> list[Listed]:
        url = listing_url(self._hub, repository)
        try:
            entries = msgspec.json.decode(
                await self._downloads.read(url, LISTING_BYTES), type=list[_Entry]
            )
        except msgspec.DecodeError as error:
            raise UserError(
                N_("{url} does not list the files of {repository}."),
                remedy=N_("Check HF_ENDPOINT, or give the URL of the file itself."),
                code="download_refused",
                url=url,
                repository=repository,
            ) from error
        return [Listed(each.path, _checksum(each.lfs)) for each in entries if each.type == "file"]

    async def _fetch(self, files: Sequence[Fetch], folder: Path, progress: Progress) -> list[Path]:
        """The files, those that had to be fetched and those that were there."""
        paths = []
        for file in files:
            path = folder / file.name
            paths.append(path)
            if path.is_file() and (file.sha256 is None or _is(path, file.sha256, progress)):
                continue
            await self._downloads.download(file.url, path, sha256=file.sha256, progress=progress)
        return paths

    def knows(self, name: str) -> bool:
        """Whether a file was given or fetched under that name, readable or not."""
        return any(each.name == name for each in self._models.files())

    def fetched(self, name: str) -> tuple[Path, ...]:
        """The files of a model that FLM fetched itself and nothing else needs; else ()."""
        known = self._models.files()
        file = next((each for each in known if each.name == name), None)
        if file is None or file.demo:
            return ()
        path = Path(file.path)
        own = path.parent.parent == self._folder and _OWN_FOLDER.fullmatch(path.parent.name)
        shared = any(each.path == file.path for each in known if each.name != name)
        if not own or shared:
            return ()
        try:
            return tuple(path.with_name(part) for part in part_names(path.name))
        except InvalidValue:
            return ()

    def remove(self, name: str) -> tuple[Path, ...]:
        """Serve a model no more, and delete the files that FLM fetched for it; which those were.

        What the user gave stays. Raises `NotFound`, and `UserError` (`cannot_delete`) when a file
        stays that should not.
        """
        paths = self.fetched(name)
        self._models.remove(name)
        try:
            _delete(paths)
        except OSError as error:
            raise UserError(
                N_("The model {name} is served no more, but {path} cannot be deleted: {why}."),
                remedy=N_("Delete it yourself, once nothing uses it any more."),
                code="cannot_delete",
                name=name,
                path=error.filename,
                why=error.strerror or str(error),
            ) from error
        return paths


def _checksum(lfs: _Large | None) -> str | None:
    return lfs.oid if lfs is not None and _SHA256.fullmatch(lfs.oid) else None


def _check(path: Path, sha256: str, progress: Progress) -> None:
    found = _digest(path, progress)
    if found != sha256.lower():
        raise UserError(
            N_("{name} is not what it should be: its checksum is {found}, not {expected}."),
            remedy=N_("Check the checksum, or get the file again."),
            code="checksum_wrong",
            name=path.name,
            found=found,
            expected=sha256.lower(),
        )


def _is(path: Path, sha256: str, progress: Progress) -> bool:
    return _digest(path, progress) == sha256.lower()


def _digest(path: Path, progress: Progress) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress(Step(N_("Checking {name}"), {"name": path.name}, done, total))
    return digest.hexdigest()


def _delete(paths: Sequence[Path]) -> None:
    """Delete them, and the folder they lay in once it is empty."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):
            folder.rmdir()
