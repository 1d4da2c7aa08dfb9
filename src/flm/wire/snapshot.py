"""The snapshot: keys, policy and routes as requests are judged by them.

Compiled by the controller, immutable, swapped section by section: a delta holds the sections
that changed, whole. Each section names the store revision it was made from.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flm.domain.keys import OWNER_ID
from flm.domain.models import Capability, ModelState
from flm.domain.policy import Policy
from flm.domain.prompts import Pieces
from flm.domain.publications import Profile
from flm.domain.traits import Api

EngineDialect = Literal["openai", "ollama"]


class KeyEntry(msgspec.Struct, frozen=True, array_like=True):
    """A key that may be used until ``expires_at`` (UTC seconds, None: for ever)."""

    id: str
    digest: bytes
    expires_at: float | None = None


class Keys(msgspec.Struct, frozen=True):
    """All usable keys by id. Revoked and expired ones are simply not here.

    ``keyless``: address or network, and the id of the key that requests from there count as when
    they hold none; no two have an address in common.
    """

    revision: int
    pepper: bytes
    entries: dict[str, KeyEntry]
    keyless: tuple[tuple[str, str], ...] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one engine: where its requests go, and how they are spoken.

    ``id`` is `engine/name`; ``model`` is the engine's own name for it; ``authorization`` is the
    whole header value for the engine or None; ``num_ctx`` is sent with every request to Ollama
    (a change makes it load the model again). A target without ``host`` is asleep: the gateway
    asks for it with `Wake` and waits.

    ``host`` is an IP address, looked up by the controller; ``name`` the host's name where that
    is another: what `Host` and the certificate must say. ``remote``: its prompts leave this
    machine. ``native``: the APIs its engine speaks by itself.
    """

    id: str
    engine: str
    model: str
    dialect: EngineDialect
    host: str | None = None
    port: int = 0
    prefix: str = ""
    authorization: str | None = None
    num_ctx: int | None = None
    capabilities: tuple[Capability, ...] = ()
    name: str = ""
    tls: bool = False
    ca_file: str = ""
    remote: bool = False
    native: tuple[Api, ...] = ()


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A name clients may use, and its homes (target ids). ``remote``: they are not on this
    machine."""

    name: str
    targets: tuple[str, ...]
    engines: tuple[str, ...]
    state: ModelState
    created: int = 0
    context_length: int | None = None
    capabilities: tuple[Capability, ...] = ()
    remote: bool = False


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A publication with its template and profile; see `domain.publications`.

    ``models``: those that may be asked, () when its template or profile is missing. ``limited``:
    only ``keys`` may use it, nobody where there are none left; else every key. ``system`` and
    ``user`` are the template's (`domain.prompts.Pieces`) with all variables filled in but
    `{{input}}` and `{{date}}`; ``template`` is `name@version`, '' without one.
    """

    name: str
    models: tuple[str, ...]
    allow_remote: bool = False
    limited: bool = False
    keys: tuple[str, ...] = ()
    template: str = ""
    system: Pieces = ()
    user: Pieces = ()
    profile: Profile | None = None
    created: int = 0

    @property
    def shapes(self) -> bool:
        """Whether anything is laid over what a client sends."""
        return bool(self.system or self.user) or self.profile is not None

    def open_to(self, key_id: str) -> bool:
        """Whether that key may use it. The owner of this machine may use everything."""
        return not self.limited or key_id in self.keys or key_id == OWNER_ID


class Routes(msgspec.Struct, frozen=True):
    """Everything that can be asked for: names and targets. The revision counts compilations.

    ``published``: publications by name, patterns among them; ``default``: the name that answers
    for unknown ones, '' for none (`models.default`).
    """

    revision: int
    models: dict[str, ModelEntry]
    targets: dict[str, Target]
    published: dict[str, Published] = {}
    default: str = ""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The policy and the settings the gateway works by. Times are seconds."""

    revision: int
    policy: Policy = Policy()
    allowed_hosts: tuple[str, ...] = ()
    idle_seconds: float = 300.0
    first_byte_seconds: float = 600.0
    connect_seconds: float = 5.0
    wake_seconds: float = 120.0
    ping_seconds: float = 15.0
    breaker_failures: int = 5
    breaker_seconds: float = 10.0
    slow_seconds: float = 120.0
    journal_cap_bytes: int = 1 << 30
    media_fetch: bool = False
    media_max_bytes: int = 10 << 20


class Snapshot(msgspec.Struct, frozen=True):
    """All sections together: what a new gateway is given."""

    keys: Keys
    routes: Routes
    rules: Rules
