"""Typed settings: defaults < stored (config.db) < environment < command line.

A setting called ``server.port`` is the attribute ``server_port`` and the variable
``FLM_SERVER_PORT``. What is set for one engine or one of its models are families of settings,
such as ``engines.<engine>.num_ctx[<model>]``; they lie in the store only.
This is the one module that reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec

from flm.domain.engines import EngineId, engine_id
from flm.domain.models import CAPABILITIES, Capability, nearest
from flm.errors import N_, InvalidValue, NotFound
from flm.setting_kinds import (
    ContextLengths,
    HostNames,
    Kind,
    Line,
    LoopbackAddress,
    Truth,
    Value,
    Whole,
    Words,
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
    Setting("streams.ping_seconds", Whole(0, 3_600), 15,
            N_("After so much silence a stream says that it still lives; 0: never.")),
    Setting("breaker.failures", Whole(0, 1_000), 5,
            N_("After so many failures in a row an engine is left alone for a while; 0: never.")),
    Setting("breaker.open_seconds", Whole(1, 3_600), 10,
            N_("How long it is left alone at first; twice as long each time it fails again.")),
    Setting("breaker.slow_seconds", Whole(1, 86_400), 120,
            N_("A first token that takes longer than this counts as a failure.")),
    Setting("engine.health_latency_threshold_ms", Whole(1, 60_000), 1_500,
            N_("An engine that takes longer than this to answer a check counts as degraded.")),
    Setting("engine.max_network_failures", Whole(1, 100), 3,
            N_("After so many unanswered checks in a row an engine counts as gone.")),
    Setting("engine.check_seconds", Whole(2, 3_600), 15,
            N_("About how often the engines are looked at in the background.")),
    Setting("engine.history_days", Whole(1, 3_650), 30,
            N_("How many days the history of the engines' states is kept.")),
    Setting("engine.cache_ttl_seconds", Whole(1, 86_400), 300,
            N_("How long what was seen of the engines counts before it is looked at again.")),
    Setting("engines.wake_seconds", Whole(1, 3_600), 120,
            N_("How long a request waits for a model to be loaded.")),
    Setting("engines.ollama.cloud", Truth(), False,
            N_("Whether Ollama's cloud models are offered; prompts to them leave this machine.")),
    Setting("engines.ollama.install_url", Line(pattern="https?://.+"), "",
            N_("Where the archive of Ollama comes from, in place of its maker's release; "
               "{version}, {system} and {machine} are filled in.")),
    Setting("engines.ollama.install_sha256", Line(pattern="[0-9a-fA-F]{64}"), "",
            N_("The SHA-256 checksum of that archive, in place of the one beside it.")),
    Setting("models.default", Line(200), "",
            N_("The model, or the API, that answers for names nobody knows; empty: none does.")),
    Setting("embedded.max_loaded", Whole(1, 64), 1,
            N_("How many models the embedded engine holds in memory at once.")),
    Setting("embedded.idle_minutes", Whole(1, 10_080), 15,
            N_("After so many minutes without a request the embedded engine unloads a model.")),
    Setting("embedded.threads", Whole(0, 1_024), 0,
            N_("Threads of each embedded model; 0 leaves the choice to the engine.")),
    Setting("embedded.parallel", Whole(1, 64), 2,
            N_("How many requests an embedded model answers at once.")),
    Setting("media.fetch", Truth(), False,
            N_("Whether FLM fetches images that a request names by URL, from public addresses.")),
    Setting("media.max_bytes", Whole(1 << 10, 24 << 20), 10 << 20,
            N_("How large an image may be that FLM fetches, in bytes.")),
    Setting("logs.keep_days", Whole(1, 3_650), 90,
            N_("How many days request records are kept.")),
    Setting("logs.keep_records", Whole(1_000, 100_000_000), 1_000_000,
            N_("How many request records are kept at most.")),
    Setting("usage.keep_days", Whole(1, 3_650), 400,
            N_("How many days usage is kept by the hour; by the day it is kept ten years.")),
    Setting("responses.keep_days", Whole(1, 3_650), 30,
            N_("How many days responses are kept for clients that ask for them again.")),
    Setting("responses.max_stored", Whole(0, 10_000_000), 10_000,
            N_("How many of those are kept at most; 0: none.")),
    Setting("responses.max_bytes", Whole(1 << 20, 1 << 40), 1 << 30,
            N_("How many bytes they may take up together.")),
    Setting("journal.max_bytes", Whole(1 << 20, 1 << 40), 1 << 30,
            N_("How large the journal may grow, in bytes, while the database cannot be written.")),
)  # fmt: skip
"""Every setting with a fixed name, in the order in which they are listed."""


class Family(msgspec.Struct, frozen=True):
    """Settings ``engines.<engine>.<leaf>``, and with ``per_model`` also ``…<leaf>[<model>]``."""

    leaf: str
    kind: Kind
    doc: str
    per_model: bool = False


FAMILIES: tuple[Family, ...] = (
    Family("num_ctx", ContextLengths(),
           N_("The context length in tokens that is asked of this engine."), per_model=True),
    Family("capabilities", Words(CAPABILITIES),
           N_("What a model can do, in place of what its engine tells."), per_model=True),
    Family("autostart", Truth(),
           N_("Whether a request for one of its models starts the engine.")),
    Family("idle_stop", Whole(0, 10_080),
           N_("After so many idle minutes FLM stops the engine it started; 0: never.")),
    Family("exclusive_group", Line(64, "[A-Za-z0-9._-]+"),
           N_("Of the engines in one group only one runs at a time.")),
    Family("path", Line(),
           N_("The engine's program or folder, where FLM does not find it by itself.")),
    Family("arguments", Words(),
           N_("What the engine is started with.")),
)  # fmt: skip
"""The settings that an engine of any name can have."""

_LEAVES: Mapping[str, Family] = MappingProxyType({family.leaf: family for family in FAMILIES})
_MEMBER = re.compile(r"engines\.([a-z0-9][a-z0-9._-]{0,62})\.([a-z_]+)(?:\[(.{1,256})\])?")


class Member(NamedTuple):
    """One setting of a family: whose it is. ``model`` '': the whole engine's."""

    family: Family
    engine: EngineId
    model: str


