"""The machine as its own tables tell it, and what lies around WSL2 and containers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flm.ports.machine import Host
from flm.ports.processes.listening import Listening, Socket, listening_in
from flm.ports.processes.machine import LocalMachine
from flm.ports.processes.surroundings import surroundings
from support.machines import MadeUp
from support.running_flm import started

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, run it on Linux")
ROUTE = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)
WSL = "Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c8)"


def program(folder: Path, name: str) -> Path:
    """A file that could be run, and must not be."""
    path = folder / name
    path.write_text(f"#!/bin/sh\ntouch {folder}/was-run\n")
    path.chmod(0o755)
    return path


def test_a_listener_is_told_with_its_process_and_those_above() -> None:
    """Nearest first; a Python program by its module or script."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (found,) = [each for each in LocalMachine({}).listeners() if each.port == port]
    assert (found.host, found.chain[0][0]) == ("127.0.0.1", os.getpid())
    assert found.chain[0][1].startswith(("pytest", "coverage"))  # which of them runs this
    assert found.chain[1][0] == os.getppid()
    assert found.mark != ""


def test_another_socket_in_its_place_has_another_mark() -> None:
    """And what was looked up once is not looked up again."""
    machine = LocalMachine({})
    marks = []
    port = 0
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)) as listening:
            port = listening.getsockname()[1]
            seen = [
                {each.mark for each in machine.listeners() if each.port == port} for _ in range(2)
            ]
            assert seen[0] == seen[1]
            marks += seen[0]
    assert len(set(marks)) == 2


