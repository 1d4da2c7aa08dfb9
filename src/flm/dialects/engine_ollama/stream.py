"""Ollama's stream, one JSON object on each line, as OpenAI's server-sent events."""

from __future__ import annotations

import msgspec

from flm.dialects.engine_ollama.answer import (
    FINGERPRINT,
    AnsweredMessage,
    Line,
    Logprob,
    ToolCall,
    finish_reason,
    tool_calls,
)
from flm.dialects.engine_ollama.lines import OllamaLines
from flm.dialects.engine_openai.usage import usage_object
from flm.dialects.openai_chat import ChatRequest
from flm.wire.snapshot import Target

END_MARK = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode
_AFTER = b'},"logprobs":null,"finish_reason":null}]}\n\n'


class _Delta(msgspec.Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class OllamaStream(OllamaLines):
    """A `StreamReader` for `/api/chat`."""

    def __init__(self, request: ChatRequest, target: Target, created: int, answer_id: str) -> None:
        super().__init__(target)
        self._include_usage = request.include_usage
        self._answer_id = answer_id
        self._opened = False
        self._calls = 0
        head = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
        }
        # What is the same in every chunk, up to where the choices stand.
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._before = self._head + b'{"index":0,"delta":{"content":'

    def _last(self, line: Line, out: list[bytes]) -> bool:
        if not self._opened:
            self._opened = True
            out.append(self._chunk(_Delta(role="assistant", content="")))
        message = line.message
        if (
            message is not None
            and message.content
            and not message.thinking
            and message.tool_calls is None
            and line.logprobs is None
        ):
            # Nearly every line: what stands around its text need not be made again each time.
            self.started = True
            out.append(b"".join((self._before, _encode(message.content), _AFTER)))
        else:
            delta = self._delta(message) if message is not None else None
            if delta is not None or line.logprobs:
                self.started = self.started or delta is not None
                out.append(self._chunk(delta or _Delta(content=""), line.logprobs))
        if line.done:
            self._done(line, out)
        return line.done

    def _delta(self, message: AnsweredMessage) -> _Delta | None:
        """What the message adds; None when that is nothing."""
        if not (message.content or message.thinking or message.tool_calls):
            return None
        delta = _Delta(content=message.content or None)
        if message.thinking:
            # Clients know the one name or the other; the text is the same.
            delta.reasoning_content = delta.reasoning = message.thinking
        if message.tool_calls:
            delta.tool_calls = tool_calls(message.tool_calls, self._calls, self._answer_id)
            self._calls += len(message.tool_calls)
        return delta

    def _done(self, line: Line, out: list[bytes]) -> None:
        out.append(self._chunk(_Delta(), None, finish_reason(line, self._calls > 0)))
        self.usage = line.usage
        if self._include_usage:
            out.append(self._head + b'],"usage":' + _encode(usage_object(line.usage)) + b"}\n\n")
        self.finished = True
        self.tail = END_MARK

    def _chunk(
        self, delta: _Delta, logprobs: list[Logprob] | None = None, finish: str | None = None
    ) -> bytes:
        said = None if logprobs is None else {"content": logprobs, "refusal": None}
        return b'%b{"index":0,"delta":%b,"logprobs":%b,"finish_reason":%b}]}\n\n' % (
            self._head,
            _encode(delta),
            _encode(said),
            _encode(finish),
        )
