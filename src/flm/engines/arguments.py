"""The arguments a user gives to an engine that FLM starts: what would open it is refused. Pure.

An engine that FLM starts is reached through FLM alone, so whatever would have it listen beyond
loopback, open a tunnel or show its key in the list of processes is no argument here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flm.errors import N_, InvalidValue, NotPermitted
from flm.ports.engines import Installation

HOST = "127.0.0.1"

OPENS = N_("{flag} would let others reach the engine around FLM.")
CHOSEN = N_("{flag} is FLM's to choose: it takes a free port of this machine.")
SECRET = N_("{flag} would show the key to every user of this machine; FLM gives it one of its own.")
ELSEWHERE = N_("With {flag} FLM would not find the engine where it starts it.")

_LEAVE_IT_OUT = N_(
    "Leave it out. An engine that is to run your own way you start yourself: FLM finds it."
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine's command line must not hold. Flags are written with dashes.

    ``places``: flags that say where it listens, fine when they say what FLM says anyway;
    ``refused``: flag → why, a template with ``{flag}``; ``allowed``: flags that are fine although
    a refused one begins with them; ``abbreviated``: its parser takes beginnings of flags for
    flags (Python's argparse), and `_` for `-`.
    """

    places: frozenset[str] = frozenset()
    refused: Mapping[str, str] = {}
    allowed: frozenset[str] = frozenset()
    abbreviated: bool = False

    def why(self, flag: str) -> str | None:
        """Why `flag` is refused, None when it is not."""
        if flag in self.allowed:
            return None
        for refused, why in {**self.refused, **dict.fromkeys(self.places, OPENS)}.items():
            if flag == refused or (self.abbreviated and refused.startswith(flag)):
                return why
        return None


def checked(arguments: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """`arguments` without what says what FLM says anyway.

    Raises `InvalidValue`, naming the flag and the reason, for what would open the engine.
    """
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, given, value = _normal(word, rules).partition("=")
        if not flag.startswith("-") or flag in ("-", "--"):
            kept.append(word)
            continue
        if flag in rules.places:
            host = value if given else (rest.pop(0) if rest else "")
            if host.lower() in _LOOPBACK:
                continue
            raise _refused(f"{flag} {host}", OPENS)
        why = rules.why(flag)
        if why is not None:
            raise _refused(flag, why)
        kept.append(word)
    return tuple(kept)


def _normal(word: str, rules: Rules) -> str:
    """`word` with the flag in the form of the rules; values stay as they are."""
    flag, given, value = word.partition("=")
    if rules.abbreviated and flag.startswith("--"):
        flag = flag.replace("_", "-")
    return flag + given + value


def _refused(flag: str, why: str) -> InvalidValue:
    return InvalidValue(why, remedy=_LEAVE_IT_OUT, flag=flag)


def unmanaged(installation: Installation, setting: str) -> str:
    """The program to run. ``setting``: the one that names a program of the user's own.

    Raises `NotPermitted` when a service manager or a desktop app runs it: those start it again
    when it ends, so that two of them would fight for its port and its models.
    """
    if installation.service is not None:
        raise NotPermitted(
            N_("{program} is run by the service {service}; FLM does not start it besides."),
            remedy=N_("Start it with `{command}`, or name a program of your own with "
                      "`flm config set {setting} PATH`."),
            program=installation.program,
            service=installation.service,
            command=_service_command(installation.service),
            setting=setting,
        )  # fmt: skip
    if installation.managed_by is not None:
        raise NotPermitted(
            N_("{program} belongs to {app}, which starts and stops it itself."),
            remedy=N_("Open {app}, or name a program of your own with "
                      "`flm config set {setting} PATH`."),
            program=installation.program,
            app=installation.managed_by,
            setting=setting,
        )  # fmt: skip
    return installation.program


def _service_command(unit: str) -> str:
    """What starts a unit: systemd's, or one of Homebrew's, whose names begin with its own."""
    brewed = unit.removeprefix("homebrew.mxcl.")
    return f"brew services start {brewed}" if brewed != unit else f"systemctl start {unit}"
