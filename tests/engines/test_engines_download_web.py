"""How the downloader uses the web: redirects, certificates, proxies."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.downloads import CONTENT, Waiting, failing, nobody
from tests.support.web_server import WebServer, web_server

from flm.engines.download import Downloader, free_bytes
from flm.engines.web import Web, proxies, shown
from flm.errors import InvalidValue
from flm.ports.clock import SystemClock
from flm.ports.processes import current


async def test_redirects_are_followed_five_times(
    web: WebServer, downloader: Downloader, target: Path
) -> None:
    """Relative ones too; the sixth ends it."""
    web.moved = {f"/{n}": f"{n + 1}" for n in range(1, 6)}
    web.put("/6", b"here")

    await downloader.download(web.url("/1"), target, sha256=None, progress=nobody)
    assert target.read_bytes() == b"here"
    assert await downloader.landing(web.url("/1")) == web.url("/6")

    web.moved["/0"] = "/1"
    error = await failing(downloader, web.url("/0"), target)
    assert error.code == "too_many_redirects"


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://h:0/", ""])
async def test_a_redirect_to_no_web_address_is_refused(
    web: WebServer, downloader: Downloader, target: Path, to: str
) -> None:
    """Nothing but HTTP and HTTPS is opened."""
    web.moved = {"/file.bin": to}

    assert (await failing(downloader, web.url("/file.bin"), target)).code == "redirect_refused"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "x", "http://", "http://h:99999/", "http://h\n/"]
)
async def test_what_is_no_web_address_is_refused(
    downloader: Downloader, target: Path, url: str
) -> None:
    """Before anything is opened."""
    assert isinstance(await failing(downloader, url, target), InvalidValue)


async def test_https_never_leads_to_http(
    web: WebServer, waiting: Waiting, target: Path, tmp_path: Path
) -> None:
    """With a certificate that is trusted; one that is not is told as such."""
    chain, key = certificate(tmp_path)
    import ssl

    trusting = Downloader(
        Web({}, ssl.create_default_context(cafile=chain)),
        current(None).lock,
        SystemClock(),
        pause=waiting,
    )
    doubting = Downloader(Web({}), current(None).lock, SystemClock(), pause=waiting)
    with web_server((chain, key), files={"/safe": b"safe"}) as safe:
        safe.moved = {"/down": web.url("/file.bin"), "/same": "/safe"}

        await trusting.download(safe.url("/same"), target, sha256=None, progress=nobody)
        down = await failing(trusting, safe.url("/down"), target)
        doubt = await failing(doubting, safe.url("/safe"), target)

    assert target.read_bytes() == b"safe"
    assert down.code == "redirect_refused"
    assert doubt.code == "certificate_not_trusted"
    assert web.asked == []
    assert waiting.seconds == []


async def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(
    web: WebServer, waiting: Waiting, target: Path
) -> None:
    """The proxy sees the whole address; a loopback address is asked straight."""
    with web_server(files={"/far.bin": b"through the proxy"}) as proxy:
        through = Downloader(
            Web({"http_proxy": proxy.base}), current(None).lock, SystemClock(), pause=waiting
        )
        await through.download("http://far.invalid/far.bin", target, sha256=None, progress=nobody)
        assert target.read_bytes() == b"through the proxy"
        await through.download(web.url("/file.bin"), target, sha256=None, progress=nobody)

    assert target.read_bytes() == CONTENT
    assert proxy.paths() == ["http://far.invalid/far.bin"]


async def test_a_proxy_that_lets_nobody_through_is_told(waiting: Waiting, target: Path) -> None:
    """Its password is not."""
    with web_server() as proxy:
        place = proxy.base.replace("//", "//user:secret@")
        through = Downloader(
            Web({"https_proxy": place}), current(None).lock, SystemClock(), pause=waiting
        )
        error = await failing(through, "https://far.invalid/x", target)

    assert error.code == "proxy_refused"
    assert proxy.base in error.message
    assert "secret" not in error.message


def test_no_proxy_is_read_as_everybody_reads_it() -> None:
    """Names, domains below them, hosts with a port, `*`; upper case where lower is not set."""
    some = proxies(
        {
            "HTTPS_PROXY": "http://upper:1",
            "http_proxy": "lower:2",
            "no_proxy": "inside.example, .corp, host:8080,",
        }
    )

    assert some.of("https://example.com/") == "http://upper:1"
    assert some.of("http://example.com/") == "http://lower:2"
    assert some.of("http://inside.example/") is None
    assert some.of("http://a.inside.example/") is None
    assert some.of("http://notinside.example/") == "http://lower:2"
    assert some.of("http://a.corp/") is None
    assert some.of("http://host:8080/") is None
    assert some.of("http://host:8081/") == "http://lower:2"
    assert some.of("http://localhost/") is None
    assert some.of("http://[::1]:80/") is None
    assert proxies({"all_proxy": "http://a:1", "no_proxy": "*"}).of("http://x/") is None
    with pytest.raises(InvalidValue, match="socks5://h:1"):
        proxies({"all_proxy": "socks5://user:pass@h:1"}).of("http://x/")


def test_an_address_is_told_without_what_is_secret_in_it() -> None:
    """No user, no password, no query."""
    assert shown("https://user:pass@host:1/path?token=x#y") == "https://host:1/path"


def test_what_is_free_is_what_this_user_may_write(tmp_path: Path) -> None:
    """A number of bytes."""
    assert free_bytes(tmp_path) > 0


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key, as files."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(chain), str(secret)
