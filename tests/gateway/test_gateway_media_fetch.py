"""Images by URL: fetched from real servers whose addresses a test declares public."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.openai_chat import ChatRequest
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.gateway import media_inline
from flm.gateway.media_fetch import MediaFetcher
from flm.gateway.media_inline import inline_media
from support.certificates import Authority
from support.scripted_engine import EngineSide, ScriptedEngine, answering, as_chunk
from support.secure_engine import SecureEngine

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
WEBP = b"RIFF\x00\x01\x00\x00WEBPVP8 " + b"w" * 100


def served(data: bytes, kind: str = "image/png", status: str = "200 OK", *lines: str) -> bytes:
    """An answer with an image."""
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {kind}", *lines))
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Names:
    """A resolver with one answer for all names; ``asked``: what it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses; a name that does not exist has none."""
        self.asked.append((host, port))
        if host.endswith(".invalid"):
            raise OSError("no such name")
        return self.addresses


def fetcher(
    server: ScriptedEngine, *, names: Names | None = None, limit: int = 10_000, ca_file: str = "",
    inner: frozenset[str] = frozenset(),
) -> MediaFetcher:  # fmt: skip
    """A fetcher to which 127.0.0.1 is public, and `inner` is not."""
    return MediaFetcher(
        lambda: limit,
        resolve=names or Names("127.0.0.1"),
        public=lambda address: address.startswith("127.") and address not in inner,
        ports=frozenset({server.port}),
        ca_file=ca_file,
    )


@pytest.fixture
def pictures() -> Iterator[ScriptedEngine]:
    """A server of one picture, in plain HTTP."""
    with ScriptedEngine(answering(served(PNG))) as server:
        yield server


async def fetched(got: MediaFetcher, url: str) -> str:
    """What comes, as a `data:` URL."""
    return await got.fetch(url, "messages[0].content[0].image_url")


async def failed(got: MediaFetcher, url: str) -> str:
    """The code of the refusal, which names the place and is a client's error."""
    with pytest.raises(Refusal) as caught:
        await fetched(got, url)
    assert caught.value.status == 400
    assert caught.value.param == "messages[0].content[0].image_url"
    return caught.value.code


async def test_an_image_is_fetched_and_nothing_of_the_client_s_goes_along(
    pictures: ScriptedEngine,
) -> None:
    """By its name, from the address that was looked at."""
    names = Names("127.0.0.1")
    url = f"http://cats.example:{pictures.port}/a%20b.png?w=1#top"
    got = await fetched(fetcher(pictures, names=names), url)
    assert got == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert names.asked == [("cats.example", pictures.port)]
    (seen,) = pictures.seen
    assert (seen.method, seen.path, seen.body) == ("GET", "/a%20b.png?w=1", b"")
    assert {name.lower(): value for name, value in seen.headers.items()} == {
        "host": f"cats.example:{pictures.port}",
        "accept": "image/png, image/jpeg, image/webp, image/gif",
        "accept-encoding": "identity",
        "user-agent": "flm",
        "connection": "close",
    }


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        (PNG, "image/png", "image/png"),
        (b"\xff\xd8\xff\xe0jpeg", "image/jpg; charset=x", "image/jpeg"),
        (b"GIF89a...", "IMAGE/GIF", "image/gif"),
        (b"GIF87a...", "image/gif", "image/gif"),
        (WEBP, "image/webp", "image/webp"),
        (WEBP, "image/jpeg", "image/webp"),
    ],
)
async def test_its_bytes_say_what_it_is(
    pictures: ScriptedEngine, data: bytes, kind: str, found: str
) -> None:
    """Among the images; servers are often wrong about which."""
    pictures.script = answering(served(data, kind))
    got = await fetched(fetcher(pictures), f"http://a.example:{pictures.port}/")
    assert got.startswith(f"data:{found};base64,")


