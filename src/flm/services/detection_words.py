"""What detection has to say about an engine besides its state. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flm.domain.addresses import LEADS_HERE, LEADS_TO_METADATA, UNTRUSTED
from flm.domain.engines import (
    NEEDS_KEY,
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineKind,
    Finding,
    InstalledOnly,
    NetworkError,
)
from flm.domain.reasons import REDIRECTED
from flm.errors import N_
from flm.ports.machine import Host, Machine

_REDIRECTED, _ = REDIRECTED.split("{where}")

_WINDOWS: Mapping[EngineKind, tuple[str, ...]] = {
    "ollama": ("/mnt/*/Users/*/AppData/Local/Programs/Ollama/ollama.exe",),
    "lmstudio": (
        "/mnt/*/Users/*/.lmstudio/bin/lms.exe",
        "/mnt/*/Users/*/AppData/Local/Programs/LM Studio/LM Studio.exe",
    ),
}
"""Where Windows' programs lie as WSL2 sees them."""

_OPENING: Mapping[EngineKind, str] = {
    "ollama": N_(
        "In Windows, set the variable OLLAMA_HOST to 0.0.0.0 and start Ollama again (and let the "
        "firewall admit WSL only), or set networkingMode=mirrored in .wslconfig."
    ),
    "lmstudio": N_(
        "In Windows, switch on `Serve on Local Network` in LM Studio, or set "
        "networkingMode=mirrored in .wslconfig."
    ),
}


def findings(engine: Engine, hosts: Sequence[Host]) -> tuple[Finding, ...]:
    """What the user should know of an engine as it was seen now."""
    made: list[Finding] = []
    address = engine.address
    if isinstance(engine.state, ApiError) and engine.state.reason == NEEDS_KEY:
        made.append(
            Finding(
                code="needs_key",
                message=N_("{engine} wants a key, or another one."),
                remedy=N_("`flm engines set-key {engine} --api-key-stdin` stores it."),
                values={"engine": engine.id},
                level="note",
            )
        )
    if address is not None and engine.remote and not address.tls:
        made.append(
            Finding(
                code="plain_http",
                message=N_("Prompts to {engine} cross the network unencrypted."),
                remedy=N_("Put HTTPS before it, and add it by its https:// URL."),
                values={"engine": engine.id},
            )
        )
    if address is not None:
        made += _misled(engine, address)
    if address is not None and isinstance(engine.state, NetworkError) and hosts:
        made += _unreached(engine, address.host, address.is_loopback, hosts)
    return tuple(made)


def _misled(engine: Engine, address: Address) -> list[Finding]:
    """Why an engine elsewhere is not used, though its user named it."""
    reason = getattr(engine.state, "reason", "")
    values = {"engine": engine.id, "url": address.url, "host": address.host}
    if isinstance(engine.state, ApiError) and reason.startswith(_REDIRECTED):
        values["where"] = reason.removeprefix(_REDIRECTED)
        message = N_("{engine} sends FLM on to {where}; redirects are never followed.")
        remedy = N_("If the engine is there, add that URL instead.")
        return [Finding(code="redirects", message=message, remedy=remedy, values=values)]
    if not isinstance(engine.state, NetworkError):
        return []
    if reason in (LEADS_HERE, LEADS_TO_METADATA):
        message = N_("The name {host} leads where no other machine is; FLM does not go there.")
        remedy = N_("If it is right, add the engine by its IP address in place of its name.")
        return [Finding(code="name_refused", message=message, remedy=remedy, values=values)]
    if reason == UNTRUSTED:
        message = N_("Who answers at {url} cannot prove to be that machine.")
        remedy = N_(
            "Check the name in its certificate and its dates; if its authority is your own, add "
            "the engine with --ca-file."
        )
        return [Finding(code="untrusted", message=message, remedy=remedy, values=values)]
    return []


def _unreached(
    engine: Engine, host: str, is_loopback: bool, hosts: Sequence[Host]
) -> list[Finding]:
    """Why an engine does not answer that was added from within WSL2 or a container."""
    around = next((each for each in hosts if each.address == host), None)
    if around is None and not is_loopback:
        return []
    if around is None:
        message = N_("Here {address} is this container or WSL itself, not the machine around it.")
        remedy = N_("That machine is {host}: add the engine with that address.")
    else:
        message = N_("{engine} may listen on the other side's loopback only, out of reach here.")
        remedy = N_("Have it listen on {host} too, behind a firewall, or run FLM over there.")
    values = {"engine": engine.id, "address": host, "host": hosts[0].address}
    return [Finding(code="other_side", message=message, remedy=remedy, values=values, level="note")]


def out_of_reach(machine: Machine, hosts: Sequence[Host], seen: Sequence[Engine]) -> list[Engine]:
    """Windows' engines that WSL2 sees on the disk and reaches nowhere, with the explanation."""
    near = next((each for each in hosts if each.how == "wsl"), None)
    if near is None:
        return []
    reached = {engine.kind for engine in seen}
    made: list[Engine] = []
    for kind, patterns in _WINDOWS.items():
        found = next((path for each in patterns for path in machine.matching(each)), None)
        if found is None or kind in reached:
            continue
        made.append(_other_side(kind, found, near))
    return made


def _other_side(kind: EngineKind, program: str, near: Host) -> Engine:
    finding = Finding(
        code="other_side",
        message=N_(
            "{program} is installed in Windows and does not answer at {host}: it does not run, or "
            "it listens on Windows' own loopback only."
        ),
        remedy=_OPENING[kind],
        values={"program": program, "host": near.address},
        level="note",
    )
    return Engine(
        id=EngineId(kind), kind=kind, state=InstalledOnly(), detail=program, findings=(finding,)
    )
