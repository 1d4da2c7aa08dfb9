"""What stays behind: the gateway's memory and files after many requests and cancelled streams."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

from bench import report
from bench.candidates import Candidate
from bench.events import MARK
from bench.load import closed_loop, head
from bench.machine import open_files, pss_megabytes
from bench.rounds import CONNECTIONS, settle
from bench.setting import Setting
from bench.streams import openai
from bench.upstream import request_body

AT_ONCE = 50
"""Streams that are open at a time; each wave is left as a whole."""

ENDLESS = 100_000
GROWS_MB = 5
MORE_FILES = 2 * CONNECTIONS
"""Connections to the engine that wait for the next request are no loss."""

WARM = 5_000
"""Requests after which what is made once is made."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a candidate holds at rest: MB (PSS) of each process, open files of its gateway."""

    after: str
    memory: dict[str, float]
    files: int


def run(setting: Setting) -> Any:
    """Memory before, after the requests, after the streams."""
    options = setting.options
    engine, _ = setting.streaming_engine(setting.cores.rest)
    flm = setting.flm(engine)
    _, errors = _requests(setting, flm, WARM)
    leave_streams(flm, AT_ONCE)
    held = [_held(flm, "the start")]
    done, more = _requests(setting, flm, options.requests)
    held.append(_held(flm, f"{done:,} requests"))
    left = leave_streams(flm, options.cancelled)
    held.append(_held(flm, f"{left:,} cancelled streams"))
    _report(held, errors + more, options.cancelled - left)
    return held


def _requests(setting: Setting, candidate: Candidate, count: int) -> tuple[int, int]:
    """Ask until at least `count` were answered; how many were, and how many were not."""
    done = errors = 0
    while done < count and errors < count:
        answers = closed_loop(
            candidate.port,
            request_body(candidate.model),
            candidate.key,
            seconds=2,
            connections=CONNECTIONS,
            core=setting.cores.rest,
            folder=setting.processes.folder,
        )
        done += answers.requests - answers.errors
        errors += answers.errors
    return done, errors


def leave_streams(candidate: Candidate, count: int) -> int:
    """Open `count` streams, a wave at a time, and leave each in its middle; how many had begun."""
    asked = openai(candidate.model, ENDLESS)
    request = head(len(asked.body), candidate.key, asked.path) + asked.body
    begun = 0
    for wave in range(0, count, AT_ONCE):
        opened = []
        for _ in range(min(AT_ONCE, count - wave)):
            connection = socket.create_connection(("127.0.0.1", candidate.port), timeout=20)
            connection.sendall(request)
            opened.append(connection)
        for number, connection in enumerate(opened):
            begun += _has_begun(connection)
            if number % 2:  # half of them say nothing as they leave but a reset
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
    return begun


def _has_begun(connection: socket.socket) -> bool:
    while data := connection.recv(65536):
        if MARK in data:
            return True
    return False


def _held(candidate: Candidate, after: str) -> Held:
    settle(candidate)
    memory = {role: pss_megabytes([pid]) for role, pid in candidate.pids.items()}
    return Held(after=after, memory=memory, files=open_files(candidate.pids["gateway"]))


def _report(held: list[Held], errors: int, not_begun: int) -> None:
    rows = [
        [each.after, *(f"{size:.1f}" for size in each.memory.values()), str(each.files)]
        for each in held
    ]
    headings = ["after", *(f"{role} MB" for role in held[0].memory), "gateway's files"]
    report.table("What stays (PSS)", headings, rows)
    first = held[0]
    sizes = [abs(each.memory["gateway"] - first.memory["gateway"]) for each in held]
    report.verdict("gateway grows or shrinks", max(sizes), GROWS_MB, least=False, unit=" MB")
    files = max(each.files for each in held) - first.files
    report.verdict("more open files", files, MORE_FILES, least=False)
    report.verdict("requests and streams not answered", errors + not_begun, 0, least=False)
