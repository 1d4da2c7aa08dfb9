"""APIs: publish a model under a name, change, list, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from flm.domain import prompts
from flm.domain.keys import ApiKey, has_form, id_of
from flm.domain.models import nearest
from flm.domain.publications import PromptTemplate, Publication
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.clock import Clock
from flm.ports.notify import Notify
from flm.ports.repositories import (
    EngineRepository,
    KeyRepository,
    ProfileRepository,
    PromptRepository,
    PublicationRepository,
)
from flm.services.profiles import unknown_profile
from flm.services.prompts import check_variables, meant, open_variables
from flm.services.publication_names import engine_names, model_names, publication_name
from flm.services.publication_view import Known, View, findings_of_model, view


class PublicationStore(Protocol):
    """What publications are made of."""

    @property
    def publications(self) -> PublicationRepository: ...  # noqa: D102 - as the class says
    @property
    def prompts(self) -> PromptRepository: ...  # noqa: D102
    @property
    def profiles(self) -> ProfileRepository: ...  # noqa: D102
    @property
    def keys(self) -> KeyRepository: ...  # noqa: D102
    @property
    def engines(self) -> EngineRepository: ...  # noqa: D102


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a publication; None: nothing.

    ``fallback`` (): none; ``keys`` (): every key may use it, else ids or labels; ``template``:
    `NAME`, always the newest version, or `NAME@2`, '' for none; ``profile`` '' for none;
    ``variables``: values for the template's, laid over those it has; ``without``: variables that
    get the template's own value again.
    """

    model: str | None = None
    fallback: tuple[str, ...] | None = None
    allow_remote: bool | None = None
    keys: tuple[str, ...] | None = None
    template: str | None = None
    profile: str | None = None
    variables: Mapping[str, str] = {}
    without: tuple[str, ...] = ()


class PublicationService:
    """The use cases of publications. ``known``: the engines and models as they were seen last."""

    def __init__(
        self, store: PublicationStore, known: Callable[[], Known], clock: Clock, notify: Notify
    ) -> None:
        self._store = store
        self._known = known
        self._clock = clock
        self._notify = notify

    def create(self, name: str, wanted: Changes) -> View:
        """Publish ``wanted.model`` under `name`.

        What is odd but allowed stands in the view's findings: a model that nobody offers now, the
        name of a model. Raises `InvalidValue`, `NotFound` for an unknown key, template or profile,
        and `Conflict` when the name is taken or begins with an engine's.
        """
        seen = self._known()
        chosen = publication_name(name, engine_names(self._store.engines, seen.engines))
        if wanted.model is None:
            raise InvalidValue(
                N_("An API needs a model."), remedy=N_("Give one with --model NAME.")
            )
        bare = Publication(name=chosen, models=(), created_at=self._clock.now())
        made = self._changed(bare, wanted, seen)
        self._store.publications.add(made)
        self._notify.poke()
        return self._view(made, seen)

    def update(self, name: str, wanted: Changes) -> View:
        """Change what is said, leave the rest. Raises as `create`, and `NotFound`."""
        if wanted == Changes():
            raise InvalidValue(
                N_("Nothing was said of what to change."),
                remedy=N_("`flm api update --help` shows what can be."),
            )
        seen = self._known()
        made = self._changed(self._one(name), wanted, seen)
        if not self._store.publications.replace(made):
            raise self._unknown(name)
        self._notify.poke()
        return self._view(made, seen)

    def all(self) -> list[View]:
        """Every publication by name, with what can be said of it now."""
        seen = self._known()
        return [self._view(each, seen) for each in self._store.publications.all()]

    def get(self, name: str) -> View:
        """One of them. Raises `NotFound`, naming what is near."""
        return self._view(self._one(name), self._known())

    def delete(self, name: str) -> Publication:
        """Publish it no longer. Raises `NotFound`."""
        gone = self._one(name)
        if not self._store.publications.remove(gone.name):
            raise self._unknown(name)
        self._notify.poke()
        return gone

    def oddities(self, name: str) -> tuple[str, ...]:
        """The codes of what is odd about `name` as the default for unknown names
        (`publication_view`); () of '' and of what is fine.
        """
        if not name or any(each.name == name for each in self._store.publications.all()):
            return ()
        return findings_of_model(name, self._known())

    def _view(self, publication: Publication, seen: Known) -> View:
        store = self._store
        return view(
            publication,
            seen,
            store.keys.all(),
            store.prompts.all(),
            store.profiles.all(),
            self._clock.now(),
        )

    def _one(self, name: str) -> Publication:
        found = self._store.publications.get(name.strip())
        if found is None:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> NotFound:
        likely = nearest(name, [each.name for each in self._store.publications.all()])
        if likely:
            return NotFound(
                N_("There is no API called {name}."),
                remedy=N_("Did you mean {nearest}? `flm api list` shows all of them."),
                name=name,
                nearest=", ".join(likely),
            )
        return NotFound(
            N_("There is no API called {name}."),
            remedy=N_("`flm api create {name} --model MODEL` makes one."),
            name=name,
        )

    def _changed(self, before: Publication, wanted: Changes, seen: Known) -> Publication:
        """`before` with what is wanted, checked as a whole."""
        models = before.models
        if wanted.model is not None:
            models = (wanted.model, *models[1:])
        if wanted.fallback is not None:
            models = (*models[:1], *wanted.fallback)
        template, variables = self._template(before, wanted)
        return msgspec.structs.replace(
            before,
            models=model_names(models, before.name, self._store.publications.all(), seen.models),
            allow_remote=before.allow_remote
            if wanted.allow_remote is None
            else wanted.allow_remote,
            keys=before.keys if wanted.keys is None else self._keys(wanted.keys),
            template=template,
            profile=before.profile if wanted.profile is None else self._profile(wanted.profile),
            variables=variables,
        )

    def _template(self, before: Publication, wanted: Changes) -> tuple[str, dict[str, str]]:
        """The template's name as it is kept, and the variables' values."""
        asked = before.template if wanted.template is None else wanted.template.strip()
        if not asked:
            if wanted.variables or wanted.without:
                raise InvalidValue(
                    N_("Variables belong to a prompt template, and there is none."),
                    remedy=N_("Give one with --prompt-template NAME."),
                )
            return "", {}
        if wanted.template is None and not wanted.variables and not wanted.without:
            return before.template, dict(before.variables)
        template = meant(asked, self._store.prompts.all())
        check_variables(wanted.variables, template)
        values = _values(before, wanted, template)
        missing = open_variables(template, values)
        if missing:
            raise InvalidValue(
                N_("The prompt template {template} needs a value for {variables}."),
                remedy=N_("Give it with --var {first}=TEXT."),
                template=asked,
                variables=", ".join(missing),
                first=missing[0],
            )
        pinned = "@" in asked
        return f"{template.name}@{template.version}" if pinned else template.name, values

    def _profile(self, name: str) -> str:
        known = [each.name for each in self._store.profiles.all()]
        if name and name not in known:
            raise unknown_profile(name, known)
        return name

    def _keys(self, wanted: Sequence[str]) -> tuple[str, ...]:
        known = self._store.keys.all()
        now = self._clock.now()
        return tuple(dict.fromkeys(_key(each, known, now) for each in wanted))


