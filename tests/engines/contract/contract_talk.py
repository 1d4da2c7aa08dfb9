"""How the contract suite talks to an engine through the gateway, and reads what comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flm.domain.engines import Address
from support.fakes.base import FakeEngine
from support.fakes.specimen import Specimen
from support.gateway import RunningGateway
from support.raw_client import Response, ask, chat


@dataclass
class House:
    """Every fake by its specimen's id, where all engines are, and the gateway before them."""

    places: dict[str, FakeEngine]
    addresses: dict[str, Address]
    gateway: RunningGateway


def name_of(specimen: Specimen) -> str:
    """The model as clients name it."""
    return f"{specimen.id}/{specimen.model.name}"


def said(served: House, specimen: Specimen, **more: object) -> Response:
    """A chat with the specimen's model."""
    return ask(served.gateway.port, chat(model=name_of(specimen), **more))


def chunks(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, `[DONE]` left out."""
    events = [part.removeprefix(b"data: ") for part in body.replace(b"\r\n", b"\n").split(b"\n\n")]
    return [json.loads(part) for part in events if part and part != b"[DONE]"]


def text_of(body: bytes) -> str:
    """The words of a stream."""
    deltas = [choice["delta"] for chunk in chunks(body) for choice in chunk.get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)
