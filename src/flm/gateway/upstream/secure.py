"""Engines over TLS: whose certificates are trusted, and connections whose end must be said."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from flm.errors import EngineError
from flm.gateway.upstream.connection import EngineConnection

logger = logging.getLogger("flm.gateway.upstream")

_READ: Final = 64 << 10


class _Loaded(NamedTuple):
    """A context, and what its file was like when it was read."""

    context: ssl.SSLContext
    stamp: tuple[int, ...]


class Trust:
    """TLS contexts by CA file ('': the system's authorities), each made when it is first needed.

    Reading the system's authorities costs 1.3 MB and up to 0.1 s: a gateway without such
    engines does not pay for it, and one with many pays once.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, _Loaded] = {}

    def context(self, ca_file: str) -> ssl.SSLContext:
        """The one for that file. Raises `OSError` or `ValueError` for a file that is no such."""
        loaded = self._loaded.get(ca_file)
        if loaded is None:
            stamp = _stamp(ca_file)
            context = ssl.create_default_context(cafile=ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            loaded = self._loaded[ca_file] = _Loaded(context, stamp)
        return loaded.context

    def doubt(self, ca_file: str) -> None:
        """A certificate was refused: a file that has changed since is read again."""
        loaded = self._loaded.get(ca_file)
        if loaded is not None and loaded.stamp != _stamp(ca_file):
            del self._loaded[ca_file]


def _stamp(ca_file: str) -> tuple[int, ...]:
    if not ca_file:
        return ()
    try:
        seen = Path(ca_file).stat()
    except OSError:
        return ()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


class Secured:
    """How the connections of one pool are secured. ``name``: what the certificate must say.

    What is wrong with a certificate is logged once, until a connection is good again.
    """

    def __init__(self, name: str, ca_file: str, trust: Trust) -> None:
        self.name = name
        self._ca_file = ca_file
        self._trust = trust
        self._logged = ""

    def context(self) -> ssl.SSLContext:
        """The context. Raises `EngineError` 502 when there is none."""
        try:
            return self._trust.context(self._ca_file)
        except (OSError, ValueError) as error:
            self._log(f"the CA file {self._ca_file or 'of the system'} cannot be read: {error}")
            raise _invalid("The authority of the engine's certificate cannot be read.") from error

    def connected(self) -> None:
        """A handshake went well."""
        self._logged = ""

    def failed(self, error: ssl.SSLError) -> EngineError:
        """What a failed handshake means to the client."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._trust.doubt(self._ca_file)
            self._log(f"its certificate is not valid: {error.verify_message}")
            return _invalid("The engine's certificate is not one that FLM can trust.")
        self._log(f"no TLS: {error.reason or error}")
        return EngineError(
            502, "engine_unreachable", "The engine does not speak TLS as it should.",
            kind="upstream_error", should_retry=False,
        )  # fmt: skip

    def _log(self, reason: str) -> None:
        if reason != self._logged:
            self._logged = reason
            logger.warning("engine %s: %s", self.name, reason)


def _invalid(message: str) -> EngineError:
    return EngineError(
        502, "engine_certificate_invalid", message, kind="upstream_error", should_retry=False
    )


class SecureEngineConnection(EngineConnection):
    """The same over TLS, where the end of the connection alone ends nothing: anybody on the way
    could send it. Only the engine's own word (close_notify) does.
    """

    __slots__ = ()

    def connection_lost(self, error: Exception | None) -> None:
        """The engine closed, or somebody in its place."""
        if error is None and self._answer is not None:
            error = self._rest()
        super().connection_lost(error)

    def _rest(self) -> Exception | None:
        """Take what is decrypted and not yet delivered (uvloop keeps it from a paused reader);
        then the error, unless the engine said that this is the end.
        """
        secured: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        try:
            while piece := secured.read(_READ):
                self.data_received(piece)
        except ssl.SSLZeroReturnError:
            return None
        except ssl.SSLError:
            return ConnectionAbortedError("the TLS connection was cut")
        return None
