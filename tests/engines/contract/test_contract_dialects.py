"""Every engine in every client's dialect: the same words, calls, tokens and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from contract_dialects import Dialect, Told, in_each, said
from contract_specimens import FAKES
from contract_talk import House

from support.fakes.base import dropped
from support.fakes.specimen import Specimen
from support.raw_client import ask, request

every = pytest.mark.parametrize("specimen", FAKES, ids=str)
with_tools = pytest.mark.parametrize("specimen", [each for each in FAKES if each.call], ids=str)


@every
@in_each
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_words_and_tokens_are_the_engine_s(
    served: House, specimen: Specimen, dialect: Dialect, stream: bool
) -> None:
    """And the end is the dialect's."""
    answer = said(served, specimen, dialect, stream)
    assert answer.status == 200, answer.body
    read: Callable[[Any], Told] = dialect.streamed if stream else dialect.whole
    told = read(answer.body if stream else answer.json())
    assert told == (specimen.text, None, specimen.tokens, dialect.stop)
    record = served.gateway.records()[-1]
    assert (record.route, record.engine, record.error) == (dialect.path, specimen.id, "")


@with_tools
@in_each
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tool_call_arrives_whole(
    served: House, specimen: Specimen, dialect: Dialect, stream: bool
) -> None:
    """Its name, its arguments as the dialect has them, and why the answer ended."""
    answer = said(served, specimen, dialect, stream, tools=True)
    assert answer.status == 200, answer.body
    read: Callable[[Any], Told] = dialect.streamed if stream else dialect.whole
    told = read(answer.body if stream else answer.json())
    assert (told.call, told.reason) == (specimen.call, dialect.tool)


@every
@in_each
def test_an_unknown_model_is_an_error_of_the_dialect(
    served: House, specimen: Specimen, dialect: Dialect
) -> None:
    """404, in its shape."""
    body = json.dumps(dialect.body(f"{specimen.id}/nobody", False, False)).encode()
    answer = ask(served.gateway.port, request("POST", dialect.path, body=body))
    assert answer.status == 404
    assert "does not exist" in dialect.error(answer.json())


@every
@in_each
def test_an_engine_that_hangs_up_is_an_error_of_the_dialect(
    served: House, specimen: Specimen, dialect: Dialect
) -> None:
    """502 before a word of the answer."""
    fake = served.places[specimen.id]
    for path in (specimen.chat, "/v1/messages", "/v1/responses"):
        fake.fault(path, dropped(0))
    answer = said(served, specimen, dialect)
    assert answer.status == 502
    assert dialect.error(answer.json())
