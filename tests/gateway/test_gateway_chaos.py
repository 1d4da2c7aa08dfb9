"""Clients, engine and controller that do what they like, all at once, by a fixed seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

from flm.wire.channel import Stats
from support.gateway import (
    KEY,
    KEY_ID,
    OTHER_ID,
    OTHER_KEY,
    RunningGateway,
    gateway,
    keys_section,
    routes_section,
    target_at,
)
from support.raw_client import RawClient, chat, eventually
from support.replay import Seen
from support.scripted_engine import (
    EngineSide,
    ScriptedEngine,
    answer_body,
    sized,
    stream_of,
)

CLIENTS = 16
ROUNDS = 60


# What an engine may do with an answer.


def tell(side: EngineSide, data: bytes, at: int) -> bool:
    """All of it."""
    return side.send(data)


def tell_in_two(side: EngineSide, data: bytes, at: int) -> bool:
    """In two pieces."""
    return side.send(data[:at]) and side.send(data[at:])


def tell_too_much(side: EngineSide, data: bytes, at: int) -> bool:
    """And something behind it."""
    return side.send(data + b"junk")


def break_off(side: EngineSide, data: bytes, at: int) -> bool:
    """A part of it, then FIN."""
    side.send(data[:at])
    return False


def reset(side: EngineSide, data: bytes, at: int) -> bool:
    """A part of it, then RST."""
    side.send(data[:at])
    side.rst()
    return False


ENGINE = [tell] * 6 + [tell_in_two] * 3 + [tell_too_much, break_off, reset]


def moody(seed: int) -> Callable[[EngineSide], None]:
    """An engine's script."""

    def answer_to(asked: Seen, dice: random.Random) -> bytes:
        if b'"stream":true' in asked.body:
            return stream_of(*("x" * dice.choice([1, 100, 5000]) for _ in range(4)))
        return sized(answer_body("y" * dice.choice([1, 1000, 300_000])))

    def script(side: EngineSide) -> None:
        dice = random.Random(f"{seed} {side.number}")
        while (asked := side.request()) is not None:
            data = answer_to(asked, dice)
            if not dice.choice(ENGINE)(side, data, dice.randrange(len(data))):
                return

    return script


# What a client may do with a request.


def ask_for_it(client: RawClient, data: bytes, at: int) -> None:
    """And read the answer."""
    client.ask(data)


def ask_in_two(client: RawClient, data: bytes, at: int) -> None:
    """In two pieces."""
    client.send(data[:at]).send(data[at:])
    client.response()


def ask_for_five(client: RawClient, data: bytes, at: int) -> None:
    """At once, and read until an answer says that it is the last one."""
    client.send(data * 5)
    any(client.response().headers.get("connection") == "close" for _ in range(5))


def leave_at_once(client: RawClient, data: bytes, at: int) -> None:
    """RST behind the request."""
    client.send(data).reset()


def leave_halfway(client: RawClient, data: bytes, at: int) -> None:
    """FIN within the request."""
    client.send(data[:at])


def close_one_side(client: RawClient, data: bytes, at: int) -> None:
    """FIN behind the request, and read on."""
    client.send(data).half_close().rest()


def leave_in_the_answer(client: RawClient, data: bytes, at: int) -> None:
    """RST within the answer."""
    client.send(data).read(1)
    client.reset()


CLIENT = [ask_for_it] * 5 + [
    ask_in_two, ask_for_five, leave_at_once, leave_halfway, close_one_side, leave_in_the_answer,
]  # fmt: skip


def wild(port: int, seed: int) -> None:
    """A client's life: every round a connection, one thing done with one request."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        data = chat(
            stream=dice.choice([True, False]),
            key=dice.choice([KEY, OTHER_KEY]),
            model=dice.choice(["m", "m", "m", "nope"]),
        )
        with RawClient(port) as client:
            dice.choice(CLIENT)(client, data, dice.randrange(1, len(data)))


def upset(running: RunningGateway, port: int) -> None:
    """Revoke and give back a key, move the model to another prefix, again and again."""
    for revision in range(2, 22):
        running.delta(keys=keys_section((KEY_ID, KEY), revision=revision), revoked=(OTHER_ID,))
        running.delta(keys=keys_section((KEY_ID, KEY), (OTHER_ID, OTHER_KEY), revision=revision))
        target = target_at(port, prefix=f"/{revision % 3}")
        running.delta(routes=routes_section(target, revision=revision))


def last_stats(running: RunningGateway) -> Stats:
    """What the gateway said last."""
    return [said for said in running.messages if isinstance(said, Stats)][-1]


def test_nothing_is_left_and_everything_is_recorded(tmp_path: Path) -> None:
    """Each request has one record; no connection, no request in flight, no traceback remains."""
    with (
        ScriptedEngine(moody(7)) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
    ):
        clients = [
            threading.Thread(target=wild, args=(running.port, seed)) for seed in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        upset(running, engine.port)
        for client in clients:
            client.join(30)
        eventually(lambda: last_stats(running).connections == 0)
        assert last_stats(running).in_flight == 0
        assert {each.in_flight for each in last_stats(running).targets.values()} <= {0}
        recorded = [record.id for record in running.records()]
        assert len(recorded) == len(set(recorded)) == last_stats(running).served
        assert {record.error for record in running.records()} >= {"", "client_closed"}
        assert "internal_error" not in {record.error for record in running.records()}
