"""The embedded engine as detection shows it: always there with its wheel, its models are files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from flm.domain.engines import EMBEDDED, ApiError, Engine, EngineState, Healthy
from flm.domain.models import GgufFile, Model
from flm.errors import InvalidValue
from flm.ports.engines import ModelLauncher, Sighting

logger = logging.getLogger("flm.detection")

_DEVICE_SECONDS = 2.0


async def embedded_sighting(
    launcher: ModelLauncher, files: Sequence[GgufFile], context: Mapping[str, int]
) -> Sighting | None:
    """The engine and the files given to it; None when it is not installed and has no files.

    A file that cannot be read is left out and named in the log. ``context``: model ('' for
    all) → the context length that was set. Files are read and the device is asked for in threads.
    """
    missing = launcher.missing()
    if missing is not None and not files:
        return None
    models = await asyncio.to_thread(_models, launcher, files, context)
    state: EngineState = Healthy(0.0) if missing is None else ApiError(missing)
    engine = Engine(
        id=EMBEDDED,
        kind="embedded",
        state=state,
        source="built-in",
        detail=await _device(launcher) if missing is None else "",
    )
    return Sighting(engine, models)


def _models(
    launcher: ModelLauncher, files: Sequence[GgufFile], context: Mapping[str, int]
) -> tuple[Model, ...]:
    found: list[Model] = []
    for file in files:
        try:
            model = launcher.inspect(file.path)
        except InvalidValue as error:
            logger.warning("the model %s is left out: %s", file.name, error)
            continue
        wanted = context.get(file.name, context.get("", 0))
        trained = model.trained_context
        if wanted:
            model = msgspec.structs.replace(
                model, context_length=min(wanted, trained) if trained else wanted
            )
        found.append(
            msgspec.structs.replace(
                model, name=file.name, demo=file.demo, created=int(file.added_at)
            )
        )
    return tuple(found)


async def _device(launcher: ModelLauncher) -> str:
    try:
        async with asyncio.timeout(_DEVICE_SECONDS):
            return await asyncio.to_thread(launcher.device)
    except TimeoutError:
        return ""
