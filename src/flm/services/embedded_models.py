"""The embedded engine as detection shows it: always there with its wheel, its models are files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from flm.domain.engines import EMBEDDED, ApiError, Engine, EngineState, Healthy
from flm.domain.models import Capability, GgufFile, Model
from flm.errors import InvalidValue
from flm.ports.engines import ModelLauncher, Sighting, Wishes

logger = logging.getLogger("flm.detection")

_DEVICE_SECONDS = 2.0


async def embedded_sighting(
    launcher: ModelLauncher, files: Sequence[GgufFile], wishes: Wishes
) -> Sighting | None:
    """The engine and the files given to it; None when it is not installed and has no files.

    A file that cannot be read is left out and named in the log. Files are read and the device is
    asked for in threads.
    """
    missing = launcher.missing()
    if missing is not None and not files:
        return None
    models = await asyncio.to_thread(_models, launcher, files, wishes)
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
    launcher: ModelLauncher, files: Sequence[GgufFile], wishes: Wishes
) -> tuple[Model, ...]:
    found: list[Model] = []
    for file in files:
        try:
            model = launcher.inspect(file.path)
        except InvalidValue as error:
            logger.warning("the model %s is left out: %s", file.name, error)
            continue
        found.append(offered(file, model, wishes.contexts, wishes.capabilities))
    return tuple(found)


def offered(
    file: GgufFile,
    model: Model,
    contexts: Mapping[str, int],
    capabilities: Mapping[str, tuple[Capability, ...]],
) -> Model:
    """A file's model as clients know it, not loaded. ``contexts`` and ``capabilities``: what is
    set, by name, '' for all files.
    """
    wanted = contexts.get(file.name, contexts.get("", 0))
    most = model.trained_context or wanted
    return msgspec.structs.replace(
        model,
        name=file.name,
        created=int(file.added_at),
        demo=file.demo,
        context_length=min(wanted, most) if wanted else model.context_length,
        capabilities=capabilities.get(file.name, capabilities.get("", model.capabilities)),
        loaded=False,
        engine_name=None,
    )


async def _device(launcher: ModelLauncher) -> str:
    try:
        async with asyncio.timeout(_DEVICE_SECONDS):
            return await asyncio.to_thread(launcher.device)
    except TimeoutError:
        return ""
