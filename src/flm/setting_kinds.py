"""The kinds of values a setting can have: how text becomes one, and which are right.

Every kind raises `InvalidValue` with a sentence that says what would be right.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import Protocol

import msgspec

from flm.domain.hosts import host_name
from flm.errors import N_, InvalidValue, NotPermitted

Value = bool | int | str | tuple[str, ...]

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")


class Kind(Protocol):
    """What a setting's values are. ``name`` is only for the error's sentence."""

    def parse(self, name: str, text: str) -> Value:
        """The value that a person or the environment wrote as `text`."""
        ...

    def check(self, name: str, value: object) -> Value:
        """`value` itself when it is right, brought into its one normal form."""
        ...


class Whole(msgspec.Struct, frozen=True):
    """A whole number from ``minimum`` to ``maximum``."""

    minimum: int
    maximum: int

    def parse(self, name: str, text: str) -> int:
        """Decimal digits; `1_000_000` is fine."""
        digits = text.strip().replace("_", "")
        return self.check(name, int(digits) if _WHOLE.fullmatch(digits) else text)

    def check(self, name: str, value: object) -> int:
        """An int in the range; True and False are none."""
        if type(value) is int and self.minimum <= value <= self.maximum:
            return value
        raise InvalidValue(
            N_("{name} must be a whole number from {minimum} to {maximum}, not {value!r}."),
            name=name,
            minimum=self.minimum,
            maximum=self.maximum,
            value=value,
        )


class ContextLengths(Whole, frozen=True):
    """A context length in tokens."""

    minimum: int = 256
    maximum: int = 10_000_000


class Truth(msgspec.Struct, frozen=True):
    """`true` or `false`."""

    def parse(self, name: str, text: str) -> bool:
        """`true`, `yes`, `on`, `1` and their opposites."""
        word = text.strip().lower()
        return self.check(name, {**_YES, **_NO}.get(word, text))

    def check(self, name: str, value: object) -> bool:
        """True or False."""
        if isinstance(value, bool):
            return value
        raise InvalidValue(
            N_("{name} must be true or false, not {value!r}."), name=name, value=value
        )


_YES = dict.fromkeys(("true", "yes", "on", "1"), True)
_NO = dict.fromkeys(("false", "no", "off", "0"), False)


class Line(msgspec.Struct, frozen=True):
    """One line of printable text of at most ``longest`` characters; '' for none."""

    longest: int = 4096
    pattern: str = ""

    def parse(self, name: str, text: str) -> str:
        """The text without blanks around it."""
        return self.check(name, text.strip())

    def check(self, name: str, value: object) -> str:
        """Raises `InvalidValue` for what does not match ``pattern``, a regular expression."""
        good = isinstance(value, str) and len(value) <= self.longest and value.isprintable()
        if good and (not self.pattern or not value or re.fullmatch(self.pattern, str(value))):
            return str(value)
        raise InvalidValue(
            N_("{name} cannot be {value!r}: it takes one line of at most {longest} characters."),
            remedy=N_("`flm config list` says what it is for."),
            name=name,
            value=value,
            longest=self.longest,
        )


class Words(msgspec.Struct, frozen=True):
    """A list of words; ``choices`` empty: any."""

    choices: tuple[str, ...] = ()

    def parse(self, name: str, text: str) -> tuple[str, ...]:
        """A JSON array; else words with commas between them where there are choices, and as a
        shell takes them apart where there are none."""
        if text.lstrip().startswith("["):
            try:
                return self.check(name, msgspec.json.decode(text))
            except msgspec.DecodeError:
                return self.check(name, text)
        if self.choices:
            return self.check(name, [item.strip() for item in text.split(",") if item.strip()])
        try:
            return self.check(name, shlex.split(text))
        except ValueError as error:
            raise InvalidValue(
                N_("{name} cannot be read: {why}."), name=name, why=str(error)
            ) from error

    def check(self, name: str, value: object) -> tuple[str, ...]:
        """Each a printable text, and one of the choices where there are any."""
        if not isinstance(value, list | tuple) or len(value) > _MAX_WORDS:
            raise InvalidValue(N_("{name} must be a list, not {value!r}."), name=name, value=value)
        for item in value:
            if not isinstance(item, str) or len(item) > _LONGEST_WORD or "\0" in item:
                raise InvalidValue(N_("{item!r} cannot stand in {name}."), item=item, name=name)
            if self.choices and item not in self.choices:
                raise InvalidValue(
                    N_("{item!r} in {name} is not known."),
                    remedy=N_("Use some of: {choices}."),
                    item=item,
                    name=name,
                    choices=", ".join(self.choices),
                )
        return tuple(value)


_MAX_WORDS = 256
_LONGEST_WORD = 4096


class LoopbackAddress(msgspec.Struct, frozen=True):
    """A loopback address; `localhost` stands for 127.0.0.1."""

    def parse(self, name: str, text: str) -> str:
        """An address, with or without the brackets of IPv6."""
        return self.check(name, text.strip().removeprefix("[").removesuffix("]"))

    def check(self, name: str, value: object) -> str:
        """Raises `NotPermitted` for an address that other machines could reach."""
        text = "127.0.0.1" if str(value).lower() == "localhost" else str(value)
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise InvalidValue(
                N_("{name} must be a loopback address such as 127.0.0.1 or ::1, not {value!r}."),
                name=name,
                value=value,
            ) from error
        if not address.is_loopback or "%" in text:
            raise NotPermitted(
                N_("{name} is {value}: other machines could reach it, and without TLS they could "
                   "read keys and prompts on the way."),
                remedy=N_("Use 127.0.0.1 or ::1. Other addresses need a key and TLS and come with "
                          "a later version of FLM."),
                name=name,
                value=text,
            )  # fmt: skip
        return str(address)


class HostNames(msgspec.Struct, frozen=True):
    """A list of host names without ports."""

    def parse(self, name: str, text: str) -> tuple[str, ...]:
        """Names with commas between them, or a JSON array."""
        if text.lstrip().startswith("["):
            try:
                return self.check(name, msgspec.json.decode(text))
            except msgspec.DecodeError:
                return self.check(name, text)
        return self.check(name, [item.strip() for item in text.split(",") if item.strip()])

    def check(self, name: str, value: object) -> tuple[str, ...]:
        """Lower case, without ports, each name once, in the order given."""
        if not isinstance(value, list | tuple):
            raise InvalidValue(
                N_("{name} must be a list of host names, not {value!r}."),
                remedy=N_("Write the names with commas between them, for example box.lan,box."),
                name=name,
                value=value,
            )
        hosts: dict[str, None] = {}
        for item in value:
            host = host_name(item) if isinstance(item, str) else None
            if host is None:
                raise InvalidValue(
                    N_("{item!r} in {name} is no host name."),
                    remedy=N_("Write whole names such as box.lan; there are no wildcards."),
                    name=name,
                    item=item,
                )
            hosts[host] = None
        return tuple(hosts)
