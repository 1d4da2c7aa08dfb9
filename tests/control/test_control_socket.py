"""The control socket: lines in, lines out, for this user only."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flm.control.socket import ControlSocket
from flm.errors import N_, Conflict
from flm.ports.processes.posix import PosixProcesses
from flm.wire.control import (
    ControlRequest,
    Done,
    OwnerKey,
    OwnerKeyRequest,
    PokeRequest,
    StatusRequest,
)


async def answer(request: ControlRequest) -> msgspec.Struct:
    """Answers a few verbs, each in its own way."""
    if isinstance(request, OwnerKeyRequest):
        return OwnerKey("flm_x")
    if isinstance(request, PokeRequest):
        raise Conflict(N_("Port {port} is taken."), remedy=N_("Take {other}."), port=1, other=2)
    if isinstance(request, StatusRequest):
        raise ZeroDivisionError("a fault of ours")
    return Done()


class Elsewhere(PosixProcesses):
    """A platform on which every peer is somebody else."""

    def is_same_user(self, connection: object) -> bool:
        return False


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """A served control socket."""
    control = ControlSocket(PosixProcesses(), answer)
    yield await control.open(str(tmp_path / "control.sock"))
    await control.close()


async def talk(address: str, *lines: bytes) -> list[bytes]:
    """Say some lines, one after the other, and hear what is said to each; b"" when hung up on."""

    def speak() -> list[bytes]:
        said = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(address)
            with connection.makefile("rwb", buffering=0) as file:
                for line in lines:
                    try:
                        file.write(line + b"\n")
                        said.append(file.readline())
                    except (BrokenPipeError, ConnectionResetError):
                        said.append(b"")
        return said

    return await asyncio.to_thread(speak)


async def test_questions_are_answered_one_after_the_other(address: str) -> None:
    """Several on one connection."""
    said = await talk(address, b'{"verb":"owner_key"}', b'{"verb":"detect"}')
    assert said == [b'{"ok":{"key":"flm_x"}}\n', b'{"ok":{}}\n']


async def test_an_error_comes_with_what_translates_it(address: str) -> None:
    """Code, sentence and remedy, and the templates they were made of."""
    (said,) = await talk(address, b'{"verb":"poke"}')
    assert json.loads(said) == {
        "error": {
            "code": "conflict",
            "message": "Port 1 is taken.",
            "remedy": "Take 2.",
            "template": "Port {port} is taken.",
            "remedy_template": "Take {other}.",
            "values": {"port": "1", "other": "2"},
            "exit_code": 1,
        }
    }


async def test_a_fault_of_ours_is_told_and_the_connection_goes_on(address: str) -> None:
    """One question fails, the next is answered."""
    said = await talk(address, b'{"verb":"status"}', b'{"verb":"owner_key"}')
    assert json.loads(said[0])["error"]["code"] == "internal_error"
    assert json.loads(said[1]) == {"ok": {"key": "flm_x"}}


@pytest.mark.parametrize("line", [b"", b"{}", b'{"verb":"fly"}', b"\xff\xfe", b"[1,2]"])
async def test_what_is_no_question_is_refused(address: str, line: bytes) -> None:
    """Nothing is guessed."""
    (said,) = await talk(address, line)
    assert json.loads(said)["error"]["code"] == "invalid_value"


async def test_a_line_without_end_ends_the_connection(address: str) -> None:
    """What a peer can make us keep is bounded."""
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(b"x" * (1 << 20))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_another_user_hears_nothing(tmp_path: Path) -> None:
    """Told by the peer's uid; the mode of the file keeps most of them out before."""
    control = ControlSocket(Elsewhere(), answer)
    address = await control.open(str(tmp_path / "control.sock"))
    assert await talk(address, b'{"verb":"owner_key"}') == [b""]
    await control.close()


async def test_where_there_are_tokens_only_the_token_opens(tmp_path: Path) -> None:
    """The first line must be it (Windows, where there is no peer uid)."""
    control = ControlSocket(PosixProcesses(), answer, "a-token")
    address = await control.open(str(tmp_path / "control.sock"))
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(b'a-token\n{"verb":"owner_key"}\n')
    assert await reader.readline() == b'{"ok":{"key":"flm_x"}}\n'
    writer.close()
    assert await talk(address, b"another") == [b""]
    await control.close()
