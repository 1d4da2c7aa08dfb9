"""Requests of Ollama's clients to Ollama itself, and its answers, passed on."""

from __future__ import annotations

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_ollama.options import for_ollama
from flm.dialects.client_ollama.request import Given
from flm.dialects.codec import Count, EngineAnswer, EngineCall, StreamReader, Usage
from flm.dialects.engine_errors import bad_answer, explain
from flm.errors import EngineError, StreamBroken
from flm.wire.snapshot import Target

Raw = msgspec.Raw
Fields = dict[str, Raw]
MAX_LINE = 1 << 20
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_FALSE = Raw(b"false")
_NO_ERROR = (b"", b"null", b'""')


class _Said(msgspec.Struct, gc=False):
    """What of a message shows that the answer has begun."""

    content: str = ""
    thinking: str = ""
    tool_calls: Raw = Raw(b"")


class _Line(msgspec.Struct, gc=False):
    """What is read of a line."""

    model: str | None = None
    message: _Said | None = None
    response: str = ""
    thinking: str = ""
    done: bool = False
    prompt_eval_count: Count | None = None
    eval_count: Count | None = None
    error: Raw = Raw(b"")

    @property
    def usage(self) -> Usage | None:
        """What was counted; Ollama leaves zeros out."""
        if self.prompt_eval_count is None and self.eval_count is None:
            return None
        return Usage(self.prompt_eval_count or 0, self.eval_count or 0)

    @property
    def says(self) -> bool:
        """Whether it holds text, a thought or a tool call."""
        said = self.message
        if self.response or self.thinking:
            return True
        return said is not None and bool(
            said.content or said.thinking or bytes(said.tool_calls) not in (b"", b"null", b"[]")
        )


_decode_line = msgspec.json.Decoder(_Line).decode


class OllamaNative:
    """`Native` for Ollama: `/api/chat` or `/api/generate` as the client asked it.

    The options are the client's that sample, `num_ctx` the owner's. Where the client says
    nothing, Ollama is told to refuse what does not fit (`truncate`, `shift`): it would cut the
    prompt in silence.
    """

    def __init__(self, path: str, given: Given) -> None:
        self._path = path
        self._given = given

    def call(self, target: Target) -> EngineCall:
        """See `Native.call`."""
        given = self._given
        fields: Fields = {"truncate": _FALSE, "shift": _FALSE, **given.fields}
        fields.pop("keep_alive", None)
        fields["model"] = Raw(_encode(target.model))
        fields["options"] = for_ollama(given.options, target.num_ctx)
        return EngineCall(self._path, _encode(fields), given.owners)

    def answer(self, target: Target, body: bytes) -> EngineAnswer:
        """See `Native.answer`."""
        line = _read(body, target)
        if not line.done:
            raise bad_answer("it is not whole")
        return EngineAnswer(_renamed(body, self._given.chat.model), line.usage)

    def stream(self, target: Target) -> StreamReader:
        """See `Native.stream`."""
        return OllamaLines(self._given.chat.model, target)


class OllamaLines:
    """A `StreamReader` for lines that the client reads as they are, but for the model's name.

    A line of Ollama's begins with that name, and only there it is exchanged: arguments of tools
    may hold the same bytes. What is looked for stands in double quotes, and inside a string of
    JSON these have a backslash before them. Empty lines are left out, as they break clients.
    """

    def __init__(self, model: str, target: Target) -> None:
        self.tail = b""
        self.finished = False
        self.usage: Usage | None = None
        self.started = False
        self._model = model
        self._target = target
        self._carry = bytearray()
        self._theirs = b'{"model":%b,' % _encode(target.model)
        self._ours = b'{"model":%b,' % _encode(model)
        self._same = target.model == model

    def feed(self, data: bytes) -> bytes:
        """See `StreamReader.feed`."""
        if self.finished:
            return b""
        carry = self._carry
        if not carry and self.started and self._is_plain(data):
            # One line, and none of those that FLM must see.
            return data if self._same else self._ours + data[len(self._theirs) :]
        carry += data
        out: list[bytes] = []
        try:
            if data.find(b"\n") >= 0:
                *lines, rest = bytes(carry).split(b"\n")
                carry[:] = rest
                self._lines(lines, out)
            if len(carry) > MAX_LINE:
                raise StreamBroken(
                    "The engine sent an event of more than 1 MB.", code="event_too_large"
                )
        except EngineError as error:
            error.before = b"".join(out)
            raise
        return b"".join(out)

    def guess(self, usage: Usage) -> None:
        """See `StreamReader.guess`: where Ollama tells no counts, its clients expect none."""
        del usage

    def shape(self, data: bytes) -> None:
        """See `StreamReader.shape`. Every line has a time of its own."""
        del data

    def end(self) -> None:
        """See `StreamReader.end`. A last line without a line end counts."""
        if not self.finished and self._carry.strip():
            out: list[bytes] = []
            self._lines([bytes(self._carry)], out)
            if not self.finished:
                error = StreamBroken("The engine's stream ended before it was complete.")
                error.before = b"".join(out)
                raise error
        if not self.finished:
            raise StreamBroken("The engine's stream ended before it was complete.")

    def _is_plain(self, data: bytes) -> bool:
        return (
            data.endswith(b',"done":false}\n')
            and data.startswith(self._theirs)
            and data.count(b"\n") == 1
            and data.find(b'"error"') < 0
        )

    def _lines(self, lines: list[bytes], out: list[bytes]) -> None:
        for line in lines:
            if not line.strip():
                continue
            read = _read(line, self._target)
            renamed = self._renamed(line)
            self.started = self.started or read.says
            if read.done:
                self.usage = read.usage
                self.finished = True
                self.tail = renamed
                self._carry.clear()
                return
            out.append(renamed)

    def _renamed(self, line: bytes) -> bytes:
        if line.startswith(self._theirs):
            return b"%b%b\n" % (self._ours, line[len(self._theirs) :])
        return _renamed(line, self._model) + b"\n"


def _read(data: bytes, target: Target) -> _Line:
    """`data` as a line. Raises `EngineError` when it says an error, or is none."""
    try:
        line = _decode_line(data)
    except UNREADABLE as error:
        raise bad_answer("it is not what Ollama's API says") from error
    if bytes(line.error) not in _NO_ERROR:
        raise explain(200, {}, data, target)
    return line


def _renamed(body: bytes, model: str) -> bytes:
    """`body` with the client's name for the model, on one line."""
    fields = _decode_fields(body)
    return _encode({**fields, "model": Raw(_encode(model))})
