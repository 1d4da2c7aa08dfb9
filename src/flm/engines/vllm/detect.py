"""Where a vLLM listens on this machine, and where its program lies."""

from __future__ import annotations

from flm.domain.engines import Address
from flm.engines.places import local_hosts, on_loopback, port_in, program
from flm.ports.engines import Installation
from flm.ports.machine import Machine

PORT = 8000
SERVICE = "vllm"

_FOLDERS = (
    *("~/.local/bin", "/usr/local/bin", "/opt/vllm/bin", "/opt/venv/bin"),
    *("~/.local/share/uv/tools/vllm/bin", "~/.local/share/pipx/venvs/vllm/bin"),
    *("~/vllm/bin", "~/vllm/.venv/bin", "~/vllm/venv/bin", "~/.venv/bin", "~/venv/bin"),
    *("~/miniconda3/envs/*/bin", "~/anaconda3/envs/*/bin", "~/miniforge3/envs/*/bin"),
)
"""Where virtual environments with a vLLM usually lie. It runs on Linux and macOS only."""


def places(machine: Machine) -> tuple[Address, ...]:
    """`VLLM_HOST` and `VLLM_PORT`, then port 8000, on both loopback addresses."""
    told = port_in(machine.environment.get("VLLM_PORT", ""))
    hosts = local_hosts(machine.environment.get("VLLM_HOST", ""))
    named = tuple(Address(host, told or PORT) for host in hosts)
    return tuple(dict.fromkeys((*named, *on_loopback(told, PORT))))


def installed(machine: Machine) -> Installation | None:
    """The `vllm` script of the environment it was installed into."""
    found = program(machine, "vllm", _FOLDERS) if machine.platform != "win32" else None
    if found is None:
        return None
    return Installation(program=found, service=SERVICE if machine.has_service(SERVICE) else None)
