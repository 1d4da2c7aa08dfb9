"""What is kept of a response, and how a chain of them is a history again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responses_support import SEED, STAMP, completion, conversation, messages, sent

from flm.dialects.client_responses.asked import parse_responses
from flm.dialects.client_responses.kept import (
    KeptResponse,
    by_id,
    listed,
    not_kept,
    readable,
    resolved,
    response_of,
)
from flm.domain.policy import Policy
from flm.errors import Refusal

CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}


def kept(message: dict[str, Any], **fields: Any) -> KeptResponse:
    """The turn of a request with these fields that was answered with this message."""
    made = conversation(**fields)
    answer = made.answer(completion(**message), None, STAMP)
    id_, turn = made.to_keep(answer)
    assert id_ == f"resp_{SEED}"
    return turn


def items(turn: KeptResponse) -> Any:
    """The input of a turn as it is kept."""
    return json.loads(turn.items)


def test_a_turn_is_the_same_after_it_was_packed():
    """Bytes and back; other bytes are no turn."""
    turn = kept({"content": "hello 🎉"}, previous_response_id="resp_0")
    assert readable(turn.pack()) == turn
    assert turn.previous == "resp_0"
    assert readable(b"\x93nonsense") is None


def test_easy_messages_are_kept_in_full_and_every_item_has_an_id():
    """As the API lists them."""
    turn = kept(
        {"content": "x"},
        input=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "ho"},
            {"type": "function_call_output", "id": "own", "call_id": "c", "output": "1"},
        ],
    )
    assert items(turn) == [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}], "type": "message",
         "status": "completed", "id": f"msg_{SEED}_i0"},
        {"role": "assistant",
         "content": [{"type": "output_text", "text": "ho", "annotations": []}],
         "type": "message", "status": "completed", "id": f"msg_{SEED}_i1"},
        {"type": "function_call_output", "id": "own", "call_id": "c", "output": "1"},
    ]  # fmt: skip


def test_a_chain_is_the_whole_history_without_its_instructions():
    """Input and output of each turn, oldest first; then what is said now."""
    first = kept({"content": None, "tool_calls": [CALL], "reasoning": "hm"},
                 input="weather?", instructions="old")  # fmt: skip
    second = kept(
        {"content": "Rain."},
        input=[{"type": "function_call_output", "call_id": "c1", "output": "rain"}],
    )
    made = conversation(first, second, input="thanks", instructions="new")
    assert messages(made) == [
        {"role": "system", "content": "new"},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "thanks"},
    ]


def test_a_turn_may_add_nothing_to_its_chain():
    """The history alone is a request."""
    first = kept({"content": "a"}, input="hi")
    made = conversation(first, input=None, previous_response_id=f"resp_{SEED}")
    assert [message["content"] for message in messages(made)] == ["hi", "a"]


def test_a_named_item_is_taken_from_where_it_was_kept():
    """The Vercel AI SDK names items instead of sending them."""
    turn = kept({"content": "the answer"}, input="q")
    body = {
        "model": "m",
        "input": [
            {"role": "user", "content": "q"},
            {"type": "item_reference", "id": f"msg_{SEED}_0"},
            {"id": f"msg_{SEED}_i0"},
        ],
    }
    asked = parse_responses(json.dumps(body).encode(), Policy())
    assert asked.references == (f"msg_{SEED}_0", f"msg_{SEED}_i0")
    assert [response_of(one) for one in asked.references] == [f"resp_{SEED}"] * 2
    found = resolved(asked, by_id([turn]))
    assert [given.item.kind for given in found.items] == ["message"] * 3
    with pytest.raises(Refusal) as caught:
        resolved(asked, {})
    assert (caught.value.code, caught.value.param) == ("item_not_found", "input[1]")


@pytest.mark.parametrize("item", ["", "msg", "msg_", "fc_1", "x" * 200 + "_a_1", "_", "__"])
def test_an_item_of_somebody_else_belongs_to_no_response(item: str):
    """Nothing is asked for."""
    assert response_of(item) is None


def test_input_items_are_listed_in_pages():
    """Newest first unless asked otherwise; after one that is there."""
    turn = kept({"content": "x"}, input=[{"role": "user", "content": str(n)} for n in range(3)])
    page = json.loads(listed(turn, 2, False, None) or b"")
    ids = [f"msg_{SEED}_i{n}" for n in range(3)]
    assert [one["id"] for one in page["data"]] == [ids[2], ids[1]]
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[2], ids[1])
    assert page["has_more"] is True
    rest = json.loads(listed(turn, 2, True, ids[1]) or b"")
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[2]], False)
    assert listed(turn, 2, True, "nobody") is None


def test_an_answer_that_was_not_kept_says_so():
    """And is the same otherwise, whatever is in it."""
    made = conversation(metadata={"store": "true"}, tools=[{"type": "function", "name": "store"}])
    answer = made.answer(completion(content='"store":true'), None, STAMP)
    before, after = json.loads(answer), json.loads(not_kept(answer))
    assert (before.pop("store"), after.pop("store")) == (True, False)
    assert before == after


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), words)
def test_nothing_said_in_a_chain_is_lost(said: list[tuple[str, str]], last: str):
    """Every question and every answer, word for word."""
    chain = [kept({"content": answer}, input=question) for question, answer in said]
    texts = [message["content"] for message in messages(conversation(*chain, input=last))]
    assert texts == [*(text for pair in said for text in pair), last]


def test_a_history_brings_no_tools_but_the_names_of_its_calls():
    """Tools are asked for anew in every request."""
    first = kept({"content": None, "tool_calls": [CALL]}, input="x",
                 tools=[{"type": "function", "name": "w"}])  # fmt: skip
    made = conversation(first, input=[
        {"type": "function_call_output", "call_id": "c1", "output": "1"}])  # fmt: skip
    assert "tools" not in sent(made)
