"""Every error FLM raises on purpose, one tree.

::

    FlmError                      code, message, remedy, HTTP status, exit code
    ├── UserError                 the user can mend it (exit 1)
    │   ├── InvalidValue          a setting, flag, file or argument is wrong
    │   ├── NotFound              no such key, engine, model, setting
    │   ├── Conflict              the name, port or data directory is taken
    │   ├── NotRunning            no controller answers for this data directory
    │   └── NotPermitted          another user's data, a non-loopback address
    ├── InternalError             FLM failed (exit 2)
    │   ├── StoreError            a database is damaged, locked too long or too new
    │   └── StartError            the controller or the gateway did not come up
    ├── Refusal                   a request the gateway answers with an error
    └── EngineError               what an engine answered or failed to answer
        └── StreamBroken          a response that began and did not end as it should

Errors are translated to HTTP, the terminal and the page only at the edges: ``message`` is
English; the CLI translates ``template`` and ``remedy_template`` and fills in ``values``.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for a deferred message
    """Mark a literal for the catalogues without translating it: the edge translates."""
    return text


class FlmError(Exception):
    """Root of the tree.

    ``template`` and ``remedy`` are `str.format` templates marked with `N_` where they are
    written; ``values`` fill both. ``code`` is stable and never translated.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 2

    def __init__(
        self, template: str, /, *, remedy: str = "", code: str | None = None, **values: object
    ) -> None:
        super().__init__(template)
        self.template = template
        self.remedy_template = remedy
        self.values = values
        if code is not None:
            self.code = code  # type: ignore[misc] # one class, several stable codes

    @property
    def message(self) -> str:
        """The English sentence with its values filled in."""
        return self.template.format(**self.values) if self.values else self.template

    @property
    def remedy(self) -> str:
        """What to do about it, in English; empty when nothing can be said."""
        return self.remedy_template.format(**self.values) if self.values else self.remedy_template

    def __str__(self) -> str:
        return self.message


class UserError(FlmError):
    """Something the user can mend: exit code 1, HTTP 400."""

    code = "invalid_request"
    status = 400
    exit_code = 1


class InvalidValue(UserError):
    """A value that is not what it must be; the message says what would be right."""

    code = "invalid_value"


class NotFound(UserError):
    """A name that means nothing here."""

    code = "not_found"
    status = 404


class Conflict(UserError):
    """Something of that name, at that port or in that directory is there already."""

    code = "conflict"
    status = 409


class NotRunning(UserError):
    """Nothing serves this data directory."""

    code = "not_running"
    status = 503


class NotPermitted(UserError):
    """Allowed by the machine, refused by FLM's rules (or the other way round)."""

    code = "not_permitted"
    status = 403


class InternalError(FlmError):
    """FLM failed at something the user could not have prevented: exit code 2."""


class StoreError(InternalError):
    """A database cannot be opened, migrated or written."""

    code = "store_error"


class StartError(InternalError):
    """A process of ours did not come up in time, or came up and left."""

    code = "start_failed"


class Refusal(FlmError):
    """A request the gateway answers with an error, in the client's dialect.

    ``kind`` is the OpenAI error type, ``param`` the field at fault, ``retry_after`` whole
    seconds for the header of that name, ``close`` whether the connection ends with it.
    """

    exit_code = 1

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        retry_after: int | None = None,
        should_retry: bool | None = None,
        close: bool = False,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.status = status  # type: ignore[misc] # each refusal says its own
        self.kind = kind
        self.param = param
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.close = close
        self.headers = headers

    @property
    def message(self) -> str:
        """The English sentence; never formatted, it may quote what a client sent."""
        return self.template


class Overflow(NamedTuple):
    """By how much a request does not fit into a model's context, in tokens.

    ``output``: how many the answer may have, where the engine adds it up; ``at_least``: it stopped
    counting the prompt when it knew that it does not fit.
    """

    prompt: int
    context: int
    output: int = 0
    at_least: bool = False


class EngineError(Refusal):
    """What an engine answered instead of a result, cleaned and with its meaning kept.

    ``before``: events of the same piece of a stream that came before the error, for the client;
    ``overflow``: of a prompt that is too long, where the engine said the numbers: dialects have
    words of their own for it, which their clients read.
    """

    before: bytes = b""
    overflow: Overflow | None = None


class StreamBroken(EngineError):
    """A response that began and did not end as it should: an error event, then the end."""

    def __init__(self, message: str, *, code: str = "stream_interrupted") -> None:
        super().__init__(502, code, message, kind="upstream_error", should_retry=False)
