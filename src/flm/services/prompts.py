"""Prompt templates: make versions, list, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flm.domain import prompts
from flm.domain.models import nearest
from flm.domain.publications import PromptTemplate, Publication, template_of
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.clock import Clock
from flm.ports.notify import Notify
from flm.ports.repositories import PromptRepository, PublicationRepository

MAX_NAME = 100
MAX_TEXT = 100_000
MAX_VALUE = 10_000
_INPUT = "{{" + prompts.INPUT + "}}"


class PromptService:
    """The use cases of prompt templates."""

    def __init__(
        self,
        templates: PromptRepository,
        publications: PublicationRepository,
        clock: Clock,
        notify: Notify,
    ) -> None:
        self._templates = templates
        self._publications = publications
        self._clock = clock
        self._notify = notify

    def all(self) -> list[PromptTemplate]:
        """Every version, by name, the oldest first."""
        return self._templates.all()

    def get(self, text: str) -> PromptTemplate:
        """The version that `NAME@2` means, or the newest of `NAME`. Raises `NotFound`."""
        return meant(text, self._templates.all())

    def set(
        self,
        name: str,
        system: str = "",
        user: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> PromptTemplate:
        """Make the next version of a template: what is not given is not in it.

        ``variables``: values of those that a publication does not give. Raises `InvalidValue`
        for a name, text or variable that cannot be, and `Conflict` when a publication that takes
        the newest version gives no value to one of its variables.
        """
        values = dict(variables or {})
        template = PromptTemplate(
            name=template_name(name),
            version=0,
            system=_text("system", system),
            user=_text("user", user),
            variables=values,
            created_at=self._clock.now(),
        )
        _check_texts(template)
        check_variables(values, template)
        for each in self._publications.all():
            if each.template == template.name:
                _refuse_open(each, template)
        kept = self._templates.add(template)
        self._notify.poke()
        return kept

    def delete(self, text: str) -> int:
        """Delete `NAME@2`, or every version of `NAME`; how many went.

        Raises `NotFound`, and `Conflict` when a publication needs what would go.
        """
        known = self._templates.all()
        template = meant(text, known)
        pinned = "@" in text
        gone = [
            each
            for each in known
            if each.name == template.name and (not pinned or each.version == template.version)
        ]
        left = [each for each in known if each not in gone]
        for each in self._publications.all():
            if each.template.partition("@")[0] == template.name:
                self._refuse_needed(each, text, left)
        count = self._templates.remove(template.name, template.version if pinned else None)
        self._notify.poke()
        return count

    def users(self, name: str) -> list[str]:
        """The names of the publications that have this template, any version of it."""
        return [
            each.name
            for each in self._publications.all()
            if each.template.partition("@")[0] == name
        ]

    def _refuse_needed(
        self, publication: Publication, text: str, left: Sequence[PromptTemplate]
    ) -> None:
        remaining = template_of(publication, left)
        if remaining is None:
            raise Conflict(
                N_("The API {api} needs the prompt template {template}."),
                remedy=N_("Change that first: `flm api update {api} --no-prompt-template`."),
                api=publication.name,
                template=text,
            )
        _refuse_open(publication, remaining)


def meant(text: str, templates: Sequence[PromptTemplate]) -> PromptTemplate:
    """The version that `NAME@2` means, or the newest of `NAME`.

    Raises `NotFound`, naming what is near or which versions there are.
    """
    name, pinned, version = text.partition("@")
    asked = f"{name}@{version.lstrip('0')}" if pinned else name
    found = template_of(Publication(name="", models=(), template=asked), templates)
    if found is not None:
        return found
    versions = [str(each.version) for each in templates if each.name == name]
    if versions:
        raise NotFound(
            N_("The prompt template {name} has no version {version}."),
            remedy=N_("It has: {versions}."),
            name=name,
            version=version,
            versions=", ".join(versions),
        )
    likely = nearest(name, {each.name: None for each in templates})
    if likely:
        raise NotFound(
            N_("There is no prompt template {name}."),
            remedy=N_("Did you mean {nearest}? `flm api prompts list` shows all of them."),
            name=name,
            nearest=", ".join(likely),
        )
    raise NotFound(
        N_("There is no prompt template {name}."),
        remedy=N_("`flm api prompts set {name} …` makes one."),
        name=name,
    )


def template_name(text: str) -> str:
    """`text` without blanks around it, as a template's name. Raises `InvalidValue`."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable() or "@" in name:
        raise InvalidValue(
            N_("{text!r} cannot be a prompt template's name."),
            remedy=N_("Use 1 to {maximum} printable characters, without @."),
            text=text,
            maximum=MAX_NAME,
        )
    return name


def check_variables(values: Mapping[str, str], template: PromptTemplate) -> None:
    """Raise `InvalidValue` for values the template has no place for, and those no text can be."""
    known = prompts.wanted(template.system, template.user)
    for name, value in values.items():
        if name in prompts.BUILT_IN:
            raise InvalidValue(
                N_("FLM itself says what {variable} is, with each request."),
                remedy=N_("Choose another name for the variable."),
                variable="{{" + name + "}}",
            )
        if name not in known:
            raise InvalidValue(
                N_("The prompt template {template} has no variable {name!r}."),
                remedy=N_("Its variables: {known}."),
                template=template.name,
                name=name,
                known=", ".join(known) or "-",
            )
        if len(value) > MAX_VALUE or not _is_sound(value):
            raise InvalidValue(
                N_("The value of {name} is too long, or no text."),
                remedy=N_("Give up to {maximum} characters of UTF-8."),
                name=name,
                maximum=MAX_VALUE,
            )


def open_variables(template: PromptTemplate, values: Mapping[str, str]) -> list[str]:
    """The variables that neither the template nor `values` gives a value."""
    known = prompts.wanted(template.system, template.user)
    return [name for name in known if name not in values and name not in template.variables]


def _refuse_open(publication: Publication, template: PromptTemplate) -> None:
    missing = open_variables(template, publication.variables)
    if missing:
        raise Conflict(
            N_("The API {api} would have no value for {variables}."),
            remedy=N_("Give a default with --var {first}=…, or have it take a fixed version first: "
                      "`flm api update {api} --prompt-template {template}@N`."),
            api=publication.name,
            variables=", ".join(missing),
            first=missing[0],
            template=template.name,
        )  # fmt: skip


def _text(which: str, text: str) -> str:
    if len(text) > MAX_TEXT or not _is_sound(text):
        raise InvalidValue(
            N_("The {which} text is too long, or no text."),
            remedy=N_("Give up to {maximum} characters of UTF-8."),
            which=which,
            maximum=MAX_TEXT,
        )
    return text


def _is_sound(text: str) -> bool:
    """Whether it is Unicode: what came in as other bytes is not."""
    try:
        msgspec.json.encode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _check_texts(template: PromptTemplate) -> None:
    if not template.system and not template.user:
        raise InvalidValue(
            N_("A prompt template has a system text, a user text, or both."),
            remedy=N_("Give --system TEXT or --user TEXT, or a file with --system-file, "
                      "--user-file."),
        )  # fmt: skip
    if prompts.INPUT in prompts.names(template.system):
        raise InvalidValue(
            N_("{input}, the client's text, stands in the user text only."),
            remedy=N_("Take it out of the system text."),
            input=_INPUT,
        )
    if template.user and prompts.names(template.user).count(prompts.INPUT) != 1:
        raise InvalidValue(
            N_("The user text must hold {input}, the client's text, exactly once."),
            remedy=N_("For example: --user 'Translate into Japanese: {input}'."),
            input=_INPUT,
        )
