"""Large bodies: how much longer they take through FLM, and whom they delay.

Small requests go at a fixed rate beside them. Run as a program this file is who sends the large
ones: `python -m bench.bodies PORT MODEL COUNT KEY`, one in a second; it prints their times.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from bench import report
from bench.candidates import Candidate
from bench.load import Answers, head, whole_size
from bench.openloop import OpenLoop
from bench.processes import Failed
from bench.rounds import middle, settle
from bench.setting import Setting
from bench.upstream import request_body

SIZE = 10_000_000
RATE = 200
"""Small requests a second."""

ADDED_MS = 30
DELAYED_MS = 10


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One way's turn. ``large``: milliseconds of each large body; ``alone`` and ``beside``: the
    small requests without and with them.
    """

    large: list[float]
    alone: Answers
    beside: Answers

    @property
    def delay(self) -> float:
        """By how much a small request was delayed at the worst, in milliseconds."""
        return self.beside.worst - self.alone.p50


def large_body(model: str, size: int = SIZE) -> bytes:
    """A chat with a picture, `size` bytes long."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    content = [{"type": "text", "text": "What is this?"}, picture]
    asked = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 64}
    before, mark, after = json.dumps(asked).encode().partition(b"base64,")
    room = (size - len(before) - len(mark) - len(after)) // 4 * 3
    start = b"\x89PNG\r\n\x1a\n"
    return before + mark + b64encode(start + os.urandom(room - len(start))) + after


def send(port: int, key: str, body: bytes) -> float:
    """Milliseconds from the first byte that is sent to the last of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        begin = time.perf_counter()
        connection.sendall(head(len(body), key) + body)
        answer = b""
        while (size := whole_size(answer)) is None or len(answer) < size:
            piece = connection.recv(65536)
            if not piece:
                raise Failed(f"the large body was not answered: {answer!r}")
            answer += piece
        took = 1000 * (time.perf_counter() - begin)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"the large body was refused: {answer[:300]!r}")
    return took


def run(setting: Setting) -> Any:
    """Each way in turn: straight to the engine, through nginx, through FLM."""
    engine, _ = setting.streaming_engine(setting.cores.rest)
    ways = [
        Candidate(name="straight", port=engine, pids={}),
        setting.nginx(engine, streams=False),
        setting.flm(engine),
    ]
    measured: dict[str, list[Turn]] = {way.name: [] for way in ways}
    for _ in range(setting.options.rounds):
        for way in ways:
            measured[way.name].append(_turn(setting, way))
    _report(measured)
    return measured


def _turn(setting: Setting, way: Candidate) -> Turn:
    seconds = max(2, round(setting.options.seconds))
    body = request_body(way.model)
    OpenLoop(way.port, body, way.key).run(RATE, 0.5)
    alone = OpenLoop(way.port, body, way.key).run(RATE, seconds)
    command = [sys.executable, "-m", "bench.bodies", str(way.port), way.model, str(seconds)]
    with subprocess.Popen(
        ["taskset", "--cpu-list", str(setting.cores.rest), *command, way.key],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as sender:
        assert sender.stdout is not None
        sender.stdout.readline()  # its body is made
        beside = OpenLoop(way.port, body, way.key).run(RATE, seconds)
        said, complaint = sender.communicate(timeout=60)
    if sender.returncode:
        raise Failed(complaint.strip().rpartition("\n")[2])
    settle(way)
    return Turn(large=json.loads(said), alone=alone, beside=beside)


def _report(measured: dict[str, list[Turn]]) -> None:
    rows = [
        [
            name,
            f"{middle([middle(turn.large) for turn in turns]):.1f}",
            f"{middle([turn.alone.p50 for turn in turns]):.2f}",
            f"{middle([turn.alone.worst for turn in turns]):.1f}",
            f"{middle([turn.beside.p50 for turn in turns]):.2f}",
            f"{middle([turn.beside.worst for turn in turns]):.1f}",
            str(sum(turn.alone.errors + turn.beside.errors for turn in turns)),
        ]
        for name, turns in measured.items()
    ]
    headings = ["way", "10 MB ms", "small p50", "worst", "beside: p50", "worst", "errors"]
    report.table(
        f"A body of 10 MB in a second, {RATE} small requests beside it (ms)", headings, rows
    )
    pairs = zip(measured["flm"], measured["straight"], strict=True)
    added = middle([middle(one.large) - middle(other.large) for one, other in pairs])
    report.verdict("a body of 10 MB, added", added, ADDED_MS, least=False, unit=" ms")
    delay = middle([turn.delay for turn in measured["flm"]])
    report.verdict("longest delay of others", delay, DELAYED_MS, least=False, unit=" ms")
    errors = sum(turn.beside.errors for turn in measured["flm"])
    report.verdict("errors of others", errors, 0, least=False)


def main(port: int, model: str, count: int, key: str) -> None:
    """Send `count` of them, each a second after the one before."""
    body = large_body(model)
    print("ready", flush=True)
    times = []
    for _ in range(count):
        begin = time.monotonic()
        times.append(send(port, key, body))
        time.sleep(max(0.0, begin + 1 - time.monotonic()))
    print(json.dumps(times))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
