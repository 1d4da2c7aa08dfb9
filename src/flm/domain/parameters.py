"""What a model profile can set: parameters of requests and options of engines, with their ranges.

The ranges are those that requests are judged by (`dialects.openai_chat.ChatParams`; a test
compares them); the options are Ollama's (`PARAMETER` in its Modelfile, and `keep_alive`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from flm.errors import N_, InvalidValue

Kind = Literal["whole", "number", "truth", "choice", "texts", "span"]
Value = bool | int | float | str | list[str]

MOST_TOKENS = 2**31 - 1
_TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_SPAN = re.compile(r"(?:-1|0|(?:[0-9]{1,9}(?:\.[0-9]{1,3})?(?:ms|s|m|h))+)")
_MOST_TEXTS = 16
_LONGEST_TEXT = 1_000


class Parameter(msgspec.Struct, frozen=True):
    """What a value of it must be. ``minimum`` and ``maximum`` are inclusive; ``choices`` hold for
    the kind `choice`. `texts`: one text or up to 16; `span`: a time such as `30m`, seconds, or
    -1 for ever.
    """

    name: str
    kind: Kind
    minimum: float = 0
    maximum: float = 0
    choices: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether there is a largest value of it that a profile can hold requests to."""
        return self.kind in ("whole", "number")

    def parse(self, text: str) -> Value:
        """The value that a person wrote as `text`. Raises `InvalidValue`."""
        written = text.strip()
        match self.kind:
            case "whole":
                digits = written.replace("_", "")
                return self.check(int(digits) if _WHOLE.fullmatch(digits) else text)
            case "number":
                try:
                    return self.check(float(written))
                except ValueError:
                    return self.check(text)
            case "truth":
                return self.check(_TRUTH.get(written.lower(), text))
            case "texts":
                return self.check(_list(text))
            case "span":
                return self.check(int(written) if _WHOLE.fullmatch(written) else written)
            case _:
                return self.check(written)

    def check(self, value: object) -> Value:
        """`value` in its one normal form. Raises `InvalidValue` for what it cannot be."""
        good = self._checked(value)
        if good is None:
            raise self._wrong(value)
        return good

    def _checked(self, value: object) -> Value | None:
        match self.kind:
            case "whole":
                fits = type(value) is int and self.minimum <= value <= self.maximum
                return value if fits and isinstance(value, int) else None
            case "number":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    return None
                fits = math.isfinite(value) and self.minimum <= value <= self.maximum
                return float(value) if fits else None
            case "truth":
                return value if isinstance(value, bool) else None
            case "texts":
                return _texts(value)
            case "span":
                whole = type(value) is int and -1 <= value <= MOST_TOKENS
                if whole or (isinstance(value, str) and _SPAN.fullmatch(value)):
                    return value if isinstance(value, int | str) else None
                return None
            case _:
                return value if isinstance(value, str) and value in self.choices else None

    def _wrong(self, value: object) -> InvalidValue:
        if self.is_number:
            template = (
                N_("{name} must be a whole number from {minimum} to {maximum}, not {value!r}.")
                if self.kind == "whole"
                else N_("{name} must be a number from {minimum} to {maximum}, not {value!r}.")
            )
            return InvalidValue(
                template,
                name=self.name,
                minimum=f"{self.minimum:.0f}" if self.kind == "number" else self.minimum,
                maximum=f"{self.maximum:.0f}" if self.kind == "number" else self.maximum,
                value=value,
            )
        if self.kind == "truth":
            return InvalidValue(
                N_("{name} must be true or false, not {value!r}."), name=self.name, value=value
            )
        if self.kind == "choice":
            return InvalidValue(
                N_("{name} cannot be {value!r}."),
                remedy=N_("Use one of: {choices}."),
                name=self.name,
                value=value,
                choices=", ".join(self.choices),
            )
        if self.kind == "span":
            return InvalidValue(
                N_("{name} must be a time such as 30m or 24h, or -1 for ever, not {value!r}."),
                name=self.name,
                value=value,
            )
        return InvalidValue(
            N_("{name} must be a text, or a JSON list of at most {count} texts."),
            name=self.name,
            count=_MOST_TEXTS,
        )


def _list(text: str) -> object:
    """A JSON list where it is written as one, else the text itself."""
    if not text.lstrip().startswith("["):
        return text
    try:
        found: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return found


def _texts(value: object) -> str | list[str] | None:
    one = isinstance(value, str)
    several = [value] if one else value
    if not isinstance(several, list | tuple) or not 0 < len(several) <= _MOST_TEXTS:
        return None
    if not all(isinstance(each, str) and 0 < len(each) <= _LONGEST_TEXT for each in several):
        return None
    return value if isinstance(value, str) else list(several)


def _table(*rows: Parameter) -> Mapping[str, Parameter]:
    return MappingProxyType({row.name: row for row in rows})


PARAMETERS = _table(
    Parameter("temperature", "number", 0, 2),
    Parameter("top_p", "number", 0, 1),
    Parameter("max_tokens", "whole", 1, MOST_TOKENS),
    Parameter("presence_penalty", "number", -2, 2),
    Parameter("frequency_penalty", "number", -2, 2),
    Parameter("n", "whole", 1, 128),
    Parameter("seed", "whole", -(2**63), 2**63 - 1),
    Parameter("stop", "texts"),
    Parameter(
        "reasoning_effort",
        "choice",
        choices=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    ),
    Parameter("verbosity", "choice", choices=("low", "medium", "high")),
    Parameter("parallel_tool_calls", "truth"),
)
"""Parameters of a request that a profile can give a default, by OpenAI's names. `max_tokens`
stands for `max_completion_tokens` as well."""

CAPPED: tuple[str, ...] = (
    "temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "n",
)  # fmt: skip
"""Those a profile can hold to a largest value."""

OPTIONS = _table(
    Parameter("num_ctx", "whole", 256, 10_000_000),
    Parameter("keep_alive", "span"),
    Parameter("num_keep", "whole", -1, MOST_TOKENS),
    Parameter("num_batch", "whole", 1, 65_536),
    Parameter("num_gpu", "whole", -1, 10_000),
    Parameter("main_gpu", "whole", 0, 255),
    Parameter("num_thread", "whole", 0, 1_024),
    Parameter("use_mmap", "truth"),
    Parameter("top_k", "whole", 0, MOST_TOKENS),
    Parameter("min_p", "number", 0, 1),
    Parameter("typical_p", "number", 0, 1),
    Parameter("repeat_last_n", "whole", -1, MOST_TOKENS),
    Parameter("repeat_penalty", "number", 0, 10),
    Parameter("mirostat", "whole", 0, 2),
    Parameter("mirostat_tau", "number", 0, 100),
    Parameter("mirostat_eta", "number", 0, 10),
)
"""Options of the engine, which clients cannot set over a profile. Engines other than Ollama have
none of them in a request and leave them out."""