@pytest.mark.parametrize(
    "answer",
    [
        served(b"<html>", "text/html"),
        served(PNG, "text/html"),
        served(b"<svg/>", "image/svg+xml"),
        served(b"<html>", "image/png"),
        served(b"", "image/png"),
        served(b"RIFF....WAVE", "image/webp"),
        served(PNG, "application/octet-stream"),
        served(PNG, "image/png", "404 Not Found"),
        served(PNG, "image/png", "302 Found", "Location: http://127.0.0.1/"),
        served(PNG, "image/png", "200 OK", "Content-Encoding: gzip"),
        served(PNG)[:-1],
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        + as_chunk(PNG),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"nonsense",
        b"",
    ],
)
async def test_what_is_no_whole_image_is_refused(pictures: ScriptedEngine, answer: bytes) -> None:
    """Other types, other statuses, redirects, answers that break off."""

    def script(side: EngineSide) -> None:
        side.request()
        side.send(answer)

    pictures.script = script
    url = f"http://a.example:{pictures.port}/"
    assert await failed(fetcher(pictures), url) == "image_fetch_failed"
    assert len(pictures.seen) == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_an_image_that_is_too_large_is_cut_off(pictures: ScriptedEngine, whole: bool) -> None:
    """Whether or not its server says how large it is; just as large as allowed is fine."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"

    def script(side: EngineSide) -> None:
        side.request()
        if whole:
            side.send(served(PNG))
            return
        side.send(head + as_chunk(PNG))
        while side.send(as_chunk(b"x" * 1000)):
            pass

    pictures.script = script
    url = f"http://a.example:{pictures.port}/"
    assert await failed(fetcher(pictures, limit=len(PNG) - 1), url) == "image_fetch_failed"
    pictures.script = answering(served(PNG))
    assert (await fetched(fetcher(pictures, limit=len(PNG)), url)).startswith("data:image/png")


async def test_every_address_of_a_name_must_be_public(pictures: ScriptedEngine) -> None:
    """One that is not is enough, wherever it stands; nothing is connected to."""
    url = f"http://a.example:{pictures.port}/"
    inner = frozenset({"127.0.0.9"})
    for addresses in (("127.0.0.1", "127.0.0.9"), ("127.0.0.9", "127.0.0.1"), ("10.0.0.1",), ()):
        got = fetcher(pictures, names=Names(*addresses), inner=inner)
        assert await failed(got, url) == "unsupported_image_url"
    assert pictures.connections == 0


async def test_an_address_is_judged_like_a_name_s(pictures: ScriptedEngine) -> None:
    """Nobody is asked for it."""
    names = Names("127.0.0.1")
    got = fetcher(pictures, names=names, inner=frozenset({"127.0.0.9"}))
    assert await failed(got, f"http://127.0.0.9:{pictures.port}/") == "unsupported_image_url"
    assert (await fetched(got, f"http://127.0.0.1:{pictures.port}/")).startswith("data:")
    assert names.asked == []


async def test_by_default_this_machine_is_not_public(pictures: ScriptedEngine) -> None:
    """The real judge and the real resolver."""
    got = MediaFetcher(lambda: 10_000, ports=frozenset({pictures.port}))
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert await failed(got, f"http://{host}:{pictures.port}/") == "unsupported_image_url"
    assert pictures.connections == 0


async def test_the_next_address_is_tried_where_one_takes_no_connection(
    pictures: ScriptedEngine,
) -> None:
    """Names often have an address that this network cannot reach."""
    names = Names("127.0.0.77", "127.0.0.1")
    url = f"http://a.example:{pictures.port}/"
    assert (await fetched(fetcher(pictures, names=names), url)).startswith("data:image/png")
    assert await failed(fetcher(pictures, names=Names("127.0.0.77")), url) == "image_fetch_failed"
    gone = f"http://a.invalid:{pictures.port}/"
    assert await failed(fetcher(pictures), gone) == "image_fetch_failed"


async def test_a_certificate_must_say_the_name_and_not_the_address(tmp_path: Path) -> None:
    """Pinned to the address that was looked at, and still nobody else's."""
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "other")
    with SecureEngine(answering(served(PNG)), authority.server("cats.example")) as server:
        got = fetcher(server, ca_file=str(authority.ca_file))
        url = f"https://cats.example:{server.port}/"
        assert (await fetched(got, url)).startswith("data:image/png")
        assert server.names == ["cats.example"]
        wrong = f"https://dogs.example:{server.port}/"
        assert await failed(got, wrong) == "image_fetch_failed"
        by_address = f"https://127.0.0.1:{server.port}/"
        assert await failed(got, by_address) == "image_fetch_failed"
        distrusting = fetcher(server, ca_file=str(other.ca_file))
        assert await failed(distrusting, url) == "image_fetch_failed"
        nobody = fetcher(server, ca_file=str(tmp_path / "none.pem"))
        assert await failed(nobody, url) == "image_fetch_failed"
    assert len(server.seen) == 1


