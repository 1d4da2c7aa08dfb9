"""Which engines a request is asked of, one after the other, and what became of those before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from flm.domain.records import MAX_TRIES, RecordDetails, Try
from flm.domain.traits import Api
from flm.errors import EngineError, Refusal
from flm.gateway.able import cannot
from flm.gateway.live import LiveTarget
from flm.wire.snapshot import Published

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.exchange import Exchange

_encode: Final = msgspec.json.Encoder().encode
_TRY_ANOTHER: Final = frozenset({429, 500, 502, 503, 504})


class Course:
    """The homes of a model, then those of its fallbacks, best first.

    `next` gives each once; `failed` says whether an error leads to the next one. Those whose
    breaker is open come last: where nobody else is left, a rest is worse than an error of the
    engine's own. ``passed_on``: the engine that is asked gets what the client sent, in its own
    dialect. A model that has one home and no fallback costs one look into a dict.
    """

    __slots__ = (
        "_api",
        "_desk",
        "_error",
        "_exchange",
        "_left",
        "_names",
        "_resting",
        "_trace",
        "_tries",
        "passed_on",
        "published",
    )

    def __init__(
        self, exchange: Exchange, desk: GatewayDesk, name: str, api: Api | None = None
    ) -> None:
        """`api`: what an engine must speak by itself to be asked."""
        exchange.model = name
        self._exchange = exchange
        self._api = api
        self._desk = desk
        self._names: tuple[str, ...] = (name,)
        self._left: tuple[LiveTarget, ...] = ()
        self._resting: tuple[LiveTarget, ...] = ()
        self._tries: tuple[Try, ...] = ()
        self._error: Refusal | None = None
        self._trace = ""
        self.passed_on = False
        self.published: Published | None = None
        plan = desk.live.plan(name, exchange.key_id)
        if plan is not None:
            self.published, self._names = plan.published, plan.names
            if plan.published is not None:
                exchange.api = plan.published.name

    def follows(self, trace: str) -> None:
        """What the conversation is known by: see `choosing.ordered`."""
        self._trace = trace

    @property
    def wants_trace(self) -> bool:
        """Whether it could matter which conversation it is."""
        return self._desk.live.has_choice

    def next(self) -> LiveTarget:
        """The next target to ask.

        Raises, when there is none, the last error of an engine that was asked, else why none
        could be: `Refusal` 404 `model_not_found`, 503 `engine_unavailable`.
        """
        live, now = self._desk.live, self._desk.tick
        if len(self._names) == 1 and not (self._left or self._resting or self._api):
            only = live.only(self._names[0])
            if only is not None:  # whether it rests or not: there is nobody else
                self._names = ()
                return only
        while True:
            while self._left:
                found = live.target(self._left[0].target.id)
                self._left = self._left[1:]
                if found is None:
                    continue  # withdrawn while another one was asked
                if self._api is not None and self._api not in found.target.native:
                    self._skip(found.target.id, cannot(live.routes, found.target, self._api))
                    continue
                if found.breaker.waits(now):
                    self._resting += (found,)
                    continue
                return found
            if not self._names:
                break
            name, self._names = self._names[0], self._names[1:]
            try:
                self._left = tuple(live.candidates(name, live.places.of(self._trace), now))
            except Refusal as refusal:
                self._skip(name, refusal)
        while self._resting:
            found = live.target(self._resting[0].target.id)  # as it is by now
            self._resting = self._resting[1:]
            if found is not None:
                return found
        assert self._error is not None
        raise self._error

    def _skip(self, target: str, refusal: Refusal) -> None:
        """Note what could not even be asked; what an engine said itself says more."""
        if len(self._tries) < MAX_TRIES:
            self._tries += (Try(target, refusal.code),)
        if not isinstance(self._error, EngineError):
            self._error = self._error or refusal

    def failed(self, live: LiveTarget, refusal: Refusal) -> bool:
        """Whether the request may be asked again after that: of another engine, or translated of
        this one, when it has no route for what its kind speaks (older versions have not).
        """
        if self.passed_on and refusal.code == "unsupported_operation":
            live.unspoken.add(self._exchange.dialect)
            self._left = (live, *self._left)
            return True
        if refusal.status not in _TRY_ANOTHER or refusal.code == "internal_error":
            return False
        if not self._left and not self._names and not self._resting:
            return False
        self._error = refusal
        if len(self._tries) < MAX_TRIES:
            self._tries += (Try(live.target.id, refusal.code),)
        return len(self._tries) < MAX_TRIES

    def answered(self, live: LiveTarget) -> None:
        """Remember where this conversation is."""
        if self._trace:
            self._desk.live.places.note(self._trace, live.target.id)

    def note(self, live: LiveTarget | None, dropped: tuple[str, ...]) -> None:
        """Put into the record what few records have. `live`: who answered, or failed last."""
        published = self.published
        remote = live is not None and live.target.remote
        if not (self._tries or dropped or remote or published):
            return
        profile = None if published is None else published.profile
        self._exchange.details = _encode(
            RecordDetails(
                tries=self._tries,
                template="" if published is None else published.template,
                profile="" if profile is None else profile.name,
                remote=remote,
                dropped=dropped,
            )
        ).decode()


def details_with(dropped: tuple[str, ...]) -> str:
    """The details of a record that has nothing but dropped fields."""
    return _encode(RecordDetails(dropped=dropped)).decode()
