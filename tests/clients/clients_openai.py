"""What the tests of OpenAI's SDK share: what is said to the models, and what one describes."""

from __future__ import annotations

from clients_house import WHERE
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
BOTH: list[ChatCompletionMessageParam] = [{"role": "user", "content": WHERE}]


class Thing(BaseModel):
    """What the actor describes where a schema is asked for."""

    name: str
    height: int
