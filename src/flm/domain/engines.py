"""Engines: what they are, and what state they are in."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, NewType, get_args
from urllib.parse import urlsplit

import msgspec

from flm.domain.traits import Keeping
from flm.errors import N_, InvalidValue

EngineId = NewType("EngineId", str)
EngineKind = Literal[
    "ollama", "vllm", "lmstudio", "llamacpp", "text-generation-webui", "embedded", "custom"
]
KINDS: tuple[EngineKind, ...] = get_args(EngineKind)
EMBEDDED = EngineId("embedded")

STARTING = "starting"
"""The reason of a degraded engine that loads a model or is not listening yet: no error."""

NEEDS_KEY = "needs_key"
"""The reason of an engine that answers 401 or 403: it wants a key, or another one."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?")
_NUMBERS = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*\.?")
_PATH = re.compile(r"(/[!-~]*)?")


class InstalledOnly(msgspec.Struct, frozen=True, tag="installed-only"):
    """Found on disk, not running."""


class Healthy(msgspec.Struct, frozen=True, tag="running-healthy"):
    """Answers within the latency threshold."""

    latency_ms: float


class Degraded(msgspec.Struct, frozen=True, tag="running-degraded"):
    """Answers, but slowly or not wholly."""

    latency_ms: float
    reason: str


class NetworkError(msgspec.Struct, frozen=True, tag="error-network"):
    """Does not answer."""

    reason: str
    consecutive_failures: int


class ApiError(msgspec.Struct, frozen=True, tag="error-api"):
    """Answers, but not as an engine does."""

    reason: str


EngineState = InstalledOnly | Healthy | Degraded | NetworkError | ApiError


def state_name(state: EngineState) -> str:
    """The state's word in PRODUCT.md, as JSON and the terminal show it."""
    return str(type(state).__struct_config__.tag)


def serves(state: EngineState) -> bool:
    """Whether requests may be sent to an engine in that state."""
    return isinstance(state, Healthy | Degraded)


class Address(msgspec.Struct, frozen=True):
    """Where an engine listens. ``host`` is a name or an IP address; ``prefix`` is '' or '/path'.

    ``tls``: HTTPS, its certificate verified against the system's authorities, or those in the
    file ``ca_file``.
    """

    host: str
    port: int
    prefix: str = ""
    tls: bool = False
    ca_file: str = ""

    @property
    def url(self) -> str:
        """`http://host:port/prefix` or `https://…`, brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant."""
        return _is_local(self.host)


class EngineDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """An engine the user added by URL. ``sealed_key`` is the engine's own key, sealed.

    ``kind`` `auto`: told by what it answers, at every look anew.
    """

    id: EngineId
    kind: EngineKind | Literal["auto"]
    address: Address
    sealed_key: bytes | None = None


class KnownEngine(msgspec.Struct, frozen=True, kw_only=True):
    """The id (and the key the user gave) of an engine that was found, remembered for good."""

    id: EngineId
    kind: EngineKind
    address: Address
    sealed_key: bytes | None = None


class EngineLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How busy an engine says it is; None where it does not tell.

    ``running`` and ``waiting``: requests; ``slots``: how many it answers at once;
    ``cache_usage``: share of its KV cache in use, 0 to 1.
    """

    running: int | None = None
    waiting: int | None = None
    slots: int | None = None
    cache_usage: float | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something the user should know or mend. The texts are `N_` templates filled by ``values``.

    ``level``: `error` for what does not work, `warning` for what can be abused, `note` for what
    is only good to know.
    """

    code: str
    message: str
    remedy: str = ""
    values: dict[str, str] = {}
    level: Literal["note", "warning", "error"] = "warning"


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as last seen. ``detail`` is one sentence for people (CPU or GPU, version).

    ``product``: its true name where that says more than ``kind`` (`KoboldCpp`, a `custom` one);
    ``remote``: prompts to it leave this machine; ``owned``: started by this FLM, which alone may
    stop it; ``load``: what it says of itself, ``in_flight``: FLM's own requests on it;
    ``keeping``: what it lets others do to its models, None: what its kind does; ``failures``,
    ``good_checks``: how many checks in a row went unanswered, or well after it was degraded.
    """

    id: EngineId
    kind: EngineKind
    state: EngineState
    address: Address | None = None
    version: str | None = None
    source: Literal["detected", "added", "built-in"] = "detected"
    detail: str = ""
    checked_at: float = 0.0
    product: str | None = None
    remote: bool = False
    owned: bool = False
    load: EngineLoad | None = None
    in_flight: int = 0
    findings: tuple[Finding, ...] = ()
    keeping: tuple[Keeping, ...] | None = None
    failures: int = 0
    good_checks: int = 0


def engine_id(text: str) -> EngineId:
    """`text` as an engine's id: lower-case letters, digits, dot, dash; no slash.

    Raises `InvalidValue` otherwise, and for `flm`, which names FLM itself.
    """
    if not _ID.fullmatch(text) or text == "flm":
        raise InvalidValue(
            N_("{text!r} cannot be an engine's name."),
            remedy=N_("Use lower-case letters, digits, '.', '_' and '-', for example my-server."),
            text=text,
        )
    return EngineId(text)


def engine_address(url: str, ca_file: str = "") -> Address:
    """The address in `url`: `http://` (or no scheme) or `https://`, an IP address or a name.

    A wildcard (`0.0.0.0`, `::`) is where servers listen, not where clients connect, and becomes
    loopback. ``ca_file``: whose certificates are trusted in place of the system's, for HTTPS
    only. Raises `InvalidValue` for what is no such URL, and for one with a password in it.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _no_url(url) from error
    host = (parts.hostname or "").lower()
    if parts.username is not None or parts.password is not None:
        raise InvalidValue(
            N_("An engine's URL holds no user name and no password."),
            remedy=N_("Give the engine's key on stdin, with --api-key-stdin."),
        )
    known = parts.scheme in ("http", "https") and not parts.query and not parts.fragment
    if not known or port == 0 or not _is_host(host) or not _PATH.fullmatch(parts.path):
        raise _no_url(url)
    tls = parts.scheme == "https"
    if ca_file and not tls:
        raise InvalidValue(
            N_("{url!r} is not HTTPS: there is no certificate to verify."),
            remedy=N_("Give an https:// URL, or leave the CA file out."),
            url=url,
        )
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104
    return Address(host, port or (443 if tls else 80), prefix, tls, ca_file)


def _no_url(url: str) -> InvalidValue:
    return InvalidValue(
        N_("{url!r} is no engine's URL."),
        remedy=N_("Give something like http://127.0.0.1:8080/v1 or https://box.example/v1."),
        url=url,
    )


def _is_host(text: str) -> bool:
    """Whether it is an IP address or can be a name; four numbers are an address or nothing."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None and not _NUMBERS.fullmatch(text)
    return True


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