def _values(before: Publication, wanted: Changes, template: PromptTemplate) -> dict[str, str]:
    """The variables' values: the new ones over those before that this template still knows."""
    kept = dict(before.variables)
    if wanted.template is not None:
        own = prompts.wanted(template.system, template.user)
        kept = {name: value for name, value in kept.items() if name in own}
    for name in wanted.without:
        if kept.pop(name, None) is None:
            raise InvalidValue(
                N_("{api} gives no value to {name!r}."),
                remedy=N_("`flm api show {api}` shows those it gives."),
                api=before.name,
                name=name,
            )
    return {**kept, **wanted.variables}


def _key(text: str, known: Sequence[ApiKey], now: float) -> str:
    """The id of the key that an id, a label or the whole key means.

    Raises `NotFound`, and `Conflict` for a label of several keys and for a key that works no
    longer. A whole key is never repeated.
    """
    asked = id_of(text.encode()) if has_form(text.encode()) else text.strip()
    found = [key for key in known if key.id == asked]
    found = found or [key for key in known if key.label == asked]
    working = [key for key in found if key.state(now) == "active" and key.rotated_to is None]
    working = working or [key for key in found if key.state(now) == "active"]
    if len(working) == 1:
        return working[0].id
    if working:
        raise Conflict(
            N_("{count} keys have the label {label}."),
            remedy=N_("Say which by its id: {ids}."),
            count=len(working),
            label=asked,
            ids=", ".join(key.id for key in working),
        )
    if found:
        raise Conflict(
            N_("The key {key} works no longer."),
            remedy=N_("`flm api-keys list` shows those that do."),
            key=asked,
        )
    likely = nearest(asked, [name for key in known for name in (key.label, str(key.id))])
    raise NotFound(
        N_("There is no key with the id or label {key}."),
        remedy=N_("Did you mean {nearest}? `flm api-keys list` shows all of them.")
        if likely
        else N_("`flm api-keys list` shows all of them."),
        key=asked,
        nearest=", ".join(likely),
    )
