"""Asking an engine for a count of tokens, in the ways engines know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flm.dialects import counting
from flm.dialects.codec import EngineCall, Usage
from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import ChatRequest
from flm.errors import EngineError
from flm.gateway.endpoints.asking import Asking
from flm.gateway.running import in_task
from flm.gateway.upstream.answer import END
from flm.wire.snapshot import Target

if TYPE_CHECKING:
    from flm.gateway.desk import GatewayDesk
    from flm.gateway.exchange import Exchange


class Counter:
    """Asks one engine. None: it cannot tell, sleeps, or fails. Nothing is woken for it."""

    def __init__(self, exchange: Exchange, desk: GatewayDesk, target: Target) -> None:
        self._exchange = exchange
        self._desk = desk
        self._target = target

    async def by_call(self, call: EngineCall) -> int | None:
        """What the engine answers to a request for a count in Anthropic's dialect."""
        body = await self._ask(call)
        return None if body is None else counting.counted_in(body)

    async def prompt(self, chat: ChatRequest) -> int | None:
        """What the engine's tokenizer makes of the messages."""
        target = self._target
        if "tokenize" not in target.native:
            return None
        body = await self._ask(counting.tokenizing(chat, target))
        count = None if body is None else counting.tokens_in(body)
        if count is not None:
            return count
        body = await self._ask(counting.templating(chat, target))
        prompt = None if body is None else counting.prompt_in(body)
        return None if prompt is None else await self.text(prompt)

    async def text(self, text: str) -> int | None:
        """What the engine's tokenizer makes of a text."""
        body = await self._ask(counting.tokenizing_text(text, self._target))
        if body is None:
            return None
        count = counting.tokens_in(body)
        return counting.listed_in(body) if count is None else count

    async def usage(self, chat: ChatRequest, body: bytes) -> Usage | None:
        """The tokens of a request and its whole answer, which told none itself."""
        prompt = await self.prompt(chat)
        said = None if prompt is None else await self.text(counting.said_in(body))
        return None if said is None else Usage(prompt, said)

    async def _ask(self, call: EngineCall) -> bytes | None:
        """The engine's answer; None when it sleeps, is gone, or answers with an error."""
        await in_task()  # one exchange may ask several times
        desk = self._desk
        live = desk.live.target(self._target.id)
        if live is None:
            return None
        try:
            with Asking(self._exchange, desk) as asking:
                target = asking.use(live)
                if target is None:
                    return None
                await asking.ask(call, END)
                return asking.result(CODECS[target.dialect])
        except EngineError:
            return None  # a guess helps more than an error: nobody is answered by a count
