"""Models over all engines: shown, fetched, deleted, loaded and unloaded, wherever they live.

The engines keep their models themselves; FLM asks them to, where they let others do that, and
looks at them anew afterwards, so that lists and gateway know at once. The embedded engine's are
files, which FLM keeps. Synchronous: for the command line, where Ctrl-C ends what is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from flm.domain.engines import EMBEDDED, Engine, EngineId, Healthy, serves
from flm.domain.models import Model
from flm.domain.traits import Keeping
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.engines import EngineAdapter, Progress, Step
from flm.services.gguf_keeping import GgufKeeping
from flm.services.gguf_sources import HubModel, Source, source_of
from flm.services.model_homes import (
    Home,
    check_serves,
    engine_called,
    homes,
    named_engine,
    one_of,
    only_one,
    unknown_model,
)
from flm.services.model_overrides import context_wanted
from flm.services.model_permissions import Permissions
from flm.settings import Settings

IN_USE = "model_in_use"


class Seen(Protocol):
    """What was seen of the engines."""

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Every engine that is here or was added."""
        ...

    @property
    def models(self) -> tuple[Model, ...]:
        """Their models."""
        ...


class Looks(Protocol):
    """Who looks at the engines."""

    def known(self) -> Seen:
        """What was seen last."""
        ...

    def detect(self) -> Seen:
        """Look now."""
        ...


class Controller(Protocol):
    """What runs for this data directory."""

    def serves(self) -> bool:
        """Whether something does."""
        ...

    def load(self, target: str, progress: Progress) -> None:
        """Have a model in memory. Raises `NotRunning` when nothing runs, and why it failed."""
        ...

    def unload(self, target: str, progress: Progress) -> None:
        """Drain a model and take it out of memory."""
        ...


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched. ``model``: as it is listed now, None where the engine lists it under a
    name of its own; ``path``: the file, where FLM itself keeps it.
    """

    engine: Engine
    name: str
    model: Model | None = None
    path: str | None = None


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal would do. ``files``: those FLM deletes itself; ``deletes``: whether anything
    is deleted from a disk, which is to be agreed to.
    """

    home: Home
    files: tuple[Path, ...] = ()
    deletes: bool = True


