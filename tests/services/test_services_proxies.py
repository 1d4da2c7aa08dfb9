"""The client side of the control socket, with real controllers and gateways in real processes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from flm.errors import Conflict, InternalError, NotPermitted, NotRunning, StartError
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.services import proxies as module
from flm.services.proxies import ProxyService
from flm.store import FileSecrets, migrate, open_store
from flm.wire.control import LockInfo, Status


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    """A data directory that is not there yet."""
    return data_paths(tmp_path / "data")


@pytest.fixture
def proxy(paths: DataPaths) -> Iterator[ProxyService]:
    """The service of that directory; what it left running is stopped."""
    service = ProxyService(paths, current(), SystemClock())
    yield service
    if paths.root.exists():
        service.stop()


def get(status: Status, path: str, key: str | None = None) -> int:
    """The status of a GET through the gateway."""
    handle = status.handles[0]
    connection = http.client.HTTPConnection(handle.host, handle.port, timeout=20)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    connection.request("GET", path, headers=headers)
    code = connection.getresponse().status
    connection.close()
    return code


def gone(*pids: int | None) -> bool:
    """Whether all these processes end within 5 s."""
    living = [psutil.Process(pid) for pid in pids if pid is not None and psutil.pid_exists(pid)]
    return psutil.wait_procs(living, timeout=5)[1] == []


def test_nothing_runs_where_nothing_was_started(proxy: ProxyService, paths: DataPaths) -> None:
    """No directory is made by asking; verbs that need a controller say how to start one."""
    assert proxy.status() is None
    assert proxy.stop() is None
    proxy.poke()
    assert not paths.root.exists()
    with pytest.raises(NotRunning, match=str(paths.root)):
        proxy.owner_key()
    with pytest.raises(NotRunning):
        proxy.detect()


def test_a_detached_start_returns_when_requests_are_answered(proxy: ProxyService) -> None:
    """Health at once, models with the owner key; a second start tells what runs."""
    status = proxy.start_detached(port=0)
    assert get(status, "/health") == 200
    assert get(status, "/v1/models") == 401
    assert get(status, "/v1/models", proxy.owner_key()) == 200
    again = proxy.start_detached(port=1)
    assert (again.pid, again.handles) == (status.pid, status.handles)
    assert proxy.detect().pid == status.pid
    assert proxy.status() == msgspec.structs.replace(
        proxy.status() or status, state="started", foreground=False
    )


def test_stopping_returns_when_everything_has_left(proxy: ProxyService) -> None:
    """Neither process is there any more, and the port is free."""
    status = proxy.start_detached(port=0)
    stopped = proxy.stop()
    assert stopped is not None
    assert stopped.pid == status.pid
    assert gone(status.pid, status.gateway.pid)
    assert proxy.status() is None
    current().listen("127.0.0.1", status.handles[0].port, 1).close()


def test_a_killed_gateway_is_back_on_the_same_port(proxy: ProxyService) -> None:
    """No connection is refused meanwhile, and the status tells of the restart."""
    status = proxy.start_detached(port=0)
    os.kill(status.gateway.pid or 0, signal.SIGKILL)
    assert get(status, "/health") == 200
    after = proxy.status()
    assert after is not None
    assert (after.gateway.restarts, after.gateway.pid == status.gateway.pid) == (1, False)


def test_after_a_killed_controller_nothing_is_left_and_the_next_start_works(
    proxy: ProxyService,
) -> None:
    """At once, on the same port, over the stale lock and socket."""
    status = proxy.start_detached(port=0)
    os.kill(status.pid, signal.SIGKILL)
    assert proxy.status() is None
    again = proxy.start_detached(port=status.handles[0].port)
    assert again.handles == status.handles
    assert get(again, "/health") == 200
    assert gone(status.pid, status.gateway.pid)


def test_a_revoked_key_is_refused_when_the_poke_returns(
    proxy: ProxyService, paths: DataPaths
) -> None:
    """So is a new one accepted."""
    from flm.services.keys import KeyService

    prepare(paths)
    migrate(paths)
    store = open_store(paths)
    status = proxy.start_detached(port=0)
    keys = KeyService(store.keys, FileSecrets(paths), SystemClock(), lambda _: "a", proxy)
    key, clear = keys.create("laptop")
    assert get(status, "/v1/models", clear) == 200
    keys.revoke(key.id)
    assert get(status, "/v1/models", clear) == 401
    store.close()


def test_a_taken_port_is_a_conflict_that_names_its_holder(proxy: ProxyService) -> None:
    """The error that the detached controller had is raised here, with what translates it."""
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    with pytest.raises(Conflict) as raised:
        proxy.start_detached(port=port)
    assert raised.value.code == "port_taken"
    assert raised.value.template == "Port {port} is taken by {name} (process {pid})."
    assert raised.value.values["port"] == str(port)
    assert raised.value.values["pid"] == str(os.getpid())
    other.close()
    proxy.stop()


def test_a_controller_that_cannot_even_begin_tells_its_last_words(paths: DataPaths) -> None:
    """Whatever it printed before it left."""
    entry = ("/bin/sh", "-c", "echo something is wrong; exit 3")
    service = ProxyService(paths, current(), SystemClock(), entry=entry)
    with pytest.raises(StartError, match="something is wrong"):
        service.start_detached(port=0)


def test_a_stopped_process_is_reported_as_not_answering(
    proxy: ProxyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock and takes connections, and is never reported as running."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    status = proxy.start_detached(port=0)
    os.kill(status.pid, signal.SIGSTOP)
    try:
        with pytest.raises(InternalError) as raised:
            proxy.status()
    finally:
        os.kill(status.pid, signal.SIGCONT)
    assert raised.value.code == "not_answering"
    assert raised.value.values["pid"] == status.pid


def test_a_lock_without_a_socket_is_waited_for(
    proxy: ProxyService, paths: DataPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an older controller wrote there leads nowhere; the wait has an end."""
    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.2)
    prepare(paths)
    lock = current().lock(paths.controller_lock)
    assert lock is not None
    with pytest.raises(InternalError) as raised:
        proxy.status()
    assert raised.value.code == "not_answering"
    info = LockInfo(pid=1, started=0.0, control=str(paths.root / "none"), version="0")
    lock.write(msgspec.json.encode(info))
    with pytest.raises(InternalError, match="process 1"):
        proxy.status()
    threading.Timer(0.1, lock.release).start()
    monkeypatch.setattr(module, "SOCKET_SECONDS", 20.0)
    assert proxy.status() is None


