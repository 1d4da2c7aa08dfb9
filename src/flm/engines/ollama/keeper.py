"""Pulling, removing, loading and unloading Ollama's models."""

from __future__ import annotations

import contextlib

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.engines.commands import Commands, Reply, refused
from flm.errors import N_, EngineError, FlmError, InvalidValue, NotFound, UserError
from flm.ports.engines import Progress, Step

LOAD_SECONDS = 600.0
"""Ollama itself gives up after `OLLAMA_LOAD_TIMEOUT`, five minutes unless set otherwise."""

PULL_SECONDS = 900.0
"""How long a pull may say nothing: it checks what it fetched without a word."""

_DOING = {
    "pulling manifest": N_("Looking up {model}"),
    "verifying sha256 digest": N_("Checking {model}"),
    "writing manifest": N_("Storing {model}"),
    "removing any unused layers": N_("Storing {model}"),
    "removing unused layers": N_("Storing {model}"),
}
_FETCHING = N_("Fetching {model}")
_LOADING = N_("Loading {model}")

_UNKNOWN = ("file does not exist", "model not found", "manifest unknown", "not found")
_GONE = ("no such host", "dial tcp", "connection refused", "max retries exceeded", "i/o timeout")


class _Line(msgspec.Struct):
    """One line of a pull. ``completed`` is left out while it is 0."""

    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0


class OllamaKeeper:
    """Changes an Ollama's models through its own API."""

    def __init__(self, commands: Commands | None = None) -> None:
        self._commands = commands or Commands()

    async def pull(self, address: Address, key: str | None, name: str, progress: Progress) -> None:
        """Have Ollama fetch a model. Whoever hangs up pauses it; asked again it goes on.

        Raises `NotFound` for a name nobody publishes, `InvalidValue` for one that is none, and
        `UserError` when the disk is full or the line dropped.
        """
        parts: dict[str, _Line] = {}
        lines = self._commands.lines(
            "POST",
            address,
            "/api/pull",
            body={"model": name, "stream": True},
            key=key,
            seconds=PULL_SECONDS,
        )
        async with contextlib.aclosing(lines):
            async for reply in lines:
                if reply.fault:
                    raise _not_pulled(reply, name)
                line = decoded(reply.body, _Line)
                if line is None:
                    continue
                if line.status == "success":
                    return
                progress(_step(line, parts, name))
        raise _broken_off(name, "")

    async def remove(self, address: Address, key: str | None, name: str) -> None:
        """Have Ollama delete a model from its disk."""
        reply = await self._commands.send(
            "DELETE", address, "/api/delete", body={"model": name}, key=key
        )
        _obeyed(reply, name)

    async def load(
        self, address: Address, key: str | None, name: str, context: int | None, progress: Progress
    ) -> None:
        """Have a model in memory. `context` must be what requests ask for, or the first of them
        has it loaded again.
        """
        progress(Step(_LOADING, {"model": name}))
        options = {} if context is None else {"options": {"num_ctx": context}}
        asked = {"model": name, "stream": False, **options}
        reply = await self._generate(address, key, asked)
        if reply.status == 400 and "does not support generate" in reply.fault:
            # a model that only embeds is loaded by embedding nothing
            asked = {"model": name, "input": [], **options}
            reply = await self._commands.send(
                "POST", address, "/api/embed", body=asked, key=key, seconds=LOAD_SECONDS
            )
        _obeyed(reply, name)

    async def unload(self, address: Address, key: str | None, name: str) -> None:
        """Take a model out of memory, when what it is answering has ended."""
        asked = {"model": name, "stream": False, "keep_alive": 0}
        _obeyed(await self._generate(address, key, asked), name)

    async def _generate(self, address: Address, key: str | None, body: dict[str, object]) -> Reply:
        """Without a prompt it answers nothing: it only loads, or unloads."""
        return await self._commands.send(
            "POST", address, "/api/generate", body=body, key=key, seconds=LOAD_SECONDS
        )


def _obeyed(reply: Reply, name: str) -> None:
    if reply.status >= 400 or reply.fault:
        raise refused(reply, name)


def _step(line: _Line, parts: dict[str, _Line], name: str) -> Step:
    """The bytes of all parts Ollama has begun; it tells of each when it comes to it."""
    if line.digest:
        parts[line.digest] = line
    return Step(
        _DOING.get(line.status, _FETCHING),
        {"model": name},
        sum(part.completed for part in parts.values()),
        sum(part.total for part in parts.values()),
    )


def _not_pulled(reply: Reply, name: str) -> FlmError:
    said = reply.fault
    lowered = said.lower()
    if "invalid model name" in lowered:
        return InvalidValue(
            N_("{name!r} is no name of a model for Ollama."),
            remedy=N_("Give one such as qwen3:8b, or hf.co/USER/REPOSITORY."),
            name=name,
        )
    if any(words in lowered for words in _GONE):
        return _broken_off(name, said)
    if any(words in lowered for words in _UNKNOWN):
        return NotFound(
            N_("Ollama finds no model {name} to fetch."),
            remedy=N_("Look the name up in Ollama's library; it looks like qwen3:8b."),
            name=name,
        )
    if "newer version" in lowered:
        return EngineError(502, "engine_too_old", f"Ollama answered: {said}")
    return refused(reply, name)


def _broken_off(name: str, why: str) -> UserError:
    if why:
        return UserError(
            N_("Ollama could not fetch {name}: {why}."),
            remedy=N_("Run the command again: it goes on where it stopped."),
            code="pull_failed",
            name=name,
            why=why.rstrip("."),
        )
    return UserError(
        N_("Ollama stopped fetching {name} before it was complete."),
        remedy=N_("Run the command again: it goes on where it stopped."),
        code="pull_failed",
        name=name,
    )
