"""HTTPS engines: certificates are always verified, by the system's authorities or a given file."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flm.domain.engines import Address
from flm.engines.prober import HttpProber
from flm.ports.clock import SystemClock


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "engine")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Where an HTTPS server answers `{}` to everything."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def test_a_certificate_of_the_given_authority_is_trusted(
    prober: HttpProber, port: int, tmp_path: Path
) -> None:
    """`--ca-file`."""
    at = Address("127.0.0.1", port, tls=True, ca_file=str(tmp_path / "cert.pem"))
    probe = await prober.get(at, "/v1/models")
    assert (probe.status, probe.body, probe.error) == (200, b"{}", "")


async def test_a_certificate_of_nobody_known_is_refused(prober: HttpProber, port: int) -> None:
    """The system's authorities do not know it."""
    probe = await prober.get(Address("127.0.0.1", port, tls=True), "/v1/models")
    assert (probe.status, probe.error) == (0, "its certificate is not trusted")


async def test_a_certificate_for_another_name_is_refused(
    prober: HttpProber, port: int, tmp_path: Path
) -> None:
    """It is for 127.0.0.1 and not for localhost."""
    at = Address("localhost", port, tls=True, ca_file=str(tmp_path / "cert.pem"))
    probe = await prober.get(at, "/v1/models")
    assert (probe.status, probe.error) == (0, "its certificate is not trusted")


async def test_plain_http_is_no_https(prober: HttpProber, port: int, tmp_path: Path) -> None:
    """Neither way round."""
    plain = await prober.get(Address("127.0.0.1", port), "/v1/models")
    assert plain.status == 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        bare = server.sockets[0].getsockname()[1]
        probe = await prober.get(Address("127.0.0.1", bare, tls=True), "/v1/models")
    assert (probe.status, probe.error) == (0, "no TLS is spoken there")


async def test_a_ca_file_that_is_gone_is_said(
    prober: HttpProber, port: int, tmp_path: Path
) -> None:
    """Missing, or no certificate in it."""
    (tmp_path / "bad.pem").write_text("nonsense")
    for name in ("missing.pem", "bad.pem"):
        at = Address("127.0.0.1", port, tls=True, ca_file=str(tmp_path / name))
        assert (await prober.get(at, "/")).error == "its CA file cannot be read"


async def test_a_name_that_nobody_knows_is_said(prober: HttpProber) -> None:
    """`.invalid` never resolves (RFC 2606)."""
    probe = await prober.get(Address("engine.invalid", 80), "/")
    assert (probe.status, probe.error) == (0, "its name is not known")
