"""The control socket: one JSON line asks, one JSON line answers, then the next.

Answers are `{"ok": …}` or `{"error": {"code", "message", "remedy"}}`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flm.domain.engines import Engine
from flm.domain.models import Model


class LockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `<data>/controller.lock` says while it is held: where to ask.

    ``started`` is the process's start time (UTC seconds), against recycled pids; ``control`` is
    a socket's path or, on Windows, `host:port`; ``token`` is only used there.
    """

    pid: int
    started: float
    control: str
    version: str
    token: str = ""


class StatusRequest(msgspec.Struct, frozen=True, tag="status", tag_field="verb"):
    """What runs; with ``wait`` > 0 the answer waits up to that many seconds for "started"."""

    wait: float = 0.0


class StopRequest(msgspec.Struct, frozen=True, tag="stop", tag_field="verb"):
    """Drain, store, leave. Answered before the controller leaves."""


class PokeRequest(msgspec.Struct, frozen=True, tag="poke", tag_field="verb"):
    """The store changed. Answered when every gateway acknowledged what came of it."""


class OwnerKeyRequest(msgspec.Struct, frozen=True, tag="owner_key", tag_field="verb"):
    """The key made in memory at this start, for the owner's own requests."""


class DetectRequest(msgspec.Struct, frozen=True, tag="detect", tag_field="verb"):
    """Look for engines now, and tell what is there."""


class StartEngineRequest(msgspec.Struct, frozen=True, tag="start_engine", tag_field="verb"):
    """Start an engine that is installed here, with the user's own arguments.

    Answered with an `Operation` at once.
    """

    engine: str
    arguments: tuple[str, ...] = ()


class StopEngineRequest(msgspec.Struct, frozen=True, tag="stop_engine", tag_field="verb"):
    """Drain and stop an engine that this controller started. Answered with an `Operation`."""

    engine: str


class LoadModelRequest(msgspec.Struct, frozen=True, tag="load_model", tag_field="verb"):
    """Have a model in memory. ``target``: `engine/name`. Answered with an `Operation`."""

    target: str


class UnloadModelRequest(msgspec.Struct, frozen=True, tag="unload_model", tag_field="verb"):
    """Drain a model and take it out of memory. Answered with an `Operation`."""

    target: str


class EngineKeyRequest(msgspec.Struct, frozen=True, tag="engine_key", tag_field="verb"):
    """The key an engine wants, the one of its start included: for the owner's own commands."""

    engine: str


class OperationRequest(msgspec.Struct, frozen=True, tag="operation", tag_field="verb"):
    """How an operation is. Waits up to ``wait`` seconds for one of its `Operation.turn` other
    than ``seen``."""

    id: str
    seen: int = 0
    wait: float = 0.0


ControlRequest = (
    StatusRequest
    | StopRequest
    | PokeRequest
    | OwnerKeyRequest
    | DetectRequest
    | StartEngineRequest
    | StopEngineRequest
    | LoadModelRequest
    | UnloadModelRequest
    | EngineKeyRequest
    | OperationRequest
)


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A listener: its name, and the base URL that clients of OpenAI's API use."""

    name: str
    host: str
    port: int
    base_url: str

    @property
    def root_url(self) -> str:
        """The base URL for clients of Anthropic's and Ollama's APIs: paths there stand whole."""
        return self.base_url.removesuffix("/v1")


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway process as the controller last heard of it. ``restarts``: since the start."""

    pid: int | None
    ready: bool
    restarts: int = 0
    connections: int = 0
    in_flight: int = 0
    served: int = 0
    unrecorded: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller says of itself."""

    state: Literal["starting", "started", "stopping"]
    pid: int
    version: str
    started_at: float
    foreground: bool
    demo: bool
    handles: tuple[Handle, ...]
    gateway: GatewayStatus
    engines: tuple[Engine, ...] = ()
    models: tuple[Model, ...] = ()


class OwnerKey(msgspec.Struct, frozen=True):
    """The owner key in clear."""

    key: str


class EngineKey(msgspec.Struct, frozen=True):
    """An engine's key in clear, None where it wants none."""

    key: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """An error on the control socket. The templates and values let the client translate it."""

    code: str
    message: str
    remedy: str = ""
    template: str = ""
    remedy_template: str = ""
    values: dict[str, str] = {}
    exit_code: int = 2


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that takes long, as it is now. ``turn`` counts its changes; ``doing`` is an `N_`
    template filled by ``values``; ``lines``: the engine's own last log lines; ``failure``: why
    it ended badly, None while it runs or when it went well; ``arguments``: what an engine was
    started with that serves now by this operation, None where none was.
    """

    id: str
    turn: int
    over: bool
    doing: str = ""
    values: dict[str, str] = {}
    lines: tuple[str, ...] = ()
    failure: Failure | None = None
    arguments: tuple[str, ...] | None = None


class Done(msgspec.Struct, frozen=True):
    """Answers a verb that tells nothing but that it was done."""
