"""A response that is kept, and what is read of it again: the answer, its input, its chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from flm.dialects.body import UNREADABLE
from flm.dialects.client_responses.asked import Asked, Given
from flm.dialects.client_responses.items import Item, decode_item
from flm.errors import Refusal

Raw = msgspec.Raw
Fields = dict[str, Raw]

PREFIX = "resp_"
MAX_ID = 128
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_pack = msgspec.msgpack.Encoder().encode


class KeptResponse(msgspec.Struct, frozen=True, array_like=True):
    """One turn. ``response``: the whole answer as JSON; ``items``: its own input as a JSON list,
    every item with an id; ``previous``: the turn before, '' for none.
    """

    response: bytes
    items: bytes
    previous: str = ""

    def pack(self) -> bytes:
        """It as bytes."""
        return _pack(self)


unpack = msgspec.msgpack.Decoder(KeptResponse).decode


class _Output(msgspec.Struct):
    output: list[Raw] = []


_decode_output = msgspec.json.Decoder(_Output).decode


def response_of(item_id: str) -> str | None:
    """The id of the response that an item of FLM's belongs to; None for others' items."""
    rest = item_id.partition("_")[2]
    seed = rest.rpartition("_")[0]
    return PREFIX + seed if seed and len(item_id) <= MAX_ID else None


def items_to_keep(items: Sequence[Given], seed: str) -> bytes:
    """The input of a turn as it is kept: easy messages in full, every item with an id."""
    return _encode([_full(given, f"{seed}_i{number}") for number, given in enumerate(items)])


def _full(given: Given, mark: str) -> Raw:
    fields = _decode_fields(given.raw)
    item = given.item
    if item.kind == "message":
        fields["type"] = Raw(b'"message"')
        if isinstance(item.content, str):
            kind = "output_text" if item.role == "assistant" else "input_text"
            part: dict[str, object] = {"type": kind, "text": item.content}
            if kind == "output_text":
                part["annotations"] = []
            fields["content"] = Raw(_encode([part]))
        fields.setdefault("status", Raw(b'"completed"'))
    if item.id is None:
        fields["id"] = Raw(_encode(f"{_lead(item.kind)}_{mark}"))
    return Raw(_encode(fields))


def _lead(kind: str) -> str:
    return {"message": "msg", "reasoning": "rs", "function_call": "fc"}.get(kind, "item")


def turns(chain: Iterable[KeptResponse]) -> Iterator[tuple[Item, str]]:
    """Everything that was said in a chain, oldest turn first: input, then output of each."""
    for kept in chain:
        for raw in raw_items(kept):
            yield decode_item(raw), "previous_response_id"


def raw_items(kept: KeptResponse) -> list[Raw]:
    """The items of one turn, input and output."""
    return [*_decode_list(kept.items), *_decode_output(kept.response).output]


def by_id(kept: Iterable[KeptResponse]) -> dict[str, Raw]:
    """Items of these turns by their ids."""
    found: dict[str, Raw] = {}
    for one in kept:
        for raw in raw_items(one):
            item = decode_item(raw)
            if item.id:
                found[item.id] = raw
    return found


def resolved(asked: Asked, known: Mapping[str, Raw]) -> Asked:
    """`asked` with items in the places where they were only named.

    Raises `Refusal` 400 `item_not_found` naming the first that is not known.
    """
    items = []
    for given in asked.items:
        if given.item.kind != "item_reference":
            items.append(given)
            continue
        raw = known.get(given.item.id or "")
        if raw is None:
            raise Refusal(
                400,
                "item_not_found",
                f"Item with id '{(given.item.id or '')[:MAX_ID]}' not found. Items are kept only"
                " with 'store': true, for the key that made them.",
                param=given.where,
            )
        items.append(Given(raw, decode_item(raw), given.where))
    return msgspec.structs.replace(asked, items=tuple(items))


def listed(kept: KeptResponse, limit: int, ascending: bool, after: str | None) -> bytes | None:
    """The input items as the API lists them; None when there is no item `after`."""
    raws = _decode_list(kept.items)
    ids = [decode_item(raw).id or "" for raw in raws]
    pairs = list(zip(ids, raws, strict=True))
    if not ascending:
        pairs.reverse()
    if after is not None:
        places = [place for place, (one, _) in enumerate(pairs) if one == after]
        if not places:
            return None
        pairs = pairs[places[0] + 1 :]
    page = pairs[:limit]
    return _encode(
        {
            "object": "list",
            "data": [raw for _, raw in page],
            "first_id": page[0][0] if page else None,
            "last_id": page[-1][0] if page else None,
            "has_more": len(pairs) > limit,
        }
    )


def not_kept(response: bytes) -> bytes:
    """The same answer, which says of itself that it was not kept."""
    fields = _decode_fields(response)
    fields["store"] = Raw(b"false")
    return _encode(fields)


def readable(data: bytes) -> KeptResponse | None:
    """What was kept, from its bytes; None when they hold something else."""
    try:
        return unpack(data)
    except UNREADABLE:
        return None
