"""What is asked of `flm connect`, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flm.domain.engines import Finding
from flm.domain.keys import has_form
from flm.errors import N_, InvalidValue, UserError
from flm.services.connect.situation import (
    Client,
    ClientName,
    Facts,
    Settings,
    Situation,
    dotted,
    warning,
)
from flm.services.connect.writing import Plan, Restored, Written, rivals_in


class Wish(NamedTuple):
    """What was asked for. ``key``: one that is given; ``label``: of a new one to be made."""

    client: ClientName
    model: str | None = None
    key: str | None = None
    label: str | None = None
    write: bool = False


class Made(NamedTuple):
    """A client's settings, and what was done. ``key`` and ``key_id`` are those the client has;
    ``show``: the key was made now and lies in no file, so that it must be shown, this once."""

    client: Facts
    situation: Situation
    settings: Settings
    concerns: tuple[Finding, ...]
    written: tuple[Written, ...] = ()
    key: str | None = None
    key_id: str | None = None
    show: bool = False


class Undone(NamedTuple):
    """What was taken back; `files` () and `key_id` None: there was nothing."""

    client: Facts
    files: tuple[Restored, ...] = ()
    key_id: str | None = None


def check(wish: Wish, client: Client) -> None:
    """Raise for what cannot be done with this client, or with this key."""
    if wish.key is not None and not has_form(wish.key.encode()):
        raise InvalidValue(
            N_("What stands on stdin is no key of FLM's."),
            remedy=N_("A key begins with flm_; `flm api-keys create --label NAME` makes one."),
        )
    if wish.write and not client.facts.writes:
        raise UserError(
            N_("{client} has no file that FLM could write: it takes these settings from its "
               "environment or its own pages."),
            remedy=N_("Run the command without --write: it shows them. --new-key makes a key."),
            code="nothing_to_write",
            client=client.facts.title,
        )  # fmt: skip


def of_rivals(plans: Sequence[Plan], settings: Settings) -> tuple[Finding, ...]:
    """What else lies in the files and goes before FLM's entries."""
    return tuple(
        warning(
            "rival_entry",
            N_("{path} also holds {entry}, which goes before what FLM wrote."),
            N_("Take it out while the client is to use FLM."),
            path=plan.settings.path,
            entry=dotted(path),
        )
        for plan in plans
        for path in rivals_in(plan, settings.rivals)
    )


def of_files(written: Sequence[Written]) -> tuple[Finding, ...]:
    """What was done to the files besides writing them."""
    found = [
        warning(
            "made_private",
            N_("Others could read {path}; now that a key is in it, only you can."),
            path=each.path,
        )
        for each in written
        if each.tightened
    ]
    found += [
        warning(
            "file_is_link",
            N_("{path} is a link to {target}: that is the file that was changed."),
            path=each.path,
            target=each.link,
        )
        for each in written
        if each.link is not None and each.changed
    ]
    return tuple(found)
