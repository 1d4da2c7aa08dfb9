"""API keys: make, list, revoke, rotate."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET, UnsetType

from flm.domain.addresses import near_network, near_text
from flm.domain.instance import instance_of
from flm.domain.keys import ApiKey, KeyId, digest, new_key
from flm.domain.models import nearest
from flm.errors import N_, Conflict, InvalidValue, NotFound
from flm.ports.clock import Clock
from flm.ports.notify import Notify
from flm.ports.repositories import KeyRepository, Secrets
from flm.services.times import moment, span

MAX_LABEL = 100
MAX_GRACE_SECONDS = 365 * 86_400
MAX_LIFE_SECONDS = 100 * 365 * 86_400


class KeyService:
    """The use cases of API keys. ``choice`` picks one character (`secrets.choice`).

    What changes a key returns when every running gateway judges by it.
    """

    def __init__(
        self,
        keys: KeyRepository,
        secrets: Secrets,
        clock: Clock,
        choice: Callable[[str], str],
        notify: Notify,
    ) -> None:
        self._keys = keys
        self._secrets = secrets
        self._clock = clock
        self._choice = choice
        self._notify = notify

    def create(
        self, label: str, expires_at: float | None = None, keyless_from: str = ""
    ) -> tuple[ApiKey, str]:
        """A new key and its clear text, which is kept nowhere.

        ``keyless_from``: an address or network of this machine or a private one, whose requests
        count as this key's though they hold none; '' for none.

        Raises `InvalidValue` for a label that is empty, longer than 100 characters or not
        printable, for an expiry in the past and for any other address; `Conflict` for an address
        that is another key's.
        """
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise _past()
        key, clear = self._new(_label(label), now, expires_at, _near(keyless_from))
        self._keys.add(key)
        self._notify.poke()
        return key, clear

    def all(self) -> list[ApiKey]:
        """Every key that was ever made, oldest first."""
        return self._keys.all()

    def get(self, key: str) -> ApiKey:
        """One key by its id. Raises `NotFound`, naming what is near, when there is none."""
        found = self._keys.get(KeyId(key))
        if found is not None:
            return found
        likely = nearest(key, [known.id for known in self._keys.all()], 1)
        if likely:
            raise NotFound(
                N_("There is no key with the id {key}."),
                remedy=N_("Did you mean {nearest}? `flm api-keys list` shows all of them."),
                key=key,
                nearest=likely[0],
            )
        raise NotFound(
            N_("There is no key with the id {key}."),
            remedy=N_("`flm api-keys list` shows all of them."),
            key=key,
        )

    def update(
        self,
        key: str,
        *,
        label: str | None = None,
        expires_at: float | UnsetType | None = UNSET,
        keyless_from: str | None = None,
    ) -> ApiKey:
        """Change what is given of a key, and nothing else; `create` says what is right.

        ``expires_at`` None: never; ``keyless_from`` '': from nowhere. Raises `Conflict` when the
        key is revoked, one included that a rotation lets run on for a while.
        """
        known = self.get(key)
        if known.revoked_at is not None:
            raise Conflict(
                N_("The key {key} is revoked and cannot be changed."),
                remedy=N_("Make a new one with `flm api-keys create`."),
                key=key,
            )
        if isinstance(expires_at, float) and expires_at <= self._clock.now():
            raise _past()
        changed = msgspec.structs.replace(
            known,
            label=known.label if label is None else _label(label),
            expires_at=known.expires_at if expires_at is UNSET else expires_at,
            keyless_from=known.keyless_from if keyless_from is None else _near(keyless_from),
        )
        self._keys.update(changed)
        self._notify.poke()
        return self.get(key)

    def revoke(self, key: str) -> ApiKey:
        """Revoke a key now, one included that a rotation lets run on for a while.

        Returns when every gateway refuses it. Raises `Conflict` when it was revoked before.
        """
        known = self.get(key)
        if not self._keys.revoke(known.id, self._clock.now()):
            raise Conflict(
                N_("The key {key} was revoked before."),
                remedy=N_("Nothing needs to be done: no gateway accepts it."),
                key=key,
            )
        self._notify.poke()
        return self.get(key)

    def rotate(self, key: str, grace_seconds: float = 0.0) -> tuple[ApiKey, str]:
        """A new key in place of an old one, which goes on for `grace_seconds`.

        The new one has the label, the expiry and the address of the old. Raises `Conflict` when
        the old one is revoked, expired or was rotated before.
        """
        if not 0 <= grace_seconds <= MAX_GRACE_SECONDS:
            raise InvalidValue(N_("The grace period must lie between 0 and 365 days."))
        old = self.get(key)
        now = self._clock.now()
        _rotatable(old, now)
        new, clear = self._new(old.label, now, old.expires_at, old.keyless_from)
        self._keys.rotate(old.id, new, now + grace_seconds)
        self._notify.poke()
        return new, clear

    def _new(
        self, label: str, now: float, expires_at: float | None, keyless_from: str
    ) -> tuple[ApiKey, str]:
        key_id, clear = new_key(self._choice)
        pepper = self._secrets.pepper()
        key = ApiKey(
            id=key_id,
            label=label,
            digest=digest(pepper, clear.encode()),
            last4=clear[-4:],
            created_at=now,
            expires_at=expires_at,
            instance=instance_of(pepper),
            keyless_from=keyless_from,
        )
        return key, clear


def _rotatable(key: ApiKey, now: float) -> None:
    if key.rotated_to is not None:
        raise Conflict(
            N_("The key {key} was rotated before: {successor} took its place."),
            remedy=N_("Rotate {successor} instead."),
            key=key.id,
            successor=key.rotated_to,
        )
    if key.state(now) == "revoked":
        raise Conflict(
            N_("The key {key} is revoked and cannot be rotated."),
            remedy=N_("Make a new one with `flm api-keys create`."),
            key=key.id,
        )
    if key.state(now) == "expired":
        raise Conflict(
            N_("The key {key} has expired and cannot be rotated."),
            remedy=N_("Make a new one with `flm api-keys create`."),
            key=key.id,
        )


def _label(text: str) -> str:
    label = text.strip()
    if not label or len(label) > MAX_LABEL or not label.isprintable():
        raise InvalidValue(
            N_("A key's label has 1 to {maximum} printable characters."),
            remedy=N_("Say what the key is for, for example --label laptop."),
            maximum=MAX_LABEL,
        )
    return label


def _near(text: str) -> str:
    """`text` as it is kept; '' for nowhere."""
    if not text:
        return ""
    network = near_network(text)
    if network is None:
        raise InvalidValue(
            N_("{text!r} is no address of this machine or of a private network."),
            remedy=N_(
                "Requests without a key are only ever taken from such an address, for example "
                "127.0.0.1, or a network of them, for example 192.168.1.0/24."
            ),
            text=text,
        )
    return near_text(network)


def _past() -> InvalidValue:
    return InvalidValue(
        N_("The expiry lies in the past."),
        remedy=N_("Give a moment to come, for example 30d, 12h or 2030-12-31, or never."),
    )


def parse_expiry(text: str, now: float) -> float | None:
    """When a key expires, in UTC seconds: `30d`, `12h`, a date, a date-time, or `never` (None).

    A date means its last moment, UTC. Raises `InvalidValue` for what lies in the past, more than
    100 years ahead, or is none of these.
    """
    if text.strip().lower() == "never":
        return None
    seconds = span(text)
    at = moment(text, end_of_day=True) if seconds is None else now + seconds
    if at is None or at > now + MAX_LIFE_SECONDS:
        raise InvalidValue(
            N_("{text!r} is no expiry."),
            remedy=N_("Give a moment to come, for example 30d, 12h or 2030-12-31, or never."),
            text=text,
        )
    if at <= now:
        raise _past()
    return at
