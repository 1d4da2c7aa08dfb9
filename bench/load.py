"""Requests and their answers: one at a time, and as many as go (wrk)."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import program

_WRK_SCRIPT = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = [==[{body}]==]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\nRESULT {{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"max":%d,"errors":%d}}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        latency.max, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def head(length: int, key: str, path: str = "/v1/chat/completions") -> bytes:
    """The head of a request with a body of `length` bytes."""
    lines = [
        f"{'POST' if length else 'GET'} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole_size(data: bytes) -> int | None:
    """How long the answer will be, once its head is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lower = data[:end].lower()
    at = lower.find(b"content-length:")
    return end + 4 + int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else end + 4


def ask(port: int, body: bytes, key: str, path: str = "/v1/chat/completions") -> int:
    """The status of one request; 0 when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with contextlib.closing(connection):
        try:
            connection.request("POST" if body else "GET", path, body or None, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        return answer.status


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a load of whole answers came to. Latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    worst: float
    errors: int
    load_cpu: float

    @property
    def per_second(self) -> float:
        """Answers in a second."""
        return self.requests / self.seconds


def closed_loop(
    port: int, body: bytes, key: str, *, seconds: float, connections: int, core: int, folder: Path
) -> Answers:
    """As many requests as `connections` clients get answered, one after the other each."""
    script = folder / "wrk.lua"
    script.write_text(_WRK_SCRIPT.format(body=body.decode(), key=key))
    wrk = program("wrk")
    assert wrk is not None
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script)]
    before = _children_cpu()
    ran = subprocess.run(
        ["taskset", "--cpu-list", str(core), *command, f"http://127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(ran.stdout.partition("RESULT ")[2])
    return Answers(
        requests=result["requests"],
        seconds=result["microseconds"] / 1e6,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        worst=result["max"] / 1000,
        errors=result["errors"],
        load_cpu=_children_cpu() - before,
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
