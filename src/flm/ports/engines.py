"""What FLM needs of an engine: find, describe, start, stop, and the name of its dialect.

An adapter never sends a chat request; the gateway does, in the adapter's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from flm.domain.engines import Address, Engine, EngineId, EngineKind, EngineLoad
from flm.domain.models import Capability, GgufFile, Model
from flm.domain.traits import EngineTraits
from flm.errors import N_
from flm.ports.machine import Machine

GENERIC = "OpenAI-compatible"
"""The product of an engine that nothing better is known of."""

NO_ANSWER = N_("no answer in time")
"""The ``error`` of a probe that met silence, which a busy engine keeps as well as a dead one."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One GET's outcome. ``status`` 0: no answer, and ``error`` says why in one sentence.

    ``body`` holds at most 64 KiB unless more was asked for; ``latency_ms`` counts to its end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float
    error: str = ""


class Prober(Protocol):
    """Plain HTTP questions: no redirects, no proxies, no credentials but the engine's own."""

    async def get(
        self,
        address: Address,
        path: str,
        *,
        key: str | None = None,
        seconds: float = 2.0,
        limit: int = 64 << 10,
    ) -> Probe:
        """GET `path`; never raises for what the network or the engine does."""
        ...

    async def post(
        self,
        address: Address,
        path: str,
        body: bytes,
        *,
        key: str | None = None,
        seconds: float = 5.0,
        limit: int = 1 << 20,
    ) -> Probe:
        """POST JSON; only where an engine tells facts no other way (Ollama's /api/show)."""
        ...


class Sighting(msgspec.Struct, frozen=True):
    """An engine that was found, and what it can run."""

    engine: Engine
    models: tuple[Model, ...] = ()


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What listens at an address, told by its answers.

    ``product``: its true name (`KoboldCpp`, `vLLM`); ``locked``: it wants a key; ``loading``: it
    is there and will serve soon; ``instance``: whose it is, where another FLM (or our own)
    answers, which is no engine unless the user says so; ``children``: the ports of engines that
    it says it started itself.
    """

    kind: EngineKind
    product: str
    version: str | None = None
    locked: bool = False
    loading: bool = False
    instance: str = ""
    children: tuple[int, ...] = ()


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's program on this machine.

    ``program``: the path of what is run (or its folder where that is what counts); ``service``:
    the unit of the service manager that runs it, if there is one; ``managed_by``: the desktop
    app that starts it again when it is ended.
    """

    program: str
    service: str | None = None
    managed_by: str | None = None


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user set for an engine. By model; '' stands for the whole engine.

    ``contexts``: context lengths in tokens; ``capabilities``: what models can do, in place of
    what the engine tells; ``cloud``: whether Ollama's cloud models are offered.
    """

    contexts: Mapping[str, int] = {}
    capabilities: Mapping[str, tuple[Capability, ...]] = {}
    cloud: bool = False


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start an engine so that only this machine reaches it.

    ``environment`` is added to ours; secrets go there, never into ``arguments``. ``key``: the
    random one this launch demands, None where the engine knows none. ``stays``: the command
    itself serves; else it ends at once and ``stop`` is the command that ends what it started.
    ``announced``: a regular expression for the line of its own log that says at which port (the
    first group) it listens, where it may take another one than it was told; '' where it does not.
    ``ready_seconds``: how long it may take until it answers.
    """

    arguments: tuple[str, ...]
    address: Address
    environment: Mapping[str, str] = {}
    directory: str | None = None
    key: str | None = None
    stays: bool = True
    stop: tuple[str, ...] = ()
    announced: str = ""
    ready_seconds: float = 60.0


class Starter(Protocol):
    """Starts engines of one kind."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raises `InvalidValue` for arguments that `plan` would refuse wherever it is installed."""
        ...

    def plan(
        self,
        installation: Installation,
        arguments: Sequence[str],
        port: int,
        token: str,
    ) -> LaunchPlan:
        """How to start it on 127.0.0.1 at `port`, with the user's own `arguments` behind.

        ``token``: a random text for its key. Raises `InvalidValue` for arguments that would
        open it to other machines or that it cannot start without (vLLM's model).
        """
        ...


