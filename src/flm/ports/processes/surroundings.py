"""The machine around WSL2 or a container, whose engines are the user's too."""

from __future__ import annotations

import ipaddress
import re
import struct

from flm.domain.addresses import is_address
from flm.ports.machine import Host, Machine

_INSIDE = re.compile(r"docker|containerd|podman|libpod|buildkit")
_NAMES = ("host.docker.internal", "host.containers.internal")
_DOCKERS = re.compile(r"^\s*nameserver\s+(127\.0\.0\.11|192\.168\.65\.\d+)\s*$", re.MULTILINE)
_GATEWAY = 0x3  # RTF_UP | RTF_GATEWAY


def surroundings(machine: Machine) -> tuple[Host, ...]:
    """The addresses of the machine around us; () on a machine of its own.

    Not in Kubernetes, where the machine around is everybody's; not with the host's own network,
    where it is reached over loopback and the gateway is somebody else's router.
    """
    if "microsoft" in (machine.read("/proc/version") or "").lower():
        if machine.is_folder("/sys/class/net/loopback0"):  # mirrored: loopback is Windows' too
            return ()
        gateway = _default_route(machine)
        address = gateway[1] if gateway is not None else _nameserver(machine)
        return () if address is None else (Host(address=address, how="wsl"),)
    if not _in_container(machine) or machine.environment.get("KUBERNETES_SERVICE_HOST"):
        return ()
    found = list(_named(machine))
    gateway = _default_route(machine)
    if gateway is not None and not machine.is_folder(f"/sys/class/net/{gateway[0]}/device"):
        found.append(gateway[1])
    return tuple(Host(address=each, how="container") for each in dict.fromkeys(found))


def _in_container(machine: Machine) -> bool:
    if machine.is_file("/.dockerenv") or machine.is_file("/run/.containerenv"):
        return True
    return _INSIDE.search(machine.read("/proc/1/cgroup") or "") is not None


def _named(machine: Machine) -> tuple[str, ...]:
    """The host's address by the container's own table, else its name where Docker answers it."""
    for line in (machine.read("/etc/hosts") or "").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if any(name in _NAMES for name in names) and is_address(address):
            return (address,)
    if _DOCKERS.search(machine.read("/etc/resolv.conf") or ""):
        return (_NAMES[0],)
    return ()


def _default_route(machine: Machine) -> tuple[str, str] | None:
    """Interface and gateway of the default route in `/proc/net/route`."""
    for line in (machine.read("/proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        try:
            if int(fields[3], 16) & _GATEWAY == _GATEWAY:
                number = struct.pack("=I", int(fields[2], 16))
                return fields[0], str(ipaddress.IPv4Address(number))
        except (ValueError, struct.error):
            continue
    return None


def _nameserver(machine: Machine) -> str | None:
    """In WSL2's older networks Windows answers the names; 10.255.255.254 is WSL's own."""
    text = machine.read("/etc/resolv.conf") or ""
    for found in re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE):
        if is_address(found) and not found.startswith(("127.", "10.255.255.")):
            return str(found)
    return None
