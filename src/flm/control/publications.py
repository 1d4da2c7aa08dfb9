"""Publications as the gateway has them: texts filled in, keys that work, models that may be asked.

Pure. What is missing closes: a publication without its template or profile answers nobody, one
whose keys are all gone nobody either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flm.domain import prompts
from flm.domain.keys import ApiKey
from flm.domain.models import resolve
from flm.domain.publications import (
    Profile,
    PromptTemplate,
    Publication,
    askable,
    keys_of,
    template_of,
)
from flm.wire.snapshot import Published, Routes


def published(
    publications: Sequence[Publication],
    templates: Sequence[PromptTemplate],
    profiles: Sequence[Profile],
    keys: Sequence[ApiKey],
    routes: Routes,
    now: float,
) -> dict[str, Published]:
    """Every publication by name, at `now` (UTC seconds); `routes` has models and targets."""
    if not publications:
        return {}
    remote = _Remote(routes)
    named = {profile.name: profile for profile in profiles}
    return {
        each.name: _published(each, templates, named, keys_of(each, keys, now), remote)
        for each in publications
    }


class _Remote:
    """Whether a model is on another machine, however it may be named."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._homes = {name: entry.targets for name, entry in routes.models.items()}

    def __call__(self, name: str) -> bool:
        routes = self._routes
        targets = resolve(name, self._homes, routes.targets)
        if targets:
            return any(routes.targets[target].remote for target in targets)
        known = routes.models.get(name) or routes.models.get(f"{name}:latest")
        return known is not None and known.remote


def _published(
    publication: Publication,
    templates: Sequence[PromptTemplate],
    profiles: Mapping[str, Profile],
    keys: tuple[str, ...],
    remote: _Remote,
) -> Published:
    template = template_of(publication, templates)
    profile = profiles.get(publication.profile)
    missing = (publication.template and template is None) or (publication.profile and not profile)
    system, user = ((), ()) if template is None else _texts(publication, template)
    if missing or _open(system, user):
        models: tuple[str, ...] = ()
    else:
        models = askable(publication.models, remote, publication.allow_remote)
    return Published(
        name=publication.name,
        models=models,
        allow_remote=publication.allow_remote,
        limited=bool(publication.keys),
        keys=keys,
        template="" if template is None else f"{template.name}@{template.version}",
        system=system,
        user=user,
        profile=profile,
        created=int(publication.created_at),
    )


def _texts(
    publication: Publication, template: PromptTemplate
) -> tuple[prompts.Pieces, prompts.Pieces]:
    """System and user text with the variables' values: the publication's, else the template's."""
    values = {**template.variables, **publication.variables}
    values = {name: value for name, value in values.items() if name not in prompts.BUILT_IN}
    return (
        prompts.filled(prompts.pieces(template.system), values),
        prompts.filled(prompts.pieces(template.user), values),
    )


def _open(*texts: prompts.Pieces) -> bool:
    """Whether a variable in them has no value."""
    return any(name not in prompts.BUILT_IN for text in texts for name in text[1::2])
