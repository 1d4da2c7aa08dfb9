"""Model profiles: save, list, delete."""

from __future__ import annotations

from collections.abc import Mapping

from flm.domain.models import nearest
from flm.domain.parameters import CAPPED, OPTIONS, PARAMETERS, Parameter, Value
from flm.domain.publications import Profile
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.notify import Notify
from flm.ports.repositories import ProfileRepository, PublicationRepository

MAX_NAME = 100

_SAME = {"max_completion_tokens": "max_tokens"}
"""Names that mean a parameter of another name."""


class ProfileService:
    """The use cases of model profiles."""

    def __init__(
        self, profiles: ProfileRepository, publications: PublicationRepository, notify: Notify
    ) -> None:
        self._profiles = profiles
        self._publications = publications
        self._notify = notify

    def all(self) -> list[Profile]:
        """Every profile, by name."""
        return self._profiles.all()

    def get(self, name: str) -> Profile:
        """One profile. Raises `NotFound`, naming what is near."""
        known = self._profiles.all()
        for profile in known:
            if profile.name == name:
                return profile
        raise unknown_profile(name, [each.name for each in known])

    def save(
        self,
        name: str,
        defaults: Mapping[str, str],
        caps: Mapping[str, str],
        options: Mapping[str, str],
    ) -> Profile:
        """Keep a profile in place of the one of its name; the values are as people write them.

        Raises `InvalidValue` for a name, parameter, option or value that cannot be, and for a
        default above the cap of the same profile.
        """
        profile = Profile(
            name=profile_name(name),
            defaults=_read(defaults, "--set"),
            caps=_caps(caps),
            options=_read(options, "--option"),
        )
        if not (profile.defaults or profile.caps or profile.options):
            raise InvalidValue(
                N_("A profile without anything in it would change nothing."),
                remedy=N_("For example: --set temperature=0.2 --cap max_tokens=2048 "
                          "--option num_ctx=16384."),
            )  # fmt: skip
        for parameter, most in profile.caps.items():
            value = profile.defaults.get(parameter)
            if value is not None and value > most:
                raise InvalidValue(
                    N_("The default of {name}, {value}, is above its cap, {cap}."),
                    remedy=N_("Lower the default, or raise the cap."),
                    name=parameter,
                    value=value,
                    cap=f"{most:.10g}",
                )
        self._profiles.save(profile)
        self._notify.poke()
        return profile

    def delete(self, name: str) -> None:
        """Forget a profile. Raises `NotFound`, and `Conflict` when a publication has it."""
        profile = self.get(name)
        users = self.users(profile.name)
        if users:
            raise Conflict(
                N_("The API {api} has the profile {profile}."),
                remedy=N_("Change that first: `flm api update {api} --no-profile`."),
                api=users[0],
                profile=name,
            )
        self._profiles.remove(name)
        self._notify.poke()

    def users(self, name: str) -> list[str]:
        """The names of the publications that have it."""
        return [each.name for each in self._publications.all() if each.profile == name]


def unknown_profile(name: str, known: list[str]) -> NotFound:
    """The error for a name that no profile has."""
    likely = nearest(name, known)
    if likely:
        return NotFound(
            N_("There is no model profile {name}."),
            remedy=N_("Did you mean {nearest}? `flm model-profiles list` shows all of them."),
            name=name,
            nearest=", ".join(likely),
        )
    return NotFound(
        N_("There is no model profile {name}."),
        remedy=N_("`flm model-profiles save {name} …` makes one."),
        name=name,
    )


def profile_name(text: str) -> str:
    """`text` without blanks around it, as a profile's name. Raises `InvalidValue`."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidValue(
            N_("{text!r} cannot be a profile's name."),
            remedy=N_("Use 1 to {maximum} printable characters."),
            text=text,
            maximum=MAX_NAME,
        )
    return name


def _read(given: Mapping[str, str], flag: str) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for written, text in given.items():
        parameter = _parameter(_SAME.get(written, written), flag)
        if parameter.name in values:
            raise InvalidValue(N_("{name} is given twice."), name=parameter.name)
        values[parameter.name] = parameter.parse(text)
    return values


def _caps(given: Mapping[str, str]) -> dict[str, float]:
    for written in given:
        name = _SAME.get(written, written)
        if name in PARAMETERS and name not in CAPPED:
            raise InvalidValue(
                N_("{name} cannot be capped."),
                remedy=N_("These can: {names}."),
                name=name,
                names=", ".join(CAPPED),
            )
    values = _read(given, "--cap")
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _parameter(name: str, flag: str) -> Parameter:
    """The parameter or option of that name. Raises `InvalidValue`, saying what it might be."""
    mine, others = (OPTIONS, PARAMETERS) if flag == "--option" else (PARAMETERS, OPTIONS)
    found = mine.get(name)
    if found is not None:
        return found
    if name in others:
        raise InvalidValue(
            N_("{name} does not go with {flag}."),
            remedy=N_("Write {right} {name}=…"),
            name=name,
            flag=flag,
            right="--set" if flag == "--option" else "--option",
        )
    likely = nearest(name, mine)
    if likely:
        raise InvalidValue(
            N_("A profile knows no {name!r}."),
            remedy=N_("Did you mean {nearest}?"),
            name=name,
            nearest=", ".join(likely),
        )
    raise InvalidValue(
        N_("A profile knows no {name!r}."),
        remedy=N_("It knows: {names}."),
        name=name,
        names=", ".join(mine),
    )
