"""The control socket: one JSON line asks, one JSON line answers, then the next.

Only the user who runs the controller is answered, told by the peer's uid (on Windows by a token
in the lock file, which is the first line there).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec

from flm.errors import N_, FlmError, InvalidValue
from flm.ports.processes import Processes
from flm.tasks import Tasks
from flm.wire.control import ControlRequest, Failure

logger = logging.getLogger("flm.control.socket")

MAX_LINE = 64 << 10
MAX_CONNECTIONS = 64
IDLE_SECONDS = 60.0
LAST_ANSWERS_SECONDS = 1.0

Answer = Callable[[ControlRequest], Awaitable[msgspec.Struct]]

_decode = msgspec.json.Decoder(ControlRequest).decode
_encode = msgspec.json.Encoder().encode


class ControlSocket:
    """Serves the control verbs by calling `answer`; errors of FLM's tree become failures."""

    def __init__(self, processes: Processes, answer: Answer, token: str = "") -> None:
        self._processes = processes
        self._answer = answer
        self._token = token
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None
        self._busy = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def open(self, address: str) -> str:
        """Listen, and the address it got. Raises `OSError`."""
        listening, got = self._processes.control_listener(address)
        self._server = await asyncio.start_server(self._connected, sock=listening, limit=MAX_LINE)
        return got

    async def close(self) -> None:
        """Take no more questions; those that are being answered are, within a second."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                await self._quiet.wait()
        await self._tasks.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.start("control connection", self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not await self._admitted(reader, writer):
                return
            while line := await self._line(reader):
                await self._answer_line(line, writer)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            logger.debug("a control connection ended: %s", error)
        finally:
            await _close(writer)

    async def _answer_line(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        self._busy += 1
        self._quiet.clear()
        try:
            writer.write(await self._reply(line) + b"\n")
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()
        finally:
            self._busy -= 1
            if not self._busy:
                self._quiet.set()

    async def _admitted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        peer = cast("socket.socket", writer.get_extra_info("socket"))
        if not self._processes.is_same_user(peer):
            logger.warning("another user asked on the control socket and was refused")
            return False
        if not self._token:
            return True
        told = await self._line(reader)
        return hmac.compare_digest(told.strip(), self._token.encode())

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next line, b"" at the end. Raises `ValueError` when it is too long."""
        async with asyncio.timeout(IDLE_SECONDS):
            return await reader.readline()

    async def _reply(self, line: bytes) -> bytes:
        try:
            request = _decode(line)
        except msgspec.DecodeError as error:
            template = N_("The controller was asked what it does not know: {why}.")
            return _failed(InvalidValue(template, why=error))
        try:
            return _encode({"ok": await self._answer(request)})
        except FlmError as error:
            return _failed(error)
        except Exception as error:  # one question: the controller goes on
            logger.exception("a control request failed")
            return _failed(FlmError(N_("The controller failed: {why}."), why=error))


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close, and see it closed: what a peer does not take is not waited for."""
    writer.close()
    try:
        async with asyncio.timeout(LAST_ANSWERS_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _failed(error: FlmError) -> bytes:
    return _encode({"error": failure(error)})


def failure(error: FlmError) -> Failure:
    """`error` as it goes over the control socket, with what the CLI needs to translate it."""
    return Failure(
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        template=error.template,
        remedy_template=error.remedy_template,
        values={name: str(value) for name, value in error.values.items()},
        exit_code=error.exit_code,
    )
