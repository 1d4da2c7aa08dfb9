"""What a publication is now: which of its models are asked, who may use it, what is odd. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from flm.domain.engines import Engine, Finding
from flm.domain.keys import ApiKey, KeyId
from flm.domain.models import Model
from flm.domain.publications import (
    WILDCARD,
    Profile,
    PromptTemplate,
    Publication,
    askable,
    keys_of,
    template_of,
)
from flm.errors import N_
from flm.services.model_homes import Home, homes
from flm.services.prompts import open_variables

MISSING = "api_model_missing"
REMOTE = "api_remote"


class Known(Protocol):
    """The engines and models as they were seen last."""

    @property
    def engines(self) -> tuple[Engine, ...]: ...  # noqa: D102 - as the class says
    @property
    def models(self) -> tuple[Model, ...]: ...  # noqa: D102


class Asked(msgspec.Struct, frozen=True):
    """One of a publication's models. ``state``: `offered` by an engine now, `missing`, or
    `left out`: it is on another machine, and that was not allowed.
    """

    name: str
    state: Literal["offered", "missing", "left out"]
    remote: bool


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A publication with what can be said of it now. ``template``: the version in force;
    ``keys``: those of its keys that work, with their successors.
    """

    publication: Publication
    models: tuple[Asked, ...]
    template: PromptTemplate | None
    keys: tuple[KeyId, ...]
    findings: tuple[Finding, ...]


def view(
    publication: Publication,
    seen: Known,
    keys: Sequence[ApiKey],
    templates: Sequence[PromptTemplate],
    profiles: Sequence[Profile],
    now: float,
) -> View:
    """What `publication` is at `now` (UTC seconds)."""
    found = {name: homes(seen.engines, seen.models, name) for name in publication.models}
    asked = _asked(publication, found)
    template = template_of(publication, templates)
    profile = next((each for each in profiles if each.name == publication.profile), None)
    working = keys_of(publication, keys, now)
    findings = [
        *_incomplete(publication, template, profile),
        *(each for model in asked for each in _of_model(publication, model)),
    ]
    if publication.keys and not working:
        findings.append(_nobody(publication))
    if WILDCARD not in publication.name:
        findings += _shadows(publication, homes(seen.engines, seen.models, publication.name))
    findings += _unheard(profile, found.get(publication.models[0], ()))
    return View(
        publication=publication,
        models=asked,
        template=template,
        keys=working,
        findings=tuple(findings),
    )


def findings_of_model(name: str, seen: Known) -> tuple[str, ...]:
    """The codes of what is odd about a model's name: `MISSING`, `REMOTE`."""
    there = homes(seen.engines, seen.models, name)
    if not there:
        return (MISSING,)
    return (REMOTE,) if _is_remote(there) else ()


def _is_remote(there: Sequence[Home]) -> bool:
    """Whether prompts leave this machine: a name with a home here stays here."""
    return bool(there) and all(home.model.remote or home.engine.remote for home in there)


def _asked(publication: Publication, found: dict[str, tuple[Home, ...]]) -> tuple[Asked, ...]:
    remote = {name: _is_remote(there) for name, there in found.items()}
    kept = askable(publication.models, remote.__getitem__, publication.allow_remote)
    return tuple(
        Asked(
            name,
            "left out" if name not in kept else "offered" if found[name] else "missing",
            remote[name],
        )
        for name in publication.models
    )


def _of_model(publication: Publication, model: Asked) -> list[Finding]:
    values = {"api": publication.name, "model": model.name}
    if model.state == "missing":
        return [
            Finding(
                code=MISSING,
                message=N_("No engine offers {model} at the moment."),
                remedy=N_("`flm models list` shows what there is."),
                values=values,
            )
        ]
    if model.state == "left out":
        return [
            Finding(
                code="api_remote_left_out",
                message=N_("{model} is not asked: it is not on this machine."),
                remedy=N_("`flm api update {api} --allow-remote` lets prompts leave this machine."),
                values=values,
            )
        ]
    if model.remote:
        return [
            Finding(
                code=REMOTE,
                message=N_("Prompts to {model} leave this machine."),
                values=values,
                level="note",
            )
        ]
    return []


def _incomplete(
    publication: Publication, template: PromptTemplate | None, profile: Profile | None
) -> list[Finding]:
    """What is missing so that it answers nobody."""
    missing = []
    if publication.template and template is None:
        missing.append(publication.template)
    if publication.profile and profile is None:
        missing.append(publication.profile)
    if template is not None:
        missing += open_variables(template, publication.variables)
    return [
        Finding(
            code="api_incomplete",
            message=N_("{api} answers nobody: {missing} is missing."),
            remedy=N_("`flm api update {api}` gives it another one."),
            values={"api": publication.name, "missing": each},
            level="error",
        )
        for each in missing
    ]


def _nobody(publication: Publication) -> Finding:
    return Finding(
        code="api_without_keys",
        message=N_("None of the keys of {api} works any more: nobody can use it."),
        remedy=N_("`flm api update {api} --keys KEY` names others, --all-keys lets every key in."),
        values={"api": publication.name},
    )


def _shadows(publication: Publication, there: Sequence[Home]) -> list[Finding]:
    if not there:
        return []
    return [
        Finding(
            code="api_shadows_model",
            message=N_("{api} is a model's name too: clients get the API by it from now on."),
            remedy=N_("The model itself goes by {target}."),
            values={
                "api": publication.name,
                "target": ", ".join(home.model.target for home in there),
            },
            level="note",
        )
    ]


def _unheard(profile: Profile | None, there: Sequence[Home]) -> list[Finding]:
    """The options of a profile that reach Ollama only."""
    if profile is None or not profile.options or not there:
        return []
    if any(home.engine.kind == "ollama" for home in there):
        return []
    return [
        Finding(
            code="api_options_unheard",
            message=N_("{engine} takes no options with a request: {options} of the profile "
                       "{profile} have no effect there."),
            values={
                "engine": there[0].engine.id,
                "options": ", ".join(profile.options),
                "profile": profile.name,
            },
            level="note",
        )
    ]  # fmt: skip
