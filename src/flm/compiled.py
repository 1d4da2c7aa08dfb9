"""The gateway's busiest modules as machine code, where it is there and matches the sources.

`scripts/compile` makes the folder `flm_compiled` in the environment's site-packages: extension
modules (mypyc) and a manifest. The gateway asks `use` for them before it imports anything of
them. All or nothing: what was compiled from other sources, for another Python, or does not load,
is not used, and the same sources run as plain Python, a third slower.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import msgspec

MODULES: tuple[str, ...] = (
    "flm.gateway.desk",
    "flm.gateway.edge.caps",
    "flm.gateway.edge.connection",
    "flm.gateway.edge.heads",
    "flm.gateway.edge.reader",
    "flm.gateway.edge.request",
    "flm.gateway.endpoints.asking",
    "flm.gateway.endpoints.chat",
    "flm.gateway.endpoints.converse",
    "flm.gateway.endpoints.course",
    "flm.gateway.exchange",
    "flm.gateway.guards.content",
    "flm.gateway.guards.credentials",
    "flm.gateway.guards.host",
    "flm.gateway.journal",
    "flm.gateway.live",
    "flm.gateway.routes",
    "flm.gateway.same_head",
    "flm.gateway.upstream.answer",
    "flm.gateway.upstream.breaker",
    "flm.gateway.upstream.connection",
    "flm.gateway.upstream.outbox",
    "flm.gateway.upstream.pool",
    "flm.gateway.upstream.secure",
    "flm.wire.journal",
    "flm.dialects.body",
    "flm.dialects.judging",
    "flm.dialects.chat_parsing",
    "flm.domain.digester",
    "flm.gateway.endpoints.passage",
    "flm.gateway.endpoints.streamed",
    "flm.gateway.endpoints.whole",
    "flm.gateway.endpoints.relay",
    "flm.gateway.running",
)
"""What is compiled: what a request passes through, and nothing that holds msgspec's Structs."""

READ = ("dialects", "domain", "errors.py", "gateway", "ports", "tasks.py", "wire")
"""Folders and files of the package: the compiler relies on the types in all that they import."""

PACKAGE = "flm_compiled"
MANIFEST = "manifest.json"
SUFFIX = EXTENSION_SUFFIXES[0]
GROUP = "flm_gateway"
LIBRARY = f"{GROUP}__mypyc"
"""All of the code; the modules only take theirs out of it."""

PURE = "FLM_PURE"
"""The variable that asks for plain Python."""


class Manifest(msgspec.Struct, frozen=True):
    """What was compiled. ``files``: SHA-256 of each extension module, by its file's name."""

    python: str
    sources: str
    files: dict[str, str]


class _Unfit(Exception):
    """Why plain Python runs."""


def file_of(module: str) -> str:
    """The name of a compiled module's file, all in one folder."""
    return module + SUFFIX


def python_identity() -> str:
    """The interpreter and the platform that extension modules are made for."""
    return f"{sys.version} {SUFFIX}"


def sources_digest(package: Path) -> str:
    """SHA-256 over the names and the bytes of the sources in the folder `package` (`flm`)."""
    digest = hashlib.sha256("\n".join(MODULES).encode())
    for name in READ:
        top = package / name
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            source = path.read_bytes()
            digest.update(f"\n{path.relative_to(package).as_posix()} {len(source)}\n".encode())
            digest.update(source)
    return digest.hexdigest()


def use(
    environ: Mapping[str, str], places: Sequence[str] | None = None, package: Path | None = None
) -> str | None:
    """Import the compiled modules in place of their sources; None, or why plain Python runs.

    To be called before any of them is imported. `places`: where to look for the folder instead
    of `sys.path`; `package`: the folder of the sources, this one's.
    """
    try:
        _load(_found(environ, places, package))
    except _Unfit as reason:
        return str(reason)
    return None


def unfit(
    environ: Mapping[str, str], places: Sequence[str] | None = None, package: Path | None = None
) -> str | None:
    """Why a gateway that starts now would run as plain Python; None when it would not."""
    try:
        _found(environ, places, package)
    except _Unfit as reason:
        return str(reason)
    return None


def _found(
    environ: Mapping[str, str], places: Sequence[str] | None, package: Path | None
) -> dict[str, Path]:
    if environ.get(PURE):
        raise _Unfit(f"{PURE} is set")
    return _checked(_folder(places), package or Path(__file__).parent)


def _folder(places: Sequence[str] | None) -> Path:
    spec = PathFinder.find_spec(PACKAGE, places)
    found = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not found:
        raise _Unfit("nothing is compiled")
    return Path(found[0])


def _checked(folder: Path, package: Path) -> dict[str, Path]:
    """The files to load, by module; raises `_Unfit` unless everything is as the manifest says."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        if manifest.python != python_identity():
            raise _Unfit("what is compiled is for another Python")
        if manifest.sources != sources_digest(package):
            raise _Unfit("the sources have changed since they were compiled")
        files = {module: folder / file_of(module) for module in (LIBRARY, *MODULES)}
        for path in files.values():
            if hashlib.sha256(path.read_bytes()).hexdigest() != manifest.files.get(path.name):
                raise _Unfit(f"{path.name} is damaged")
    except (OSError, msgspec.DecodeError) as error:
        raise _Unfit(f"what is compiled cannot be read: {error}") from error
    return files


def _load(files: Mapping[str, Path]) -> None:
    early = sorted(set(MODULES) & set(sys.modules))
    if early:  # the compiled ones would meet two of each class
        raise _Unfit(f"{early[0]} was imported before")
    before = dict(sys.modules)
    finder = _Finder(files)
    sys.meta_path.insert(0, finder)
    try:
        for module in files:
            importlib.import_module(module)
    except Exception as error:  # whatever machine code does at import: plain Python still runs
        sys.meta_path.remove(finder)
        _forget(before)
        raise _Unfit(f"what is compiled does not load: {error}") from error


def _forget(before: Mapping[str, ModuleType]) -> None:
    """Have every module of ours that came since imported anew."""
    for name in [name for name in sys.modules if name not in before]:
        if name == LIBRARY or name.startswith("flm."):
            del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds the compiled modules, and nothing else."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The spec of a compiled module; None leaves it to the next finder."""
        file = self._files.get(fullname)
        if file is None:
            return None
        loader = ExtensionFileLoader(fullname, str(file))
        return spec_from_file_location(fullname, file, loader=loader)