# Into the request.


def asked(*urls: str, detail: str | None = None) -> ChatRequest:
    """A chat with text and these images."""
    parts: list[dict[str, object]] = [{"type": "text", "text": "見て https://x.example/ 😀"}]
    for url in urls:
        image = {"url": url} if detail is None else {"url": url, "detail": detail}
        parts.append({"type": "image_url", "image_url": image})
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts, "name": "n"}]
    body = json.dumps({"model": "m", "messages": messages, "top_k": 3}).encode()
    return parse_chat(body, Policy(), remote=True)


class Album:
    """A fetcher with an image for every URL; ``asked``: what it was asked for."""

    def __init__(self, image: str = "data:image/png;base64,AAAA") -> None:
        self.image = image
        self.asked: list[tuple[str, str]] = []

    async def fetch(self, url: str, param: str) -> str:
        """The image, a turn of the loop later."""
        self.asked.append((url, param))
        await asyncio.sleep(0)
        if "bad" in url:
            raise Refusal(400, "image_fetch_failed", "It is bad.", param=param)
        return self.image


async def test_images_take_the_place_of_their_urls_and_nothing_else_changes() -> None:
    """In what goes to an engine as it is, and in what a translation reads; each URL once."""
    album = Album()
    chat = asked("https://a.example/1.png", "data:image/gif;base64,R0lG", "https://a.example/1.png",
                 "http://b.example/2", detail="low")  # fmt: skip
    assert (chat.remote_media, chat.images) == (True, True)
    done = await inline_media(chat, album)
    assert album.asked == [
        ("https://a.example/1.png", "messages[1].content[1].image_url"),
        ("http://b.example/2", "messages[1].content[4].image_url"),
    ]
    sent = json.loads(bytes(done.fields["messages"]))
    assert sent[0] == {"role": "system", "content": "s"}
    assert sent[1]["name"] == "n"
    assert sent[1]["content"][0] == {"type": "text", "text": "見て https://x.example/ 😀"}
    assert [part["image_url"] for part in sent[1]["content"][1:]] == [
        {"url": album.image, "detail": "low"},
        {"url": "data:image/gif;base64,R0lG", "detail": "low"},
        {"url": album.image, "detail": "low"},
        {"url": album.image, "detail": "low"},
    ]
    content = done.params.messages[1].content
    assert isinstance(content, list)
    assert json.loads(bytes(content[4]["image_url"]))["url"] == album.image
    assert (done.remote_media, bytes(done.fields["top_k"]), done.model) == (False, b"3", "m")
    assert chat.remote_media  # what was given stays as it was


async def test_only_the_detail_stays_beside_an_image() -> None:
    """Another URL beside it would be the engine's to fetch."""
    image = {"url": "https://a.example/", "uri": "http://10.0.0.1/", "detail": 5}
    part = {"type": "image_url", "image_url": image}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    chat = parse_chat(json.dumps(body).encode(), Policy(), remote=True)
    done = await inline_media(chat, Album())
    sent = json.loads(bytes(done.fields["messages"]))[0]["content"][0]["image_url"]
    assert sent == {"url": "data:image/png;base64,AAAA"}


async def test_a_request_without_remote_images_is_left_alone() -> None:
    """It is the same object."""
    chat = asked("data:image/png;base64,AAAA")
    assert await inline_media(chat, Album()) is chat


async def test_the_first_failure_is_told_with_its_place() -> None:
    """The others are given up."""
    with pytest.raises(Refusal) as caught:
        await inline_media(asked("https://a.example/1", "https://a.example/bad"), Album())
    assert (caught.value.code, caught.value.param) == (
        "image_fetch_failed", "messages[1].content[2].image_url",
    )  # fmt: skip


