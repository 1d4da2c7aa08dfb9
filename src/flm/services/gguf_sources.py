"""Where a GGUF model can come from: a file, a URL, a repository of Hugging Face. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from flm.domain.models import is_path, name_of_file
from flm.errors import N_, InvalidValue, NotFound

HUB = "https://huggingface.co"
"""Where names such as `hf.co/OWNER/REPO` lead, unless the environment says otherwise."""

PREFERRED = ("Q4_K_M", "Q4_0", "Q8_0")
"""What is taken of a repository when no quantisation is named, the first that is there."""

MOST_PARTS = 999
_SHOWN = 12

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_PART_OF_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB_NAME = re.compile(
    r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)"
    rf"/({_PART_OF_NAME}/{_PART_OF_NAME})(?:/|/tree/main/?)?(?:[:/](.+))?"
)
_HUB_PAGE = re.compile(r"(https?://(?:www\.)?(?:hf\.co|huggingface\.co)/[^/]+/[^/]+)/blob/")


class LocalFile(msgspec.Struct, frozen=True):
    """A file that is here already."""

    path: str


class WebFile(msgspec.Struct, frozen=True):
    """A file on some web server."""

    url: str


class HubModel(msgspec.Struct, frozen=True):
    """A repository of Hugging Face; ``wanted``: a quantisation, a file of it, or ''."""

    repository: str
    wanted: str = ""


Source = LocalFile | WebFile | HubModel


class Listed(msgspec.Struct, frozen=True):
    """A file of a repository. ``sha256`` is None for those that are kept without one."""

    path: str
    sha256: str | None = None


class Fetch(msgspec.Struct, frozen=True):
    """One file to be fetched, and the name it gets."""

    url: str
    name: str
    sha256: str | None = None


def source_of(text: str) -> Source | None:
    """What `text` means as a GGUF model; None for what is no file: a name engines know."""
    is_url = text.lower().startswith(("http://", "https://"))
    plain = text.partition("?")[0] if is_url else text
    if is_url and plain.lower().endswith(".gguf"):
        return WebFile(_HUB_PAGE.sub(r"\1/resolve/", text))
    hub = _HUB_NAME.fullmatch(plain)
    if hub is not None:
        return HubModel(hub[1], unquote(hub[2] or ""))
    if is_url:
        return WebFile(text)
    return LocalFile(text) if is_path(text) else None


def fetches(url: str, sha256: str | None) -> tuple[Fetch, ...]:
    """The files to fetch for the one at `url`: all parts of a model that was split.

    Raises `InvalidValue` when it is no GGUF file, a later part, or one checksum cannot be theirs.
    """
    parts = urlsplit(url)
    folder, _, last = parts.path.rpartition("/")
    names = part_names(unquote(last))
    if sha256 is not None and len(names) > 1:
        raise InvalidValue(
            N_("{name} is one of {count} files of a model: one checksum cannot be theirs."),
            remedy=N_("Leave the checksum out, or fetch the files yourself and add the first."),
            name=names[0],
            count=len(names),
        )
    return tuple(
        Fetch(urlunsplit(parts._replace(path=f"{folder}/{quote(name)}")), name, sha256)
        for name in names
    )


def part_names(name: str) -> tuple[str, ...]:
    """All file names of the model that begins with the file `name`; most are one file.

    Raises `InvalidValue` for a later part, and for a name that no GGUF file can have.
    """
    if not name.lower().endswith(".gguf") or not _is_plain(name):
        raise InvalidValue(
            N_("{name!r} is no GGUF file: its name does not end with .gguf."),
            remedy=N_("Give the address of a file such as model-Q4_K_M.gguf."),
            name=name[:200],
        )
    split = _SPLIT.search(name)
    if split is None:
        return (name,)
    number, count = int(split[1]), int(split[2])
    if number != 1 or not 1 <= count <= MOST_PARTS:
        raise InvalidValue(
            N_("{name} is a later part of a model that was split."),
            remedy=N_("Give the first part, which ends with -00001-of-….gguf."),
            name=name,
        )
    stem, ending = name[: split.start()], name[-5:]
    return tuple(f"{stem}-{each:05}-of-{count:05}{ending}" for each in range(1, count + 1))


def name_of_model(file: str) -> str:
    """What a file's model is called when nobody says: its name without ending and part number."""
    return name_of_file(_SPLIT.sub(".gguf", file))


def folder_of(url: str) -> str:
    """The folder that keeps the files of one place apart from others of the same name.

    The query is left aside: it may hold a signature that is another one next time.
    """
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or ''}{parts.path.rpartition('/')[0]}"
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def listing_url(hub: str, repository: str) -> str:
    """Where the files of a repository are listed."""
    return f"{hub.rstrip('/')}/api/models/{repository}/tree/main?recursive=true"


def chosen(hub: str, model: HubModel, listed: Sequence[Listed]) -> tuple[Fetch, ...]:
    """The files of a repository that make the model that is meant, all parts of it.

    Raises `NotFound` when there is none, `InvalidValue` when several could be meant.
    """
    whole = {file.path: file for file in listed if file.path.lower().endswith(".gguf")}
    first = _meant(model, [path for path in whole if _is_first(path)])
    folder = first.rpartition("/")[0]
    found = []
    for name in part_names(PurePosixPath(first).name):
        file = whole.get(f"{folder}/{name}" if folder else name)
        if file is None:
            raise NotFound(
                N_("{repository} lacks the part {name} of the model."),
                remedy=N_("Choose another file of it."),
                repository=model.repository,
                name=name,
            )
        url = f"{hub.rstrip('/')}/{model.repository}/resolve/main/{quote(file.path)}"
        found.append(Fetch(url, name, file.sha256))
    return tuple(found)


def _meant(model: HubModel, paths: list[str]) -> str:
    if not paths:
        raise NotFound(
            N_("{repository} holds no GGUF model."),
            remedy=N_("Look for a repository whose name ends with -GGUF."),
            repository=model.repository,
        )
    if model.wanted:
        exact = [path for path in paths if path == model.wanted]
        found = exact or [path for path in paths if _is_of(path, model.wanted)]
    elif len(paths) == 1:
        found = paths
    else:
        by_habit = ([path for path in paths if _is_of(path, each)] for each in PREFERRED)
        found = next((each for each in by_habit if each), paths)
    if len(found) == 1:
        return found[0]
    template = (
        N_("Several files of {repository} could be meant.")
        if found
        else N_("{repository} holds nothing that is called {wanted}.")
    )
    kind = InvalidValue if found else NotFound
    raise kind(
        template,
        remedy=N_("Name one as hf.co/{repository}:FILE: {choices}"),
        repository=model.repository,
        wanted=model.wanted,
        choices=", ".join((found or paths)[:_SHOWN]),
    )


def _is_of(path: str, quantization: str) -> bool:
    """Whether a file's name says that quantisation, as a word of its own."""
    name = PurePosixPath(path).name
    word = rf"(?<![A-Za-z0-9_]){re.escape(quantization)}(?![A-Za-z0-9_])"
    return re.search(word, name.replace("-00001-of-", "-"), re.IGNORECASE) is not None


def _is_first(path: str) -> bool:
    """Whether a file begins a model: no later part, and no projector that only goes with one."""
    name = PurePosixPath(path).name
    split = _SPLIT.search(name)
    return _is_plain(name) and "mmproj" not in name.lower() and (not split or int(split[1]) == 1)


def _is_plain(name: str) -> bool:
    """Whether it can be a file's name on every system."""
    return (
        0 < len(name) <= 200
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & set('/\\:*?"<>|')
    )
