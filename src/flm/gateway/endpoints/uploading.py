"""A form on its way from a client to an engine, while it arrives.

Its pieces go from the client's connection through the form to the engine's connection; nothing
is kept but what comes before the model is known. A slow engine holds the client back, a client
that leaves takes the engine's connection along, and an engine may answer before it has it all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.errors import Refusal
from flm.gateway.edge.reader import overloaded
from flm.gateway.endpoints.asking import OK, Asking
from flm.gateway.upstream.answer import Answer
from flm.gateway.upstream.connection import EngineConnection

if TYPE_CHECKING:
    from flm.dialects.multipart_form import MultipartForm
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.exchange import Exchange

MAX_KEPT = 32 << 20
"""Bytes that are kept of a form whose model is not known: no more than of any other body."""


class Uploading:
    """One form. A context: on leaving, nothing of it is held any more."""

    def __init__(
        self, exchange: Exchange, desk: GatewayDesk, form: MultipartForm, kind: str
    ) -> None:
        """`kind`: the form's content type, boundary and all."""
        upload = exchange.upload
        assert upload is not None
        self._upload = upload
        self._exchange = exchange
        self._desk = desk
        self._form = form
        self._kind = kind
        self._counted = 0
        self._engine: EngineConnection | None = None
        self._sent = False
        self._over = False

    @property
    def begun(self) -> bool:
        """Whether some of it has gone to an engine."""
        return self._engine is not None

    def __enter__(self) -> Uploading:
        return self

    def __exit__(self, *reason: object) -> None:
        self._over = True
        self._uncount()
        self._upload.close()

    async def named(self) -> str | None:
        """The client's name for the model; None when it is not in the first 32 MiB.

        Raises `Refusal` for what is wrong with the form, and when there is no name in it.
        """
        form, upload = self._form, self._upload
        while form.model is None:
            pieces = await upload.more()
            if not pieces:
                form.end()
            for piece in pieces:
                form.feed(piece)
            self._count()
            if form.kept > MAX_KEPT:
                break
        return form.model

    def _count(self) -> None:
        """Count what is kept among all bodies that are. Raises `Refusal` 503 `overloaded`."""
        more = self._form.kept - self._counted
        self._counted += more
        if not self._desk.caps.buffer_body(more):
            raise overloaded()

    def _uncount(self) -> None:
        self._desk.caps.bodies -= self._counted
        self._counted = 0

    async def send(self, asking: Asking, path: str, model: str) -> Answer:
        """Pass the form on, with the target's own name for `model`; the answer, once its head
        is there: that may be before the form is.
        """
        engine = await asking.connect()
        form, upload, exchange = self._form, self._upload, self._exchange
        first = form.begin(asking.target.model, model)
        self._uncount()
        self._engine = engine
        if upload.whole:  # small, as most of what people say into a microphone
            pieces = [first, *map(form.feed, await upload.more()), form.end()]
            self._sent = True
            asking.start(path, self._kind, b"content-length: %d\r\n" % sum(map(len, pieces)))
            for piece in pieces:
                engine.send(piece)
            exchange.deadline = self._desk.tick + self._desk.live.rules.first_byte_seconds
        else:
            asking.start(path, self._kind, b"transfer-encoding: chunked\r\n")
            engine.on_drained = self._drained
            self._pass(first)
            upload.pour(self._take)
        answer = await asking.headed()
        if answer.status != OK and not self._sent:
            self._over = True
            upload.close()
        return answer

    def finish(self) -> None:
        """Nothing more is sent: the connection is of no further use unless all of it was."""
        self._over = True
        if self._engine is not None and not self._sent:
            self._engine.close()

    def _take(self, data: bytes) -> None:
        """A piece from the client, b"" at the end. Called by its connection: must not raise."""
        if self._over:
            return
        try:
            out = self._form.feed(data) if data else self._form.end()
        except Refusal as refusal:
            self._over = True
            self._exchange.abort(refusal)
            return
        self._pass(out)
        if not data:
            self._finished()

    def _pass(self, data: bytes) -> None:
        engine = self._engine
        assert engine is not None
        if data:
            engine.send(b"%x\r\n%b\r\n" % (len(data), data))
        if engine.full:
            self._upload.hold()
            self._exchange.deadline = self._desk.tick + self._desk.live.rules.idle_seconds

    def _finished(self) -> None:
        assert self._engine is not None
        self._engine.send(b"0\r\n\r\n")
        self._sent = True
        self._exchange.deadline = self._desk.tick + self._desk.live.rules.first_byte_seconds

    def _drained(self) -> None:
        """The engine has caught up."""
        if not self._sent and not self._over:
            self._exchange.deadline = None
            self._upload.go_on()