def test_an_answer_of_another_version_is_no_riddle(proxy: ProxyService, paths: DataPaths) -> None:
    """It says what to do."""
    prepare(paths)
    lock = current().lock(paths.controller_lock)
    assert lock is not None
    address = str(paths.root / "control.sock")
    listening, _ = current().control_listener(address)
    listening.setblocking(True)
    info = LockInfo(pid=1, started=0.0, control=address, version="9")
    lock.write(msgspec.json.encode(info))

    def answer() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b'{"ok":{"state":"dancing"}}\n')

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(InternalError) as raised:
        proxy.status()
    thread.join()
    assert raised.value.code == "version_mismatch"
    lock.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make another user's directory")
def test_another_users_data_directory_is_not_touched(paths: DataPaths) -> None:
    """Not even by root: the error says as whom to run the command."""
    prepare(paths)
    os.chown(paths.root, 1, 1)
    service = ProxyService(paths, current(), SystemClock())
    with pytest.raises(NotPermitted, match="belongs to the user") as raised:
        service.status()
    assert raised.value.remedy.startswith("Run `sudo -u ")
    with pytest.raises(NotPermitted):
        service.start_detached(port=0)


def test_a_data_directory_with_a_long_path_is_served_like_any_other(tmp_path: Path) -> None:
    """The control socket lies elsewhere, the lock file says where, and nothing of it stays."""
    paths = data_paths(tmp_path / ("long" * 25))
    service = ProxyService(paths, current(), SystemClock())
    assert get(service.start_detached(port=0), "/health") == 200
    info = msgspec.json.decode(paths.controller_lock.read_bytes(), type=LockInfo)
    assert Path(info.control).parent != paths.root
    assert len(info.control) < 100
    assert service.stop() is not None
    assert not Path(info.control).parent.exists()
