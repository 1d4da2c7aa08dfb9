"""What is fetched as Ollama: names, versions, checksums, mirrors."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flm.engines.ollama.install import OllamaReleases, checked_version, sums_in
from flm.errors import FlmError, InvalidValue, NotFound, UserError

A, B, C = "a" * 64, "b" * 64, "c" * 64
OFFICIAL = "https://github.com/ollama/ollama/releases"
SUMS_OF_0_33 = (
    f"{A}  ./ollama-linux-amd64.tar.zst\n"
    f"{B}  ./ollama-linux-amd64-rocm.tar.zst\n"
    f"{C}  ./ollama-darwin.tgz\n"
    f"{B}  ./ollama-windows-arm64.zip\n"
)


class Pages:
    """Small files by URL, and where addresses lead."""

    def __init__(self, files: Mapping[str, str], landings: Mapping[str, str] | None = None) -> None:
        self.files = files
        self.landings = landings or {}
        self.asked: list[str] = []

    async def read(self, url: str, limit: int) -> bytes:
        self.asked.append(url)
        if url not in self.files:
            raise UserError("nothing there", code="download_not_found")
        return self.files[url].encode()

    async def landing(self, url: str) -> str:
        self.asked.append(url)
        return self.landings[url]

    async def download(self, *args: object, **more: object) -> int:
        raise AssertionError("nothing is downloaded here")


def releases(pages: Pages, **more: object) -> OllamaReleases:
    """The releases for Linux on x86 unless told otherwise."""
    settings: dict[str, object] = {
        "url": "", "sha256": "", "system": "linux", "machine": "x86_64", "amd": False, **more,
    }  # fmt: skip
    return OllamaReleases(pages, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("system", "machine", "name", "checksum"),
    [
        ("linux", "x86_64", "ollama-linux-amd64.tar.zst", A),
        ("darwin", "arm64", "ollama-darwin.tgz", C),
        ("darwin", "x86_64", "ollama-darwin.tgz", C),
        ("win32", "ARM64", "ollama-windows-arm64.zip", B),
    ],
)
async def test_every_system_has_its_archive(
    system: str, machine: str, name: str, checksum: str
) -> None:
    """With the checksum that the release tells."""
    pages = Pages({f"{OFFICIAL}/download/v0.33.0/sha256sum.txt": SUMS_OF_0_33})

    found = await releases(pages, system=system, machine=machine).find("0.33.0")

    assert found.version == "0.33.0"
    assert [(each.url, each.sha256, each.name) for each in found.archives] == [
        (f"{OFFICIAL}/download/v0.33.0/{name}", checksum, name)
    ]


async def test_the_newest_is_where_latest_leads_to() -> None:
    """No API is asked, whose calls are counted."""
    pages = Pages(
        {f"{OFFICIAL}/download/v0.33.0/sha256sum.txt": SUMS_OF_0_33},
        {f"{OFFICIAL}/latest": f"{OFFICIAL}/tag/v0.33.0"},
    )

    assert (await releases(pages).find(None)).version == "0.33.0"


async def test_older_releases_are_tgz() -> None:
    """What the release's own list names is taken."""
    sums = f"{B}  ./ollama-linux-amd64.tgz\n"
    pages = Pages({f"{OFFICIAL}/download/v0.12.6/sha256sum.txt": sums})

    found = await releases(pages).find("v0.12.6")

    assert [(each.name, each.sha256) for each in found.archives] == [("ollama-linux-amd64.tgz", B)]


async def test_amds_gpus_get_their_libraries_besides() -> None:
    """From the same release."""
    pages = Pages({f"{OFFICIAL}/download/v0.33.0/sha256sum.txt": SUMS_OF_0_33})

    found = await releases(pages, amd=True).find("0.33.0")

    assert [each.name for each in found.archives] == [
        "ollama-linux-amd64.tar.zst",
        "ollama-linux-amd64-rocm.tar.zst",
    ]


