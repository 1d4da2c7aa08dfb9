"""Pulling, loading and unloading LM Studio's models, through its API of 0.4 and later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.engines.commands import Commands, Reply, no_model, refused
from flm.engines.lmstudio.models import Entry, listed
from flm.errors import N_, FlmError, NotPermitted, UserError
from flm.ports.engines import Progress, Step

LOAD_SECONDS = 600.0
POLL_SECONDS = 1.0
STALLED_POLLS = 900
"""So often a download may look the same before it counts as broken."""

_FETCHING = N_("Fetching {model}")
_PAUSED = N_("Fetching {model}: paused in LM Studio")
_LOADING = N_("Loading {model}")
_NO_ROUTE = "unexpected endpoint"

Pause = Callable[[float], Awaitable[None]]


class _Job(msgspec.Struct):
    """A download. A model that is there already has neither id nor size."""

    status: str
    job_id: str = ""
    total_size_bytes: float | None = None
    downloaded_bytes: float | None = None


class LmStudioKeeper:
    """Changes LM Studio's models. ``pause`` waits so many seconds between two looks."""

    def __init__(self, commands: Commands | None = None, pause: Pause = asyncio.sleep) -> None:
        self._commands = commands or Commands()
        self._pause = pause

    async def pull(self, address: Address, key: str | None, name: str, progress: Progress) -> None:
        """Have LM Studio download a model of its catalogue, or one of a Hugging Face URL with
        `@QUANTIZATION` behind it. It goes on by itself when nobody looks any more.
        """
        asked = {"model": name}
        if name.startswith("https://") and "@" in name:
            asked["model"], _, asked["quantization"] = name.rpartition("@")
        reply = await self._commands.send(
            "POST", address, "/api/v1/models/download", body=asked, key=key
        )
        job = _job(reply, name)
        path = f"/api/v1/models/download/status/{quote(job.job_id, safe='')}"
        same = 0
        while job.status in ("downloading", "paused"):
            progress(_step(job, name))
            if same > STALLED_POLLS:
                break
            await self._pause(POLL_SECONDS)
            before = job.downloaded_bytes
            job = _job(await self._commands.send("GET", address, path, key=key), name)
            same = same + 1 if job.downloaded_bytes == before else 0
        if job.status not in ("completed", "already_downloaded"):
            raise _stopped(name)

    async def remove(self, address: Address, key: str | None, name: str) -> None:
        """Always refused: its API deletes nothing."""
        raise NotPermitted(
            N_("LM Studio lets nobody else delete its models."),
            remedy=N_("Delete {name} in LM Studio, under My Models."),
            name=name,
        )

    async def load(
        self, address: Address, key: str | None, name: str, context: int | None, progress: Progress
    ) -> None:
        """Have a model in memory once. One that is loaded with another context is loaded anew;
        asked a second time, LM Studio would load a second copy.
        """
        progress(Step(_LOADING, {"model": name}))
        instances = (await self._entry(address, key, name)).loaded_instances
        if any(context in (None, each.config.context_length) for each in instances):
            return
        await self.unload(address, key, name)
        asked = {"model": name} | ({} if context is None else {"context_length": context})
        await self._obeyed(address, key, "/api/v1/models/load", asked, name)

    async def unload(self, address: Address, key: str | None, name: str) -> None:
        """Take every copy of a model out of memory."""
        for each in (await self._entry(address, key, name)).loaded_instances:
            asked = {"instance_id": each.id}
            await self._obeyed(address, key, "/api/v1/models/unload", asked, name)

    async def _obeyed(
        self, address: Address, key: str | None, path: str, asked: object, name: str
    ) -> None:
        reply = await self._commands.send(
            "POST", address, path, body=asked, key=key, seconds=LOAD_SECONDS
        )
        if reply.fault:
            raise _fault(reply, name)

    async def _entry(self, address: Address, key: str | None, name: str) -> Entry:
        reply = await self._commands.send("GET", address, "/api/v1/models", key=key)
        found = listed(reply.body) if reply.status == 200 else None
        if found is None:
            raise _fault(reply, name)
        for entry in found:
            if entry.key == name:
                return entry
        raise no_model(name)


def _job(reply: Reply, name: str) -> _Job:
    job = decoded(reply.body, _Job) if reply.status == 200 else None
    if job is None or reply.fault:
        raise _fault(reply, name)
    return job


def _step(job: _Job, name: str) -> Step:
    return Step(
        _PAUSED if job.status == "paused" else _FETCHING,
        {"model": name},
        int(job.downloaded_bytes or 0),
        int(job.total_size_bytes or 0),
    )


def _fault(reply: Reply, name: str) -> FlmError:
    if _NO_ROUTE in reply.fault.lower():
        return NotPermitted(
            N_("This LM Studio is too old to be told that."),
            remedy=N_("Update LM Studio to 0.4 or later, or do it in its own window."),
        )
    return refused(reply, name)


def _stopped(name: str) -> UserError:
    return UserError(
        N_("LM Studio did not finish fetching {name}."),
        remedy=N_("Look at its downloads, then run the command again: it goes on there."),
        code="pull_failed",
        name=name,
    )