def member(name: str) -> Member | None:
    """The family, engine and model in the setting `name`, None when it belongs to no family."""
    match = _MEMBER.fullmatch(name)
    if match is None or not name.isprintable():
        return None
    family = _LEAVES.get(match[2])
    if family is None or (match[3] and not family.per_model):
        return None
    try:
        return Member(family, engine_id(match[1]), match[3] or "")
    except InvalidValue:
        return None


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is set for one engine. ``num_ctx`` and ``capabilities`` by model, '' for all of them;
    ``idle_stop`` in minutes, 0: never; ``arguments`` None: nothing is set."""

    num_ctx: dict[str, int] = {}
    capabilities: dict[str, tuple[Capability, ...]] = {}
    autostart: bool = False
    idle_stop: int = 0
    exclusive_group: str = ""
    path: str = ""
    arguments: tuple[str, ...] | None = None


NOTHING_SET = EngineSettings()

_BY_NAME: Mapping[str, Setting] = MappingProxyType({item.name: item for item in REGISTRY})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. ``engines``: what is set for single engines, by id.

    ``sources`` tells where a value comes from, for those that are not defaults.
    """

    server_port: int
    server_bind: str
    server_allowed_hosts: tuple[str, ...]
    server_first_byte_seconds: int
    server_drain_seconds: int
    streams_idle_seconds: int
    streams_ping_seconds: int
    breaker_failures: int
    breaker_open_seconds: int
    breaker_slow_seconds: int
    engine_health_latency_threshold_ms: int
    engine_max_network_failures: int
    engine_check_seconds: int
    engine_history_days: int
    engine_cache_ttl_seconds: int
    engines_wake_seconds: int
    engines_ollama_cloud: bool
    engines_ollama_install_url: str
    engines_ollama_install_sha256: str
    models_default: str
    embedded_max_loaded: int
    embedded_idle_minutes: int
    embedded_threads: int
    embedded_parallel: int
    media_fetch: bool
    media_max_bytes: int
    logs_keep_days: int
    logs_keep_records: int
    usage_keep_days: int
    responses_keep_days: int
    responses_max_stored: int
    responses_max_bytes: int
    journal_max_bytes: int
    engines: dict[str, EngineSettings] = {}
    sources: dict[str, Source] = {}

    def engine(self, engine: str) -> EngineSettings:
        """What is set for `engine`."""
        return self.engines.get(engine, NOTHING_SET)

    @property
    def contexts(self) -> dict[str, dict[str, int]]:
        """Engine → model ('' for all of them) → the context length that is set."""
        return {engine: of.num_ctx for engine, of in self.engines.items() if of.num_ctx}

    def num_ctx(self, engine: str) -> dict[str, int]:
        """The context lengths set for `engine`, by model; '' is the whole engine."""
        return dict(self.engine(engine).num_ctx)

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
    of = member(name)
    if of is not None:
        return Setting(name, of.family.kind, "", of.family.doc)
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
    families: dict[str, dict[str, Any]] = {}
    for name, text in stored.items():
        of = member(name) if name not in _BY_NAME else None
        if of is None:
            continue
        value = of.family.kind.check(name, decoded(name, text))
        engine = families.setdefault(of.engine, {})
        if of.family.per_model:
            engine.setdefault(of.family.leaf, {})[of.model] = value
        else:
            engine[of.family.leaf] = value
        sources[name] = "stored"
    engines = {engine: EngineSettings(**given) for engine, given in families.items()}
    return Settings(**values, engines=engines, sources=sources)


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
