"""Typed settings: defaults < stored (config.db) < environment < command line.

A setting called ``server.port`` is the attribute ``server_port`` and the variable
``FLM_SERVER_PORT``. The context lengths of engines are a family of settings,
``engines.<engine>.num_ctx`` and ``engines.<engine>.num_ctx[<model>]``; they lie in the store only.
This is the one module that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from flm.domain.models import nearest
from flm.errors import N_, InvalidValue, NotFound
from flm.setting_kinds import (
    ContextLengths,
    HostNames,
    Kind,
    LoopbackAddress,
    Value,
    Whole,
)

Source = Literal["default", "stored", "environment", "command line"]


class Setting(msgspec.Struct, frozen=True):
    """What a setting is: its name, the values it takes, its default and one sentence on it."""

    name: str
    kind: Kind
    default: Value
    doc: str

    @property
    def attribute(self) -> str:
        """The attribute of `Settings` that holds it."""
        return self.name.replace(".", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"FLM_{self.attribute.upper()}"

    def resolve(
        self, stored: Mapping[str, str], environ: Mapping[str, str], overrides: Mapping[str, Value]
    ) -> tuple[Value, Source]:
        """Its value and where that comes from, the strongest of all; see the module's `resolve`."""
        if self.name in overrides:
            return self.kind.check(self.name, overrides[self.name]), "command line"
        if environ.get(self.variable):
            return self.kind.parse(self.variable, environ[self.variable]), "environment"
        if self.name in stored:
            return self.kind.check(self.name, decoded(self.name, stored[self.name])), "stored"
        return self.default, "default"


REGISTRY: tuple[Setting, ...] = (
    Setting("server.port", Whole(0, 65_535), 8356,
            N_("The port of the API; 0 takes a free one.")),
    Setting("server.bind", LoopbackAddress(), "127.0.0.1",
            N_("The address of the API: a loopback address.")),
    Setting("server.allowed_hosts", HostNames(), (),
            N_("Host names, besides localhost, under which a loopback address answers.")),
    Setting("server.first_byte_seconds", Whole(1, 86_400), 600,
            N_("How long an engine may take before the first byte of its answer.")),
    Setting("server.drain_seconds", Whole(0, 3_600), 30,
            N_("How long running responses may go on when the gateway stops.")),
    Setting("streams.idle_seconds", Whole(1, 86_400), 300,
            N_("How long a running stream may stay silent before it is ended.")),
    Setting("engine.health_latency_threshold_ms", Whole(1, 60_000), 1_500,
            N_("An engine that takes longer than this to answer a check counts as degraded.")),
    Setting("engine.max_network_failures", Whole(1, 100), 3,
            N_("After so many unanswered checks in a row an engine counts as gone.")),
    Setting("engine.cache_ttl_seconds", Whole(1, 86_400), 300,
            N_("How long what was seen of the engines counts before it is looked at again.")),
    Setting("engines.wake_seconds", Whole(1, 3_600), 120,
            N_("How long a request waits for a model to be loaded.")),
    Setting("embedded.max_loaded", Whole(1, 64), 1,
            N_("How many models the embedded engine holds in memory at once.")),
    Setting("embedded.idle_minutes", Whole(1, 10_080), 15,
            N_("After so many minutes without a request the embedded engine unloads a model.")),
    Setting("embedded.threads", Whole(0, 1_024), 0,
            N_("Threads of each embedded model; 0 leaves the choice to the engine.")),
    Setting("embedded.parallel", Whole(1, 64), 2,
            N_("How many requests an embedded model answers at once.")),
    Setting("logs.keep_days", Whole(1, 3_650), 90,
            N_("How many days request records are kept.")),
    Setting("logs.keep_records", Whole(1_000, 100_000_000), 1_000_000,
            N_("How many request records are kept at most.")),
    Setting("journal.max_bytes", Whole(1 << 20, 1 << 40), 1 << 30,
            N_("How large the journal may grow, in bytes, while the database cannot be written.")),
)  # fmt: skip
"""Every setting with a fixed name, in the order in which they are listed."""

CONTEXT_DOC = N_("The context length in tokens that is asked of this engine.")

_BY_NAME: Mapping[str, Setting] = MappingProxyType({item.name: item for item in REGISTRY})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. ``contexts``: engine → model ('' for all of them) → tokens.

    ``sources`` tells where a value comes from, for those that are not defaults.
    """

    server_port: int
    server_bind: str
    server_allowed_hosts: tuple[str, ...]
    server_first_byte_seconds: int
    server_drain_seconds: int
    streams_idle_seconds: int
    engine_health_latency_threshold_ms: int
    engine_max_network_failures: int
    engine_cache_ttl_seconds: int
    engines_wake_seconds: int
    embedded_max_loaded: int
    embedded_idle_minutes: int
    embedded_threads: int
    embedded_parallel: int
    logs_keep_days: int
    logs_keep_records: int
    journal_max_bytes: int
    contexts: dict[str, dict[str, int]] = {}
    sources: dict[str, Source] = {}

    def num_ctx(self, engine: str) -> dict[str, int]:
        """The context lengths set for `engine`, by model; '' is the whole engine."""
        return dict(self.contexts.get(engine, {}))

    def source(self, name: str) -> Source:
        """Where the value of the setting `name` comes from."""
        return self.sources.get(name, "default")


def setting(name: str) -> Setting:
    """The setting called `name`, one of a family included.

    Raises `NotFound`, naming the nearest ones, when there is none.
    """
    found = _BY_NAME.get(name)
    if found is not None:
        return found
    if ContextLengths.split(name) is not None:
        return Setting(name, ContextLengths(), 0, CONTEXT_DOC)
    likely = nearest(name, (*_BY_NAME, "engines.ollama.num_ctx"))
    if likely:
        raise NotFound(
            N_("There is no setting {name!r}."),
            remedy=N_("Did you mean {nearest}? `flm config list` shows all of them."),
            name=name,
            nearest=", ".join(likely),
        )
    raise NotFound(
        N_("There is no setting {name!r}."),
        remedy=N_("`flm config list` shows all of them."),
        name=name,
    )


def resolve(
    stored: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Value] | None = None,
) -> Settings:
    """The settings in force.

    ``stored``: JSON text by name, as the store keeps it; names this version does not know are
    left alone. ``environ``: `FLM_…` variables; an empty one counts as not set. ``overrides``:
    what the command line gave, by name. Raises `InvalidValue` (or `NotPermitted` for an address
    beyond loopback) naming the setting or variable at fault.
    """
    stored, environ = stored or {}, environ or {}
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for item in REGISTRY:
        value, source = item.resolve(stored, environ, overrides or {})
        values[item.attribute] = value
        if source != "default":
            sources[item.name] = source
    contexts: dict[str, dict[str, int]] = {}
    for name, text in stored.items():
        key = ContextLengths.split(name) if name not in _BY_NAME else None
        if key is not None:
            contexts.setdefault(key[0], {})[key[1]] = ContextLengths().check(
                name, decoded(name, text)
            )
            sources[name] = "stored"
    return Settings(**values, contexts=contexts, sources=sources)


def decoded(name: str, text: str) -> object:
    """The JSON `text` the store keeps for the setting `name`, as a value nobody checked yet."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidValue(
            N_("The stored value of {name} cannot be read: {text!r}."),
            remedy=N_("Set it again with `flm config set {name} VALUE`."),
            name=name,
            text=text,
        ) from error


def environment() -> dict[str, str]:
    """A copy of this process's environment; everybody else is given it."""
    return dict(os.environ)
