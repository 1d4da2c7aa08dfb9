"""Pulling, removing, loading and unloading the models of llama.cpp's router."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.engines.commands import Commands, Reply, no_model, refused
from flm.engines.llamacpp import models
from flm.errors import N_, FlmError, NotFound, NotPermitted, UserError
from flm.ports.engines import Progress, Step

QUIET_SECONDS = 5.0
"""After so much silence of `/models/sse` the list is looked at: an event may have been missed."""

AT_ONCE = 100
"""After so many events of whatever models the list is looked at."""

PAUSE_SECONDS = 0.5
"""Between two looks at the list of a router that has no events."""

FETCHED = "downloaded"
"""Said of a download that ended, well or not, until the list is made anew."""

_BUSY = frozenset({"loading", "downloading", FETCHED})
_UP = frozenset({"loaded", "sleeping"})


class _Event(msgspec.Struct):
    """One event of `/models/sse`."""

    model: str = ""
    event: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Wrapped(msgspec.Struct):
    progress: dict[str, models.Progress]


class LlamaCppKeeper:
    """Changes a router's models by its own API. A server with one model refuses: `NotPermitted`.

    ``pause`` waits some seconds; tests own it.
    """

    def __init__(
        self,
        commands: Commands | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._commands = commands or Commands()
        self._pause = pause

    async def pull(self, address: Address, key: str | None, name: str, progress: Progress) -> None:
        """Have the router fetch `name` (`user/repository[:quantisation]`) from Hugging Face.

        What was fetched before is kept and gone on with. When the caller is cancelled, so is the
        download. Raises `NotFound` when there is no such model there.
        """
        await self._only_a_router(address, key)
        reply = await self._commands.send(
            "POST", address, "/models", body={"model": name}, key=key, seconds=60.0
        )
        if "already exists" in reply.fault:
            return
        if reply.status != 200:
            raise _not_pulled(reply, name)
        try:
            status = await self._settled(address, key, name, N_("Fetching {model}"), progress)
        except asyncio.CancelledError:
            with contextlib.suppress(FlmError):
                await self._send(address, key, "/models/unload", name)
            raise
        if status is None:
            raise UserError(
                N_("llama.cpp could not fetch {model}."),
                remedy=N_("Its log says why: a full disk or a dropped line are the usual reasons. "
                          "Run the command again to go on where it stopped."),
                code="pull_failed",
                model=name,
            )  # fmt: skip

    async def remove(self, address: Address, key: str | None, name: str) -> None:
        """Delete a model from the router's cache. Those of a folder or a preset are the user's."""
        await self._only_a_router(address, key)
        reply = await self._commands.send(
            "DELETE", address, f"/models?model={quote(name, safe='')}", key=key, seconds=60.0
        )
        if "not removable" in reply.fault:
            raise NotPermitted(
                N_("llama.cpp deletes only what it fetched itself, and {model} is not that."),
                remedy=N_("Delete its file, and start llama.cpp again."),
                model=name,
            )
        _judge(reply, name)

    async def load(
        self, address: Address, key: str | None, name: str, context: int | None, progress: Progress
    ) -> None:
        """Have a model in memory. ``context`` does not count: the router's own settings do."""
        await self._only_a_router(address, key)
        reply = await self._send(address, key, "/models/load", name)
        if "already running" not in reply.fault:
            _judge(reply, name)
        status = await self._settled(address, key, name, N_("Loading {model}"), progress)
        if status is None or status.value not in _UP:
            raise UserError(
                N_("llama.cpp could not load {model}."),
                remedy=N_("Its log says why; often the machine has too little memory for it."),
                code="model_load_failed",
                model=name,
            )

    async def unload(self, address: Address, key: str | None, name: str) -> None:
        """Take a model out of memory; one that is not there is no error."""
        await self._only_a_router(address, key)
        reply = await self._send(address, key, "/models/unload", name)
        if "not running" in reply.fault:
            return
        _judge(reply, name)
        while (status := await self._status(address, key, name)) and status.value in _UP | _BUSY:
            await self._pause(PAUSE_SECONDS)

    async def _only_a_router(self, address: Address, key: str | None) -> None:
        reply = await self._commands.send("GET", address, "/props", key=key)
        props = decoded(reply.body, models.Props) if reply.status == 200 else None
        if props is None:
            raise refused(reply, "")
        if not props.is_router:
            raise NotPermitted(
                N_("This llama.cpp serves the one model it was started with."),
                remedy=N_("Start it without a model: then it is a router, which loads and "
                          "unloads."),
            )  # fmt: skip

    async def _send(self, address: Address, key: str | None, path: str, name: str) -> Reply:
        return await self._commands.send("POST", address, path, body={"model": name}, key=key)

    async def _status(self, address: Address, key: str | None, name: str) -> models.Status | None:
        """What the router says of a model; a repository without `:quantisation` is any of them."""
        reply = await self._commands.send("GET", address, "/models", key=key)
        found = models.listed(reply.body) if reply.status == 200 else None
        if found is None:
            raise refused(reply, name)
        named = {entry.id: entry.status or models.Status() for entry in found}
        alike = (status for own, status in named.items() if own.startswith(f"{name}:"))
        return named.get(name) or next(alike, None)

    async def _settled(
        self, address: Address, key: str | None, name: str, doing: str, progress: Progress
    ) -> models.Status | None:
        """The model's status once nothing is done to it any more; None when it is gone.

        The list is the truth; the events say how far it is, and when to look again.
        """
        while True:
            status = await self._status(address, key, name)
            if status is None or status.value not in _BUSY:
                return status
            if status.value == FETCHED:
                await self._pause(PAUSE_SECONDS)
                continue
            progress(Step(doing, {"model": name}))
            if not await self._listen(address, key, name, doing, progress):
                await self._pause(PAUSE_SECONDS)

    async def _listen(
        self, address: Address, key: str | None, name: str, doing: str, progress: Progress
    ) -> bool:
        """Follow the events until one says that something ended; whether there were events.

        Not for ever: an end that was missed is in the list, and other models have events too.
        """
        lines = self._commands.lines("GET", address, "/models/sse", key=key, seconds=QUIET_SECONDS)
        heard, left = False, AT_ONCE
        try:
            async with contextlib.aclosing(lines):
                async for line in lines:
                    left -= 1
                    if not left:
                        return True
                    event = decoded(line.body.strip().removeprefix(b"data:"), _Event)
                    if line.status != 200 or event is None or event.model != name:
                        continue
                    heard = True
                    if event.event != "download_progress" and not _goes_on(event):
                        return True
                    _report(event, name, doing, progress)
        except UserError:
            return heard  # silence, or it has gone: the list will tell
        return heard


