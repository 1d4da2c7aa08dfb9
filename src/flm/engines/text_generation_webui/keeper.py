"""Loading and unloading text-generation-webui's one model."""

from __future__ import annotations

from flm.domain.engines import Address
from flm.engines.answers import decoded
from flm.engines.commands import Commands, Reply, no_model, refused
from flm.engines.text_generation_webui.models import Info, Names
from flm.errors import N_, NotPermitted, UserError
from flm.ports.engines import Progress, Step

LOAD_SECONDS = 900.0


class TextGenerationWebuiKeeper:
    """Changes which model is loaded, by `/v1/internal/model/…` (its admin key)."""

    def __init__(self, commands: Commands | None = None) -> None:
        self._commands = commands or Commands()

    async def pull(self, address: Address, key: str | None, name: str, progress: Progress) -> None:
        """Raises `NotPermitted`: it has no API for that."""
        raise _on_its_page()

    async def remove(self, address: Address, key: str | None, name: str) -> None:
        """Raises `NotPermitted`: it has no API for that."""
        raise _on_its_page()

    async def load(
        self, address: Address, key: str | None, name: str, context: int | None, progress: Progress
    ) -> None:
        """Load a model in place of the one that is loaded.

        Asked for a model it does not have it would unload the present one first, so its list is
        looked at before. ``context`` counts for the loaders that take one.
        """
        listed = await self._commands.send(
            "GET", address, "/v1/internal/model/list", key=key, seconds=30.0
        )
        names = decoded(listed.body, Names) if listed.status == 200 else None
        if names is None:
            raise refused(listed, name)
        if name not in names.model_names:
            raise no_model(name)
        progress(Step(N_("Loading {model}"), {"model": name}))
        arguments = {} if context is None else {"ctx_size": context}
        reply = await self._commands.send(
            "POST", address, "/v1/internal/model/load",
            body={"model_name": name, "args": arguments}, key=key, seconds=LOAD_SECONDS,
        )  # fmt: skip
        if reply.status != 200:
            raise _not_loaded(reply, name)

    async def unload(self, address: Address, key: str | None, name: str) -> None:
        """Unload the model if it is the one that is loaded."""
        told = await self._commands.send("GET", address, "/v1/internal/model/info", key=key)
        info = decoded(told.body, Info) if told.status == 200 else None
        if info is None:
            raise refused(told, name)
        if info.loaded != name:
            raise no_model(name)
        reply = await self._commands.send("POST", address, "/v1/internal/model/unload", key=key)
        if reply.status != 200:
            raise refused(reply, name)


def _not_loaded(reply: Reply, name: str) -> Exception:
    if reply.status != 400:
        return refused(reply, name)
    return UserError(
        N_("text-generation-webui could not load {model}."),
        remedy=N_("Its own window or log says why; often the model needs another loader."),
        code="model_load_failed",
        model=name,
    )


def _on_its_page() -> NotPermitted:
    return NotPermitted(
        N_("text-generation-webui lets nobody fetch or delete models over its API."),
        remedy=N_("Do it on its own page, under Model, or in its folder user_data/models."),
    )