async def test_more_images_than_eight_are_refused() -> None:
    """Before any is fetched."""
    album = Album()
    eight = [f"https://a.example/{number}" for number in range(8)]
    await inline_media(asked(*eight), album)
    with pytest.raises(Refusal) as caught:
        await inline_media(asked(*eight, "https://a.example/9"), album)
    assert (caught.value.status, caught.value.code) == (400, "too_many_images")
    assert len(album.asked) == 8


async def test_what_all_together_take_is_bounded() -> None:
    """By the size of a body, and by what all requests together may hold."""
    album = Album("x" * (6 << 20))
    with pytest.raises(Refusal) as caught:
        await inline_media(asked(*(f"https://a.example/{number}" for number in range(6))), album)
    assert caught.value.code == "image_fetch_failed"
    held: list[int] = []

    def hold(size: int) -> bool:
        held.append(size)
        return len(held) < 2

    with pytest.raises(Refusal) as caught:
        await inline_media(asked("https://a.example/1", "https://a.example/2"), Album(), hold)
    assert (caught.value.status, caught.value.code, held) == (503, "overloaded", [26, 26])


async def test_images_that_never_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten seconds for all of them; here after none."""

    class Silent:
        async def fetch(self, url: str, param: str) -> str:
            await asyncio.Event().wait()
            return ""

    monkeypatch.setattr(media_inline, "SECONDS", 0.0)
    with pytest.raises(Refusal) as caught:
        await inline_media(asked("https://a.example/1"), Silent())
    assert (caught.value.status, caught.value.code) == (400, "image_fetch_failed")


async def test_at_most_four_are_fetched_at_a_time(pictures: ScriptedEngine) -> None:
    """For the whole gateway; the others wait for a turn."""
    loop = asyncio.get_running_loop()
    four, let_go = asyncio.Event(), asyncio.Event()
    waiting: list[str] = []

    class Slow(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            waiting.append(host)
            if len(waiting) >= 4:
                loop.call_later(0.05, four.set)
            await let_go.wait()
            return ("127.0.0.1",)

    got = fetcher(pictures, names=Slow())
    urls = [f"http://h{number}.example:{pictures.port}/" for number in range(7)]
    running = asyncio.gather(*(fetched(got, url) for url in urls))
    await four.wait()
    assert len(waiting) == 4
    let_go.set()
    assert len(await running) == 7


@pytest.mark.parametrize(
    "image",
    [
        {"url": "ftp://a.example/x"}, {"url": "//a.example/x"}, {"url": " https://a.example/x"},
        {"url": "https://a.example/x y"}, {"url": "https:\t//a.example/x"},
        {"uri": "https://a.example/x"}, [{"url": "https://a.example/x"}],
    ],
)  # fmt: skip
def test_other_urls_are_refused_as_ever(image: object) -> None:
    """Whatever an engine might make of them."""
    part = {"type": "image_url", "image_url": image}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(Refusal) as caught:
        parse_chat(json.dumps(body).encode(), Policy(), remote=True)
    assert caught.value.code == "unsupported_image_url"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://a.example/x"}},
        {"type": "input_audio", "input_audio": {"url": "https://a.example/x"}},
        {"type": "text", "text": "x", "image_url": {"url": "https://a.example/x"}},
        {"image_url": {"url": "https://a.example/x"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/x"},
         "video_url": {"url": "https://a.example/x"}},
    ],
)  # fmt: skip
def test_only_images_are_fetched(part: dict[str, object]) -> None:
    """And only in a part that is one."""
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(Refusal) as caught:
        parse_chat(json.dumps(body).encode(), Policy(), remote=True)
    assert caught.value.code == "unsupported_image_url"


def test_without_the_owner_s_word_no_url_passes() -> None:
    """`media.fetch` is off by default."""
    part = {"type": "image_url", "image_url": {"url": "https://a.example/x"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(Refusal) as caught:
        parse_chat(json.dumps(body).encode(), Policy())
    assert caught.value.code == "unsupported_image_url"