class Step(msgspec.Struct, frozen=True):
    """How far something is that takes long. ``doing``: an `N_` template filled by ``values``;
    ``total`` 0: unknown. Bytes where ``done`` and ``total`` are numbers of them.
    """

    doing: str
    values: dict[str, str] = {}
    done: int = 0
    total: int = 0


Progress = Callable[[Step], None]


class ModelKeeper(Protocol):
    """Changes an engine's models, where the engine lets others do that.

    Every method raises `NotPermitted` where this engine cannot (its traits say so), `NotFound`
    for a model it does not have, `EngineError` for what it answered, and returns when done.
    """

    async def pull(self, address: Address, key: str | None, name: str, progress: Progress) -> None:
        """Have the engine fetch a model. Called again, it goes on where it stopped."""
        ...

    async def remove(self, address: Address, key: str | None, name: str) -> None:
        """Have the engine delete a model from its disk."""
        ...

    async def load(
        self, address: Address, key: str | None, name: str, context: int | None, progress: Progress
    ) -> None:
        """Have a model in memory, with that context length where the engine takes one."""
        ...

    async def unload(self, address: Address, key: str | None, name: str) -> None:
        """Take a model out of memory."""
        ...


class EngineAdapter(Protocol):
    """One kind of engine. Stateless: what it knows comes from what it asks.

    What listens somewhere is told by `flm.engines.fingerprint`, for all kinds in one ladder.
    """

    @property
    def kind(self) -> EngineKind: ...
    @property
    def dialect(self) -> str:
        """'openai' or 'ollama': how the gateway speaks to it (`wire.snapshot.EngineDialect`)."""
        ...

    @property
    def traits(self) -> EngineTraits: ...
    @property
    def starter(self) -> Starter | None:
        """What starts one, None where FLM cannot."""
        ...

    @property
    def keeper(self) -> ModelKeeper | None:
        """What changes its models, None where it lets nobody."""
        ...

    def places(self, machine: Machine) -> tuple[Address, ...]:
        """Where one listens on this machine by its environment and by habit, likeliest first."""
        ...

    def installed(self, machine: Machine) -> Installation | None:
        """Its program when it is installed here. Nothing is run to find out."""
        ...

    async def describe(
        self,
        prober: Prober,
        engine: EngineId,
        address: Address,
        key: str | None,
        wishes: Wishes,
    ) -> Sighting:
        """The engine's state, version and models."""
        ...

    async def load(self, prober: Prober, address: Address, key: str | None) -> EngineLoad | None:
        """How busy it says it is, None where it does not tell."""
        ...


class ModelServer(Protocol):
    """A running child that serves one model of the embedded engine."""

    @property
    def address(self) -> Address: ...
    @property
    def key(self) -> str:
        """The random key it demands: a loopback port is open to every local user."""
        ...

    @property
    def pid(self) -> int: ...
    @property
    def context_length(self) -> int:
        """The effective context of one slot, in tokens."""
        ...

    async def exited(self) -> int:
        """Wait for its end; the exit code."""
        ...

    async def stop(self) -> None:
        """End it and wait; never raises when it is gone already."""
        ...


class ModelLauncher(Protocol):
    """Starts children of the embedded engine."""

    def missing(self) -> str | None:
        """Why the embedded engine cannot run here (a sentence with the install line), or None."""
        ...

    def device(self) -> str:
        """One sentence: CPU or GPU, and how to get the other wheel."""
        ...

    async def launch(
        self, file: GgufFile, *, context_length: int, parallel: int, threads: int, seconds: float
    ) -> ModelServer:
        """Start a child and wait until it answers.

        ``context_length`` 0: the model's own, at most 8,192; ``threads`` 0: the engine's choice.
        Raises `EngineError` with the engine's own last words when it fails or takes longer than
        `seconds`. Must be called from the main thread (Linux's parent-death signal).
        """
        ...

    def inspect(self, path: str) -> Model:
        """Read a GGUF file's metadata without loading it. Raises `InvalidValue` if it is none."""
        ...
