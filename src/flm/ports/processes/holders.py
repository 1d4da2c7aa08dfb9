"""Who has a port: asked only when a start has failed, so psutil is loaded only then."""

from __future__ import annotations


def process_name(pid: int) -> str | None:
    """A process's name, None when it cannot be known."""
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return None


def holder_of_port(host: str, port: int) -> tuple[int, str] | None:
    """Pid and name of the program that listens on `port` for `host` (or for every address).

    None when it cannot be known: another user's sockets show no pid.
    """
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.pid is not None
            and connection.laddr.port == port
            and connection.laddr.ip in (host, "0.0.0.0", "::")  # noqa: S104
        ):
            name = process_name(connection.pid)
            if name is not None:
                return connection.pid, name
    return None