class ModelKeeping:
    """The use cases of models.

    ``key_of``: an engine's own key in clear, None where it has none; ``settings``: those in
    force.
    """

    def __init__(
        self,
        looks: Looks,
        adapters: Sequence[EngineAdapter],
        key_of: Callable[[EngineId], str | None],
        settings: Callable[[], Settings],
        files: GgufKeeping,
        controller: Controller,
    ) -> None:
        self._looks = looks
        self._allowed = Permissions(adapters)
        self._key_of = key_of
        self._settings = settings
        self._files = files
        self._controller = controller

    # What there is.

    def seen(self, *, fresh: bool = False) -> Seen:
        """The engines and their models, as what serves watches them; else looked at now."""
        if not fresh and self._controller.serves():
            known = self._looks.known()
            if known.engines:
                return known
        return self._looks.detect()

    def show(self, name: str, engine: str | None = None, *, fresh: bool = False) -> list[Home]:
        """Every home of a model. Raises `NotFound`, naming the nearest ones."""
        seen = self.seen(fresh=fresh)
        found = homes(seen.engines, seen.models, name, engine)
        if not found and not fresh and self._controller.serves():
            return self.show(name, engine, fresh=True)
        if not found:
            raise self._unknown(seen, name, engine)
        return list(found)

    def _home(self, name: str, engine: str | None, wanted: Keeping) -> Home:
        """The one home of a model where `wanted` can be done to it now."""
        home = one_of(self.show(name, engine), name, ())
        self._allowed.check(home.engine, wanted, home.own_name)
        if wanted != "remove" or home.engine.kind != EMBEDDED:
            check_serves(home.engine)
        return home

    def _unknown(self, seen: Seen, name: str, engine: str | None) -> NotFound:
        if engine is not None:
            engine_called(seen.engines, engine)
        return unknown_model(name, [each for each in seen.models if engine in (None, each.engine)])

    # Fetching.

    def puller(self, name: str, engine: str | None = None) -> tuple[Engine, str]:
        """The engine that is to fetch `name`, and its own name for it.

        The one that is named, else the only one that can. Raises `NotFound`, `NotPermitted`, and
        `Conflict` (`ambiguous_model`) naming the choices.
        """
        source = source_of(name)
        if source is not None and not isinstance(source, HubModel) and engine is None:
            return embedded(), name
        seen = self.seen()
        if engine is not None:
            meant = embedded() if engine == EMBEDDED else engine_called(seen.engines, engine)
            own = named_engine([meant], name)
            return self._able(meant, own[1] if own is not None else name)
        prefixed = named_engine(seen.engines, name)
        if prefixed is not None and source is None:
            return self._able(*prefixed)
        able = [each for each in seen.engines if self._can_pull(each)]
        if isinstance(source, HubModel) and self._files.is_here():
            able.append(embedded())
        return only_one(able, name), name

    def _able(self, engine: Engine, name: str) -> tuple[Engine, str]:
        self._allowed.check(engine, "pull", name)
        if engine.kind != EMBEDDED:
            check_serves(engine)
        return engine, name

    def _can_pull(self, engine: Engine) -> bool:
        return (
            engine.kind != EMBEDDED
            and serves(engine.state)
            and engine.address is not None
            and self._allowed.lets(engine, "pull")
        )

    def pull(
        self,
        engine: Engine,
        name: str,
        progress: Progress,
        *,
        call_it: str | None = None,
        sha256: str | None = None,
    ) -> Pulled:
        """Have `engine` fetch `name`, as `puller` chose them; called again it goes on.

        ``call_it``, ``sha256``: for files, which FLM fetches itself.
        """
        if engine.kind == EMBEDDED:
            return self._pull_file(name, progress, call_it, sha256)
        if call_it is not None or sha256 is not None:
            raise InvalidValue(
                N_("{engine} fetches its models itself: --name and --sha256 are for files."),
                remedy=N_("Leave them out."),
                engine=engine.id,
            )
        before = {each.name for each in self._looks.known().models if each.engine == engine.id}
        keeper = self._allowed.keeper(engine)
        assert engine.address is not None, "an engine that serves has an address"
        asyncio.run(keeper.pull(engine.address, self._key_of(engine.id), name, progress))
        after = self._looks.detect()
        own = [each for each in after.models if each.engine == engine.id]
        found = homes([engine], own, name)
        new = [each for each in own if each.name not in before]
        model = found[0].model if found else (new[0] if len(new) == 1 else None)
        return Pulled(engine=engine, name=model.name if model else name, model=model)

    def _pull_file(
        self, name: str, progress: Progress, call_it: str | None, sha256: str | None
    ) -> Pulled:
        file = self._files.pull(_source(name), progress, name=call_it, sha256=sha256)
        seen = self._looks.detect()
        own = (each for each in seen.models if each.engine == EMBEDDED and each.name == file.name)
        return Pulled(engine=embedded(), name=file.name, model=next(own, None), path=file.path)

    # Deleting.

    def removal(self, name: str, engine: str | None = None, *, force: bool = False) -> Removal:
        """What removing a model would do. Raises `NotFound`, `NotPermitted`, and `Conflict`:
        `ambiguous_model` naming the choices, `model_in_use` unless `force`.
        """
        try:
            home = self._home(name, engine, "remove")
        except NotFound:
            # a file that cannot be read any more is no model, and is to be let go all the same
            own = name.removeprefix("flm://").removeprefix(f"{EMBEDDED}/")
            if engine not in (None, EMBEDDED) or not self._files.knows(own):
                raise
            home = Home(embedded(), Model(name=own, engine=EMBEDDED))
        if home.engine.kind == EMBEDDED:
            files = self._files.fetched(home.model.name)
            return Removal(home=home, files=files, deletes=bool(files))
        if not force:
            self._check_idle(home)
        return Removal(home=home)

    def remove(self, removal: Removal) -> None:
        """Do it. Files that the user gave stay."""
        home = removal.home
        if home.engine.kind == EMBEDDED:
            self._files.remove(home.model.name)
        else:
            keeper, address = self._allowed.keeper(home.engine), home.engine.address
            assert address is not None, "an engine that serves has an address"
            asyncio.run(keeper.remove(address, self._key_of(home.engine.id), home.own_name))
        self._looks.detect()

    def _check_idle(self, home: Home) -> None:
        busy = home.engine.in_flight
        if busy:
            raise Conflict(
                N_("Requests run on {engine} just now: {count}."),
                remedy=N_("Wait until they have ended, or do it all the same with --force."),
                code=IN_USE,
                engine=home.engine.id,
                count=busy,
            )

    # In memory, or not.

    def load(self, name: str, engine: str | None, progress: Progress) -> Home:
        """Have a model in memory, with the context length that is set for it; where it is then."""
        home = self._home(name, engine, "load")
        if self._controller.serves() or home.engine.kind == EMBEDDED:
            self._controller.load(home.model.target, progress)
        else:
            keeper, address = self._allowed.keeper(home.engine), home.engine.address
            assert address is not None, "an engine that serves has an address"
            key = self._key_of(home.engine.id)
            context = context_wanted(self._settings(), home)
            asyncio.run(keeper.load(address, key, home.own_name, context, progress))
        return self._after(home)

    def unload(self, name: str, engine: str | None, progress: Progress) -> Home:
        """Take a model out of memory. What serves sends it nothing meanwhile and lets what runs
        on it end first.
        """
        home = self._home(name, engine, "unload")
        if self._controller.serves() or home.engine.kind == EMBEDDED:
            self._controller.unload(home.model.target, progress)
        else:
            keeper, address = self._allowed.keeper(home.engine), home.engine.address
            assert address is not None, "an engine that serves has an address"
            progress(Step(N_("Unloading {model}"), {"model": home.model.name}))
            asyncio.run(keeper.unload(address, self._key_of(home.engine.id), home.own_name))
        return self._after(home)

    def _after(self, home: Home) -> Home:
        seen = self._looks.detect()
        found = homes(seen.engines, seen.models, home.model.name, home.engine.id)
        return found[0] if found else home


def embedded() -> Engine:
    """The embedded engine, for what is done to its files and not to it."""
    return Engine(id=EMBEDDED, kind="embedded", state=Healthy(0.0), source="built-in")


def _source(name: str) -> Source:
    source = source_of(name)
    if source is None:
        raise InvalidValue(
            N_("The embedded engine serves GGUF files, and {name} is none."),
            remedy=N_("Give a .gguf file, its URL, or a name such as hf.co/OWNER/REPO:Q4_K_M."),
            name=name,
        )
    return source
