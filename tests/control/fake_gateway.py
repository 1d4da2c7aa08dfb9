"""A gateway that speaks the channel and nothing else, with the faults a real one can have.

`fake_gateway.py MODE --channel FD --parent PID`. Each connection is answered with one JSON
document: this process's pid, the keys and targets of the snapshot in force, and what was revoked.
Modes: `good`; `mute` (never says hello); `deaf` (acknowledges no delta); `older` (another
version); `refusing` (exits at once); `stubborn` (ignores Drain and the end of its channel).
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from flm import __version__
from flm.ports.processes import current
from flm.wire.channel import (
    Ack,
    Configure,
    Delta,
    Drain,
    Drained,
    Framer,
    Hello,
    Stats,
    Wake,
    Woken,
    decode_to_gateway,
    frame,
)


class FakeGateway:
    """The whole process, in one thread."""

    def __init__(self, mode: str, channel: socket.socket, pid: int) -> None:
        self.mode = mode
        self.pid = pid
        self.channel = channel
        self.selector = selectors.DefaultSelector()
        self.framer = Framer()
        self.shown = {"pid": pid, "keys": [], "targets": {}, "revoked": [], "woken": []}
        self.leaving = False

    def run(self) -> int:
        if self.mode == "refusing":
            print("no gateway today", flush=True)
            return 3
        self.channel.setblocking(True)
        if self.mode != "mute":
            version = "0.0.0" if self.mode == "older" else __version__
            self.channel.sendall(frame(Hello(version, self.pid)))
        self.selector.register(self.channel, selectors.EVENT_READ, self.hear)
        while not self.leaving:
            for key, _ in self.selector.select(1.0):
                key.data(key.fileobj)
        return 0

    def hear(self, _: object) -> None:
        data = self.channel.recv(1 << 16)
        if not data:
            if self.mode == "stubborn":
                time.sleep(600)
            self.leaving = True
        for payload in self.framer.feed(data):
            self.obey(decode_to_gateway(payload))

    def obey(self, message: object) -> None:
        if isinstance(message, Configure):
            for listener in message.listeners:
                listening = socket.socket(fileno=listener.fd)
                self.selector.register(listening, selectors.EVENT_READ, self.accept)
            self.show(message.snapshot.keys, message.snapshot.routes)
            self.channel.sendall(frame(Ack(message.seq)))
        elif isinstance(message, Delta):
            self.show(message.keys, message.routes)
            self.shown["revoked"] += message.revoked
            if self.mode != "deaf":
                self.channel.sendall(frame(Ack(message.seq)))
        elif isinstance(message, Woken):
            self.shown["woken"].append([message.target, message.code])
        elif isinstance(message, Drain) and self.mode != "stubborn":
            self.channel.sendall(frame(Drained()))
            self.leaving = True

    def show(self, keys: object, routes: object) -> None:
        if keys is not None:
            self.shown["keys"] = sorted(entry.id for entry in keys.entries.values())
        if routes is not None:
            self.shown["targets"] = {target.id: target.host for target in routes.targets.values()}

    def accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        with connection:
            connection.setblocking(True)
            asked = connection.recv(1 << 16).decode()
            if asked.startswith("wake "):
                self.channel.sendall(frame(Wake(asked.split()[1], 30.0)))
            if asked.startswith("garbage"):
                self.channel.sendall(b"\x00\x00\x00\x01\xc1")
            if asked.startswith("busy "):
                stats = Stats(targets={}, connections=3, in_flight=2, served=7, unrecorded=1)
                self.channel.sendall(frame(stats))
            connection.sendall(json.dumps(self.shown).encode())


def main() -> int:
    mode, fd, parent = sys.argv[1], int(sys.argv[3]), int(sys.argv[5])
    if not current().harden_child(parent, outlives=True):
        return 1
    import os

    return FakeGateway(mode, socket.socket(fileno=fd), os.getpid()).run()


if __name__ == "__main__":
    sys.exit(main())
