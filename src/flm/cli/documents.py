"""FLM's things as the JSON that `--format json` promises: names and codes never translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flm.cli.when import iso
from flm.domain.engines import (
    ApiError,
    Degraded,
    Engine,
    EngineDefinition,
    Finding,
    Healthy,
    NetworkError,
    state_name,
)
from flm.domain.keys import ApiKey
from flm.domain.models import GgufFile, Model
from flm.domain.publications import Profile, PromptTemplate
from flm.domain.records import RequestRecord, details_of, tokens_per_second
from flm.ports.telemetry import HealthMark
from flm.wire.control import Handle, Status

if TYPE_CHECKING:
    from flm.services.check import Report
    from flm.services.installing import Outcome
    from flm.services.model_keeping import Pulled
    from flm.services.publication_view import View

Document = dict[str, Any]


def engine(seen: Engine, *, stale: bool = False) -> Document:
    """An engine as last seen; fields its state does not have are null.

    ``stale``: that is too long ago to say anything about now, so that `state` is null.
    """
    state = seen.state
    return {
        "id": seen.id,
        "kind": seen.kind,
        "url": seen.address.url if seen.address is not None else None,
        "source": seen.source,
        "state": None if stale else state_name(state),
        "last_state": state_name(state),
        "stale": stale,
        "latency_ms": state.latency_ms if isinstance(state, Healthy | Degraded) else None,
        "reason": state.reason if isinstance(state, Degraded | NetworkError | ApiError) else None,
        "consecutive_failures": (
            state.consecutive_failures if isinstance(state, NetworkError) else None
        ),
        "product": seen.product,
        "version": seen.version,
        "remote": seen.remote,
        "owned": seen.owned,
        "detail": seen.detail,
        "load": engine_load(seen),
        "in_flight": seen.in_flight,
        "findings": [finding(each) for each in seen.findings],
        "checked_at": iso(seen.checked_at) if seen.checked_at else None,
    }


def engine_load(seen: Engine) -> Document | None:
    """How busy an engine says it is; null where it does not tell."""
    load = seen.load
    if load is None:
        return None
    return {
        "running": load.running,
        "waiting": load.waiting,
        "slots": load.slots,
        "cache_usage": load.cache_usage,
    }


def finding(found: Finding) -> Document:
    """Something the user should know or mend, in English."""
    return {
        "code": found.code,
        "level": found.level,
        "message": found.message.format(**found.values),
        "remedy": found.remedy.format(**found.values),
    }


def definition(added: EngineDefinition) -> Document:
    """An engine the user added; its key is never shown."""
    return {
        "id": added.id,
        "kind": added.kind,
        "url": added.address.url,
        "remote": not added.address.is_loopback,
        "ca_file": added.address.ca_file or None,
        "has_key": added.sealed_key is not None,
    }


def model(found: Model) -> Document:
    """A model on one engine; `context_length` is the effective one."""
    return {
        "id": found.name,
        "engine": found.engine,
        "target": found.target,
        "capabilities": list(found.capabilities),
        "context_length": found.context_length,
        "trained_context": found.trained_context,
        "size_bytes": found.size_bytes,
        "quantization": found.quantization,
        "family": found.family,
        "parameters": found.parameters,
        "loaded": found.loaded,
        "by_hand": found.by_hand,
        "remote": found.remote,
        "demo": found.demo,
    }


def gguf(file: GgufFile) -> Document:
    """A file of the embedded engine."""
    return {
        "name": file.name,
        "path": file.path,
        "added_at": iso(file.added_at),
        "demo": file.demo,
    }


def key(stored: ApiKey, now: float) -> Document:
    """A key without its secret."""
    return {
        "id": stored.id,
        "label": stored.label,
        "state": stored.state(now),
        "last4": stored.last4,
        "created_at": iso(stored.created_at),
        "expires_at": iso(stored.expires_at),
        "revoked_at": iso(stored.revoked_at),
        "rotated_to": stored.rotated_to,
        "keyless_from": stored.keyless_from or None,
    }


def record(served: RequestRecord) -> Document:
    """One request that was served or refused; `error` null when it went well.

    `tries`: engines that were asked before the one that counts; `api`: the publication.
    """
    more = details_of(served)
    return {
        "time": iso(served.time),
        "request_id": served.id,
        "key_id": served.key_id or None,
        "model": served.model or None,
        "engine": served.engine or None,
        "route": served.route,
        "status": served.status,
        "error": served.error or None,
        "latency_ms": round(served.latency_ms, 3),
        "first_token_ms": rounded(served.first_token_ms),
        "tokens_in": served.tokens_in,
        "tokens_out": served.tokens_out,
        "client": served.client,
        "streamed": served.streamed,
        "api": served.api or None,
        "cached_tokens": served.cached_tokens,
        "reasoning_tokens": served.reasoning_tokens,
        "estimated": served.estimated,
        "tokens_per_second": rounded(tokens_per_second(served)),
        "tries": [{"target": each.target, "error": each.error} for each in more.tries],
        "remote": more.remote,
        "prompt_template": more.template or None,
        "profile": more.profile or None,
        "dropped": list(more.dropped),
    }


def rounded(number: float | None) -> float | None:
    """To three decimal places."""
    return None if number is None else round(number, 3)


def handle(listener: Handle) -> Document:
    """A listener."""
    return {
        "handle": listener.name,
        "host": listener.host,
        "port": listener.port,
        "base_url": listener.base_url,
        "root_url": listener.root_url,
    }


def status(told: Status) -> Document:
    """What runs, as the controller told it."""
    gateway = told.gateway
    return {
        "running": True,
        "state": told.state,
        "pid": told.pid,
        "version": told.version,
        "started_at": iso(told.started_at),
        "foreground": told.foreground,
        "demo": told.demo,
        "handles": [handle(each) for each in told.handles],
        "gateway": {
            "pid": gateway.pid,
            "ready": gateway.ready,
            "restarts": gateway.restarts,
            "connections": gateway.connections,
            "in_flight": gateway.in_flight,
            "served": gateway.served,
            "unrecorded": gateway.unrecorded,
        },
        "engines": [engine(each) for each in told.engines],
        "models": [model(each) for each in told.models],
    }


def installation(name: str, outcome: Outcome) -> Document:
    """An engine that FLM installed; `replaced` is the version before, null when there was none."""
    return {
        "engine": name,
        "version": outcome.installed.version,
        "path": str(outcome.program),
        "changed": outcome.changed,
        "replaced": outcome.replaced,
        "still_runs": outcome.still_runs,
        "installed_at": iso(outcome.installed.installed_at),
    }


def pulled(told: Pulled) -> Document:
    """What `flm models pull` fetched; `model` null where its engine lists it otherwise."""
    return {
        "pulled": told.name,
        "engine": told.engine.id,
        "remote": told.engine.remote,
        "path": told.path,
        "model": None if told.model is None else model(told.model),
    }


def health_mark(mark: HealthMark) -> Document:
    """What an engine was at a time."""
    return {
        "engine": mark.engine,
        "time": iso(mark.time),
        "state": mark.state,
        "latency_ms": rounded(mark.latency_ms),
        "reason": mark.reason or None,
    }


def report(told: Report) -> Document:
    """What `flm check` found; `fine`: nothing is worse than a note."""
    return {
        "fine": told.fine,
        "areas": [
            {"name": area.name, "findings": [finding(each) for each in area.findings]}
            for area in told.areas
        ],
    }


def api(told: View) -> Document:
    """A publication; `template_in_force` is `NAME@VERSION`, `working_keys` null for every key."""
    publication, template = told.publication, told.template
    return {
        "name": publication.name,
        "models": [
            {"name": each.name, "state": each.state.replace(" ", "_"), "remote": each.remote}
            for each in told.models
        ],
        "allow_remote": publication.allow_remote,
        "keys": list(publication.keys) or None,
        "working_keys": list(told.keys) if publication.keys else None,
        "prompt_template": publication.template or None,
        "template_in_force": None if template is None else f"{template.name}@{template.version}",
        "variables": dict(publication.variables),
        "profile": publication.profile or None,
        "created_at": iso(publication.created_at),
        "findings": [finding(each) for each in told.findings],
    }


def prompt(template: PromptTemplate, users: list[str]) -> Document:
    """One version of a prompt template; `variables` are the values of those that have one."""
    return {
        "name": template.name,
        "version": template.version,
        "system": template.system,
        "user": template.user,
        "variables": dict(template.variables),
        "created_at": iso(template.created_at),
        "used_by": users,
    }


def profile(saved: Profile, users: list[str]) -> Document:
    """A model profile."""
    return {
        "name": saved.name,
        "defaults": dict(saved.defaults),
        "caps": dict(saved.caps),
        "options": dict(saved.options),
        "used_by": users,
    }
