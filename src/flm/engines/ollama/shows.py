"""`/api/show`, for an Ollama whose list does not tell what its models can do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from flm.domain.engines import Address
from flm.engines.answers import answered
from flm.engines.ollama.models import Shown, Tag
from flm.ports.engines import Prober

ASKED_AT_MOST = 64
"""Old Ollamas tell capabilities only model by model; beyond so many they are guessed."""

_KEPT = 256
_AT_ONCE = 8
_SECONDS = 1.0


class Shows:
    """What was shown, by version and digest: the same file means the same answer, so that a
    look every few seconds does not ask for it anew. Bounded; the oldest go first.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Shown] = OrderedDict()

    async def of(
        self, prober: Prober, address: Address, key: str | None, version: str, tags: Sequence[Tag]
    ) -> dict[str, Shown]:
        """By name, for the models whose capabilities are not in the list: a few are asked for at
        once, and what is not answered within a second is left to guessing until the next look.
        """
        silent = [tag for tag in tags if tag.capabilities is None]
        found = {tag.name: shown for tag in silent if (shown := self._seen(version, tag))}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(tag: Tag) -> None:
            async with gate:
                question = msgspec.json.encode({"model": tag.name})
                probe = await prober.post(address, "/api/show", question, key=key)
            shown = answered(probe, Shown)
            if shown is not None:
                found[tag.name] = shown
                self._keep(version, tag, shown)

        unknown = [tag for tag in silent if tag.name not in found][:ASKED_AT_MOST]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await asyncio.gather(*(ask(tag) for tag in unknown))
        return found

    def _seen(self, version: str, tag: Tag) -> Shown | None:
        return self._kept.get((version, tag.digest)) if tag.digest else None

    def _keep(self, version: str, tag: Tag, shown: Shown) -> None:
        if not tag.digest:
            return
        self._kept[version, tag.digest] = shown
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