def test_a_module_is_called_by_its_name(tmp_path: Path) -> None:
    """`python -m vllm.…` listens as vllm."""
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "server.py").write_text(
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with started(
        [sys.executable, "-m", "vllm.server"],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        port = int(child.stdout.readline())
        (found,) = [each for each in LocalMachine({}).listeners() if each.port == port]
        child.communicate("")
    assert found.chain[0][1] == "vllm"
    assert os.getpid() in [pid for pid, _ in found.chain]


@LINUX_ONLY
def test_psutil_tells_the_same_where_there_are_no_tables() -> None:
    """As on macOS and Windows."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = [each for each in Listening(linux=False).now() if each.port == port]
    assert [(each.host, each.chain[0][0]) for each in found] == [("127.0.0.1", os.getpid())]
    assert found[0].mark.startswith(f"{os.getpid()}@")


@pytest.mark.skipif(sys.byteorder != "little", reason="the recorded table is a little-endian one")
def test_the_tables_addresses_are_read_in_the_machines_byte_order() -> None:
    """IPv4, IPv6, an IPv4 in IPv6; connections are not listeners, and nonsense is nobody."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"
    line = "   0: {}:{} 00000000:0000 {} 00000000:00000000 00:00000000 00000000  0 0 {} 1 x\n"
    table = head + "".join(
        line.format(*each)
        for each in (
            ("0100007F", "2CAA", "0A", "11"),
            ("00000000", "1F90", "0A", "12"),
            ("0100007F", "2CAA", "01", "13"),
            ("00000000000000000000000001000000", "04D2", "0A", "14"),
            ("0000000000000000FFFF00000100007F", "04D3", "0A", "15"),
            ("XX", "04D3", "0A", "16"),
        )
    )
    assert listening_in(table + "short\n") == [
        Socket("127.0.0.1", 11434, "11"),
        Socket("0.0.0.0", 8080, "12"),
        Socket("::1", 1234, "14"),
        Socket("127.0.0.1", 1235, "15"),
    ]


def test_programs_are_found_on_path_and_never_run(tmp_path: Path) -> None:
    """On that PATH and no other."""
    ollama = program(tmp_path, "ollama")
    machine = LocalMachine({"PATH": str(tmp_path)})
    assert (machine.which("ollama"), machine.which("vllm")) == (str(ollama), None)
    assert not (tmp_path / "was-run").exists()
    assert LocalMachine({"PATH": ""}).which("sh") is None


def test_our_own_flm_is_never_fastflowlm(tmp_path: Path) -> None:
    """One that lies elsewhere is found."""
    own = str(Path(sys.executable).parent)
    assert LocalMachine({"PATH": own}).which("flm") is None
    other = program(tmp_path, "flm")
    both = os.pathsep.join((own, str(tmp_path)))
    assert LocalMachine({"PATH": both}).which("flm") == str(other)


def test_files_that_cannot_be_read_are_nothing(tmp_path: Path) -> None:
    """No method raises."""
    (tmp_path / "a.txt").write_text("日本語")
    machine = LocalMachine({"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)})
    assert machine.home == str(tmp_path)
    assert (machine.read(f"{tmp_path}/a.txt"), machine.read(f"{tmp_path}/b.txt")) == (
        "日本語",
        None,
    )
    assert (machine.read(str(tmp_path)), machine.read("\0")) == (None, None)
    assert (machine.is_file("\0"), machine.is_folder("\0"), machine.matching("\0")) == (
        False, False, (),
    )  # fmt: skip
    assert machine.matching(f"{tmp_path}/*.txt") == (f"{tmp_path}/a.txt",)
    assert machine.read(f"{tmp_path}/a.txt", 3) == "日"


@LINUX_ONLY
def test_a_users_own_unit_is_a_service(tmp_path: Path) -> None:
    """By its file."""
    units = tmp_path / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / "ollama.service").write_text("[Service]\n")
    machine = LocalMachine({"HOME": str(tmp_path)})
    assert (machine.has_service("ollama"), machine.has_service("no-such-unit")) == (True, False)


# What lies around.


def test_in_wsl_windows_is_the_default_gateway() -> None:
    """172.17.0.1 here; without a route it is who answers names."""
    assert surroundings(MadeUp(files={"/proc/version": WSL, "/proc/net/route": ROUTE})) == (
        Host(address="172.17.0.1", how="wsl"),
    )
    names = "# made by WSL\nnameserver 10.255.255.254\nnameserver 172.20.0.1\n"
    assert surroundings(MadeUp(files={"/proc/version": WSL, "/etc/resolv.conf": names})) == (
        Host(address="172.20.0.1", how="wsl"),
    )


def test_with_mirrored_networking_there_is_nothing_around() -> None:
    """Loopback is Windows' too, and the gateway is somebody's router."""
    files = {"/proc/version": WSL, "/proc/net/route": ROUTE}
    assert surroundings(MadeUp(files=files, folders=("/sys/class/net/loopback0",))) == ()


@pytest.mark.parametrize(
    "inside",
    [
        {"/.dockerenv": ""},
        {"/run/.containerenv": "engine=podman"},
        {"/proc/1/cgroup": "12:pids:/docker/0123456789abcdef\n"},
    ],
)
def test_in_a_container_the_host_is_named_or_the_gateway(inside: dict[str, str]) -> None:
    """Docker on Linux writes the name into the table when asked, Docker Desktop answers it."""
    hosts = "127.0.0.1 localhost\n172.17.0.1 host.docker.internal # added\n"
    gateway = {**inside, "/proc/net/route": ROUTE}
    assert [each.address for each in surroundings(MadeUp(files=gateway))] == ["172.17.0.1"]
    assert [
        each.address for each in surroundings(MadeUp(files={**gateway, "/etc/hosts": hosts}))
    ] == ["172.17.0.1"]
    desktop = {**gateway, "/etc/resolv.conf": "nameserver 192.168.65.7\n"}
    assert [each.address for each in surroundings(MadeUp(files=desktop))] == [
        "host.docker.internal",
        "172.17.0.1",
    ]


def test_nothing_is_around_a_machine_of_its_own() -> None:
    """Nor in Kubernetes, nor with the host's own network card."""
    docker = {"/.dockerenv": "", "/proc/net/route": ROUTE}
    assert surroundings(MadeUp(files={"/proc/version": "Linux", "/proc/net/route": ROUTE})) == ()
    kubernetes = MadeUp(files=docker, environment={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert surroundings(kubernetes) == ()
    assert surroundings(MadeUp(files=docker, folders=("/sys/class/net/eth0/device",))) == ()
    broken = {
        "/.dockerenv": "",
        "/proc/net/route": "x\neth0\t00000000\tZZ\t0003\t0\t0\t0\t00000000",
    }
    assert surroundings(MadeUp(files=broken)) == ()
