"""A request without a prompt: a model is loaded, or was to be unloaded."""

from __future__ import annotations

import msgspec

from flm.dialects.client_ollama.request import Loading
from flm.dialects.client_ollama.written import CHAT, EMPTY, GENERATE, body_of, head_of
from flm.dialects.codec import EngineCall
from flm.wire.snapshot import Target

_encode = msgspec.json.Encoder().encode


def load_call(target: Target) -> EngineCall | None:
    """What makes an Ollama load its model as the owner has it; None: other engines need nothing
    but to be awake.
    """
    if target.dialect != "ollama":
        return None
    options = {} if target.num_ctx is None else {"num_ctx": target.num_ctx}
    body = {"model": target.model, "stream": False, "options": options}
    return EngineCall("/api/generate", _encode(body))


def loaded(asked: Loading, now: float) -> bytes:
    """The answer to it: one object, also for clients that stream. `now` are UTC seconds."""
    reason = b"unload" if asked.unload else b"load"
    said = body_of(CHAT if asked.chat else GENERATE, EMPTY)
    return b'%b%b,"done":true,"done_reason":"%b"}' % (head_of(asked.model, now), said, reason)
