"""What Ollama's releases are called, and how their checksums are known.

A release holds `ollama-linux-amd64.tar.zst` (`.tgz` until 0.13), `-rocm` beside it for AMD's GPUs,
`ollama-darwin.tgz`, `ollama-windows-amd64.zip`, and `sha256sum.txt` with a line for each of them
(its `.github/workflows/release.yaml` and `scripts/build_linux.sh`).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

from flm.engines.web import is_loopback, shown
from flm.errors import N_, InvalidValue, NotFound, UserError
from flm.ports.downloads import Downloads
from flm.ports.releases import Archive, Release

RELEASES = "https://github.com/ollama/ollama/releases/download/v{version}/"
SUMS = "sha256sum.txt"
PROGRAMS = ("bin/ollama", "ollama", "ollama.exe")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "linux": ("ollama-linux-{machine}.tar.zst", "ollama-linux-{machine}.tgz"),
    "darwin": ("ollama-darwin.tgz",),
    "windows": ("ollama-windows-{machine}.zip",),
}
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "windows"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

_SUM = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*)")
_TAG = re.compile(r"/tag/v?([^/?#]+)$")
_VERSION = re.compile(r"[0-9]([0-9A-Za-z.+_-]{0,62}[0-9A-Za-z])?(?<!\.new)")
_SUMS_LIMIT = 1 << 20


class OllamaReleases:
    """Implements `flm.ports.releases.Releases`.

    ``url`` and ``sha256`` are the settings, '' where nothing is set; ``system`` as
    `sys.platform`, ``machine`` as `platform.machine()`; ``amd``: an AMD GPU is here.
    """

    programs = PROGRAMS

    def __init__(
        self,
        downloads: Downloads,
        *,
        url: str,
        sha256: str,
        system: str,
        machine: str,
        amd: bool,
    ) -> None:
        self._downloads = downloads
        self._sha256 = sha256.lower()
        self._system = _SYSTEMS.get(system, system)
        self._machine = _MACHINES.get(machine.lower(), machine.lower())
        self._amd = amd and self._system == "linux"
        self._given = url
        self._templates = (url,) if url else self._official()

    async def find(self, version: str | None) -> Release:
        """A release; see `flm.ports.releases.Releases.find`."""
        if not self._templates:
            raise NotFound(
                N_("Ollama has no release for this machine ({system}, {machine})."),
                remedy=N_("Set engines.ollama.install_url to an archive that fits."),
                system=self._system,
                machine=self._machine,
            )
        if version is None and "{version}" in self._templates[0]:
            version = await self._newest()
        known = checked_version(version) if version is not None else None
        urls = tuple(self._filled(template, known or "") for template in self._templates)
        archives = await self._archives(urls)
        return Release(known or f"sha256-{archives[0].sha256[:12]}", archives)

    def _official(self) -> tuple[str, ...]:
        if self._machine not in _MACHINES.values():
            return ()
        return tuple(RELEASES + name for name in _NAMES.get(self._system, ()))

    def _filled(self, template: str, version: str) -> str:
        for name, value in (
            ("version", version),
            ("system", self._system),
            ("machine", self._machine),
        ):
            template = template.replace(f"{{{name}}}", value)
        return template

    async def _newest(self) -> str:
        """The version that `…/latest` leads to, beside `…/download/v{version}/`."""
        base, mark, _ = self._templates[0].partition("/download/")
        if not mark:
            raise InvalidValue(
                N_("Nobody tells which version is the newest at {url}."),
                remedy=N_("Say which one, with --version."),
                url=shown(self._given),
            )
        landed = await self._downloads.landing(self._filled(f"{base}/latest", ""))
        found = _TAG.search(urllib.parse.urlsplit(landed).path)
        if found is None:
            raise UserError(
                N_("{url} does not tell which version is the newest."),
                remedy=N_("Say which one, with --version."),
                code="version_unknown",
                url=shown(f"{base}/latest"),
            )
        return found[1]

    async def _archives(self, urls: tuple[str, ...]) -> tuple[Archive, ...]:
        if self._sha256:
            return (Archive(urls[0], self._sha256, _name(urls[0])),)
        for url in urls:
            _check_honest(url)
        sums = await self._sums(urls[0])
        for url in urls:
            if _name(url) in sums:
                return tuple(
                    Archive(each, sums[_name(each)], _name(each))
                    for each in (url, *self._extras(url, sums))
                )
        raise _no_checksum(urls[0])

    def _extras(self, url: str, sums: Mapping[str, str]) -> tuple[str, ...]:
        """What this machine's GPU needs besides, where the release has it."""
        rocm = re.sub(r"(\.tar\.zst|\.tgz)$", r"-rocm\1", _name(url))
        return (_beside(url, rocm),) if self._amd and rocm in sums else ()

    async def _sums(self, url: str) -> Mapping[str, str]:
        """Checksum by file name, from the release's list or from the file beside the archive."""
        for place in (_beside(url, SUMS), _beside(url, f"{_name(url)}.sha256")):
            try:
                text = await self._downloads.read(place, _SUMS_LIMIT)
            except UserError as error:
                if error.code != "download_not_found":
                    raise
                continue
            return sums_in(text.decode("utf-8", "replace"), _name(url))
        raise _no_checksum(url)


def sums_in(text: str, alone: str) -> dict[str, str]:
    """Checksum by file name in what `sha256sum` writes; a bare one is that of `alone`."""
    if re.fullmatch("[0-9a-fA-F]{64}", text.strip()):
        return {alone: text.strip().lower()}
    found = (_SUM.fullmatch(line.rstrip()) for line in text.splitlines())
    return {match[2]: match[1].lower() for match in found if match is not None}


def checked_version(text: str) -> str:
    """A version without the `v` before it. Raises `InvalidValue` for what cannot be one."""
    version = text.strip().removeprefix("v")
    if not _VERSION.fullmatch(version):
        raise InvalidValue(
            N_("{text!r} is no version."),
            remedy=N_("Give one such as 0.33.0, or leave --version out for the newest."),
            text=text,
        )
    return version


def _name(url: str) -> str:
    """The file name at the end of a URL."""
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])


def _beside(url: str, name: str) -> str:
    """The URL of another file in the same folder, with the same query."""
    parts = urllib.parse.urlsplit(url)
    folder = parts.path.rpartition("/")[0]
    return urllib.parse.urlunsplit(parts._replace(path=f"{folder}/{urllib.parse.quote(name)}"))


def _check_honest(url: str) -> None:
    """A checksum that comes over plain HTTP from another machine proves nothing."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UserError(
            N_("{url} is plain HTTP: on the way anybody could change archive and checksum."),
            remedy=N_("Use https://, or set engines.ollama.install_sha256 to the checksum."),
            code="checksum_unknown",
            url=shown(url),
        )


def _no_checksum(url: str) -> UserError:
    return UserError(
        N_("Nobody tells the checksum of {url}, so it is not installed."),
        remedy=N_("Set engines.ollama.install_sha256, or check the version and the address."),
        code="checksum_unknown",
        url=shown(url),
    )