class _Change(msgspec.Struct):
    status: str = ""


def _goes_on(event: _Event) -> bool:
    """Whether an event says that the model is still being loaded or fetched."""
    change = decoded(bytes(event.data), _Change)
    return change is not None and change.status in _BUSY


def _report(event: _Event, name: str, doing: str, progress: Progress) -> None:
    """Files by their URLs, or (as some builds say it) the same under `progress`."""
    if event.event != "download_progress":
        return
    data = bytes(event.data)
    wrapped = decoded(data, _Wrapped)
    files = wrapped.progress if wrapped is not None else decoded(data, dict[str, models.Progress])
    if files:
        done = sum(file.done for file in files.values())
        total = sum(file.total for file in files.values())
        progress(Step(doing, {"model": name}, done, total))


def _judge(reply: Reply, name: str) -> None:
    if reply.status == 200 and not reply.fault:
        return
    raise no_model(name) if "not found" in reply.fault else refused(reply, name)


def _not_pulled(reply: Reply, name: str) -> FlmError:
    if reply.status in (404, 405):
        return NotPermitted(
            N_("This llama.cpp is too old to fetch models over its API."),
            remedy=N_("Update it, or start it with -hf NAME."),
        )
    if reply.status in (400, 500) and "disk" not in reply.fault:
        return NotFound(
            N_("llama.cpp finds no model {model} to fetch: {why}"),
            remedy=N_("Give a repository of Hugging Face with GGUF files, for example "
                      "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M."),
            model=name,
            why=reply.fault,
        )  # fmt: skip
    return refused(reply, name)
