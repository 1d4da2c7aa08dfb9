"""Clients that never stop asking, and remember exactly what they were answered whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from types import TracebackType

from e2e_house import CHAT, chat

from flm.tasks import Tasks

DONE = b"data: [DONE]\n\n"


class Load:
    """So many clients of a port, each in a loop; every second request is a stream.

    Half of them keep their connection, half make a new one for each request.

    ``whole``: the request ids of responses that were complete at the client, by their status: the
    last byte that Content-Length told of, or the end mark, was there. ``refused`` counts refused
    connections, ``cut`` connections that ended while an answer was waited for, ``half`` those
    among them whose answer had begun.
    """

    def __init__(self, port: int, key: str, model: str, connections: int = 32) -> None:
        self.port = port
        self.whole: dict[str, int] = {}
        self.kinds: Counter[str] = Counter()
        self.refused = 0
        self.cut = 0
        self.half = 0
        self._requests = [
            self._request(key, chat(model, stream=stream)) for stream in (False, True)
        ]
        self._connections = connections
        self._tasks = Tasks()

    @staticmethod
    def _request(key: str, body: dict[str, object]) -> bytes:
        data = json.dumps(body).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    async def __aenter__(self) -> Load:
        for number in range(self._connections):
            self._tasks.start(f"client {number}", self._client(number))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._tasks.cancel()

    async def more(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many more responses were whole."""
        wanted = len(self.whole) + count
        async with asyncio.timeout(seconds):
            while len(self.whole) < wanted:
                await asyncio.sleep(0.005)

    async def _client(self, number: int) -> None:
        keeps = number % 2 == 0
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            except OSError:  # reset while it waited in the backlog
                self.cut += 1
                continue
            try:
                number = await self._ask(number, reader, writer, keeps=keeps)
            except (OSError, asyncio.IncompleteReadError):
                self.cut += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _ask(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        keeps: bool,
    ) -> int:
        """One request after the other, or only one; the number of the last."""
        while True:
            number += 1
            writer.write(self._requests[number // 2 % 2])
            goes_on = await self._answer(reader)
            if not (keeps and goes_on):
                return number

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one answer to its last byte; whether the connection may be used again."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        self.half += 1
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        status = int(lines[0].split(" ")[1])
        if "content-length" in fields:
            await reader.readexactly(int(fields["content-length"]))
            self._note(fields, status, "sized")
        else:
            await reader.readuntil(DONE)
            self._note(fields, status, "stream")
            await reader.readuntil(b"0\r\n\r\n")
        self.half -= 1
        return fields.get("connection") != "close"

    def _note(self, fields: dict[str, str], status: int, kind: str) -> None:
        self.whole[fields["x-request-id"]] = status
        self.kinds[kind] += status == 200