async def test_a_mirror_is_filled_in() -> None:
    """Version, system and machine; the newest is asked for where a mirror has the layout."""
    mirror = "https://mirror.example/gh/releases"
    pages = Pages(
        {f"{mirror}/download/v1.2.3/sha256sum.txt": f"{A} *ollama-linux-arm64.tgz\n"},
        {f"{mirror}/latest": f"{mirror}/tag/v1.2.3"},
    )
    url = f"{mirror}/download/v{{version}}/ollama-{{system}}-{{machine}}.tgz"

    found = await releases(pages, url=url, machine="aarch64").find(None)

    assert found.version == "1.2.3"
    assert found.archives[0].url == f"{mirror}/download/v1.2.3/ollama-linux-arm64.tgz"


async def test_a_checksum_may_lie_beside_the_archive() -> None:
    """In a file of its own, bare or as sha256sum writes it."""
    url = "https://mirror.example/ollama-{version}.tgz"
    pages = Pages({"https://mirror.example/ollama-1.0.tgz.sha256": f"{B.upper()}\n"})

    found = await releases(pages, url=url).find("1.0")

    assert found.archives[0].sha256 == B


async def test_a_configured_checksum_is_the_only_one_that_counts() -> None:
    """Nothing is asked; over plain HTTP too. Without a version its beginning names the build."""
    pages = Pages({})

    found = await releases(pages, url="http://far.example/ollama.tgz", sha256=C.upper()).find(None)

    assert (found.version, found.archives[0].sha256) == ("sha256-cccccccccccc", C)
    assert pages.asked == []


@pytest.mark.parametrize(
    "sums", [None, "", "no checksum\n", f"{A}  ./something-else.tgz\n", f"{A[:-1]}  x.tgz\n"]
)
async def test_without_a_checksum_nothing_is_installed(sums: str | None) -> None:
    """Whatever the archive itself is."""
    url = "https://mirror.example/x.tgz"
    pages = Pages({} if sums is None else {"https://mirror.example/sha256sum.txt": sums})

    with pytest.raises(FlmError) as raised:
        await releases(pages, url=url).find("1.0")

    assert raised.value.code == "checksum_unknown"
    assert "engines.ollama.install_sha256" in raised.value.remedy


async def test_a_checksum_over_plain_http_proves_nothing() -> None:
    """Except from this machine."""
    pages = Pages({"http://127.0.0.1:8000/sha256sum.txt": f"{A}  x.tgz\n"})

    with pytest.raises(FlmError) as raised:
        await releases(pages, url="http://far.example/x.tgz").find("1.0")
    near = await releases(pages, url="http://127.0.0.1:8000/x.tgz").find("1.0")

    assert raised.value.code == "checksum_unknown"
    assert near.archives[0].sha256 == A


async def test_a_trouble_with_the_list_is_told_as_it_is() -> None:
    """Not as a missing checksum."""

    class Down(Pages):
        async def read(self, url: str, limit: int) -> bytes:
            raise UserError("dropped", code="download_interrupted")

    with pytest.raises(FlmError) as raised:
        await releases(Down({})).find("1.0")

    assert raised.value.code == "download_interrupted"


async def test_a_mirror_that_tells_no_newest_wants_a_version() -> None:
    """And a page that leads elsewhere does not count as an answer."""
    plain = releases(Pages({}), url="https://mirror.example/{version}.tgz")
    astray = releases(
        Pages({}, {f"{OFFICIAL}/latest": "https://github.com/login"}),
    )

    with pytest.raises(InvalidValue, match="Nobody tells which version"):
        await plain.find(None)
    with pytest.raises(UserError, match="does not tell which version"):
        await astray.find(None)


@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("freebsd14", "amd64")])
async def test_a_machine_without_a_release_is_told_so(system: str, machine: str) -> None:
    """With the way out."""
    with pytest.raises(NotFound, match="no release for this machine"):
        await releases(Pages({}), system=system, machine=machine).find("1.0")


@pytest.mark.parametrize(
    "text", ["", "../1", "1/2", "a b", "..", ".1", "1.", "x" * 70, "{system}", "current", "1.new"]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    """It becomes part of a path and of a URL."""
    with pytest.raises(InvalidValue):
        checked_version(text)


def test_checksums_are_read_as_sha256sum_writes_them() -> None:
    """Text and binary marks, with and without `./`; other lines mean nothing."""
    text = f"{A}  ./a.tgz\n{B} *b c.zip\nnonsense\n{C}\tc\n"

    assert sums_in(text, "x") == {"a.tgz": A, "b c.zip": B, "c": C}
    assert sums_in(f" {A}\n", "x") == {"x": A}
