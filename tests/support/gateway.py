"""A real gateway process, with the test in the controller's place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from flm.domain.keys import digest, new_key
from flm.domain.policy import Policy
from flm.domain.records import JournalRecord
from flm.wire.channel import (
    Ack,
    Configure,
    Delta,
    Drain,
    Framer,
    Hello,
    Keeping,
    Listener,
    Stats,
    ToController,
    ToGateway,
    Wake,
    decode_to_controller,
    frame,
)
from flm.wire.journal import SUFFIX, unpack
from flm.wire.snapshot import KeyEntry, Keys, ModelEntry, Routes, Rules, Snapshot, Target

PEPPER = b"p" * 32
KEY_ID, KEY = new_key(lambda alphabet: alphabet[7])
OTHER_ID, OTHER_KEY = new_key(lambda alphabet: alphabet[9])


def keys_section(*texts: tuple[str, str], revision: int = 1) -> Keys:
    """A keys section with these (id, text) pairs."""
    entries = {key_id: KeyEntry(key_id, digest(PEPPER, text.encode())) for key_id, text in texts}
    return Keys(revision, PEPPER, entries)


def routes_section(*targets: Target, revision: int = 1) -> Routes:
    """Every target under its own model's name; the same name on several engines is one model."""
    models: dict[str, ModelEntry] = {}
    for target in targets:
        name = target.id.partition("/")[2]
        old = models.get(name)
        models[name] = ModelEntry(
            name=name,
            targets=(*(old.targets if old else ()), target.id),
            engines=(*(old.engines if old else ()), target.engine),
            state="ready" if target.host else "sleeping",
            created=1,
            context_length=2048,
            capabilities=("chat",),
        )
    return Routes(revision, models, {target.id: target for target in targets})


def target_at(port: int, name: str = "m", *, engine: str = "e", model: str | None = None,
              dialect: str = "openai", **more: object) -> Target:  # fmt: skip
    """A target on 127.0.0.1."""
    return Target(
        id=f"{engine}/{name}", engine=engine, model=model or name, dialect=dialect,
        host="127.0.0.1", port=port, **more,
    )  # fmt: skip


class RunningGateway:
    """A started gateway: send it messages, read what it says. Its log may hold no traceback."""

    def __init__(
        self,
        journal: Path,
        snapshot: Snapshot,
        *,
        loopback: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.journal = journal
        self.seq = 1
        self.messages: list[ToController] = []
        self._changed = threading.Condition()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self.on_wake: Callable[[Wake], None] | None = None
        self.on_keeping: Callable[[Keeping], None] | None = None
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listening.getsockname()[1]
        ours, theirs = socket.socketpair()
        self._channel = ours
        fds = [theirs.fileno(), self._listening.fileno()]
        for fd in fds:
            os.set_inheritable(fd, True)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flm.gateway", "--channel", str(fds[0]), "--parent",
             str(os.getpid())],
            pass_fds=fds, stderr=self._log, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        theirs.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send(
            Configure(
                seq=1,
                listeners=(Listener(fds[1], "test", loopback),),
                journal=str(journal),
                snapshot=snapshot,
            )
        )
        self.wait_for(lambda message: isinstance(message, Ack) and message.seq == 1)

    def _read(self) -> None:
        framer = Framer()
        while True:
            try:
                data = self._channel.recv(65536)
            except OSError:
                return
            if not data:
                return
            for payload in framer.feed(data):
                message = decode_to_controller(payload)
                with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
                if isinstance(message, Wake) and self.on_wake is not None:
                    self.on_wake(message)
                if isinstance(message, Keeping) and self.on_keeping is not None:
                    self.on_keeping(message)

    def send(self, *messages: ToGateway) -> None:
        """Send messages as the controller; several arrive together."""
        self._channel.sendall(b"".join(map(frame, messages)))

    def delta(self, **sections: object) -> None:
        """Send a delta and wait for its acknowledgement."""
        self.seq += 1
        seq = self.seq
        self.send(Delta(seq=seq, **sections))
        self.wait_for(lambda message: isinstance(message, Ack) and message.seq == seq)

    def wait_for(
        self, wanted: Callable[[ToController], bool], seconds: float = 10.0
    ) -> ToController:
        """The first message, past or coming, that is wanted."""
        found: list[ToController] = []

        def seen() -> bool:
            found[:] = [message for message in self.messages if wanted(message)]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(seen, seconds), self.messages
        return found[0]

    def stats(self, wanted: Callable[[Stats], bool]) -> Stats:
        """The first statistics that are wanted."""
        message = self.wait_for(lambda found: isinstance(found, Stats) and wanted(found))
        assert isinstance(message, Stats)
        return message

    def hello(self) -> Hello:
        """Its first words."""
        message = self.wait_for(lambda found: isinstance(found, Hello))
        assert isinstance(message, Hello)
        return message

    def records(self) -> list[JournalRecord]:
        """What is in the journal now, in order."""
        found: list[JournalRecord] = []
        for path in sorted(self.journal.rglob(f"*{SUFFIX}")):
            found += unpack(path.read_bytes())[0]
        return found

    def cut_channel(self) -> None:
        """What the gateway sees when the controller dies."""
        self._channel.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> RunningGateway:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            try:
                self.send(Drain(0.2))
                self.process.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait(5)
        self._channel.close()
        self._listening.close()
        self._reader.join(5)
        log = self.log()
        self._log.close()
        assert "Traceback" not in log, log

    def log(self) -> str:
        """What it has logged so far."""
        self._log.seek(0)
        return self._log.read().decode()


@contextmanager
def gateway(
    journal: Path,
    *targets: Target,
    rules: Rules | None = None,
    policy: Policy | None = None,
    loopback: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningGateway]:
    """A gateway with one key (`KEY`) and these targets, and these variables more."""
    snapshot = Snapshot(
        keys_section((KEY_ID, KEY)),
        routes_section(*targets),
        rules or Rules(revision=1, policy=policy or Policy()),
    )
    with RunningGateway(journal, snapshot, loopback=loopback, environment=environment) as running:
        yield running
