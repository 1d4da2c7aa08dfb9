"""Models that are asleep: asked for once, waited for together, withdrawn and moved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flm.domain.policy import Policy
from flm.wire.channel import Ack, Delta, Stats, Wake, Woken
from flm.wire.snapshot import Rules, Target
from support.gateway import RunningGateway, gateway, routes_section, target_at
from support.raw_client import RawClient, ask, chat, eventually, request
from support.scripted_engine import EngineSide, ScriptedEngine, answer_body, answering, sized

GOOD = sized(answer_body())
SLEEPING = Target(id="embedded/m", engine="embedded", model="m", dialect="openai")


def wakes_of(running: RunningGateway) -> list[Wake]:
    """The wakes the gateway asked for."""
    return [message for message in running.messages if isinstance(message, Wake)]


def awake(port: int, revision: int = 2) -> Callable[[RunningGateway], None]:
    """What the controller does when the target has loaded at that port."""

    def wake(running: RunningGateway) -> None:
        running.delta(routes=routes_section(target_at(port, engine="embedded"), revision=revision))
        running.send(Woken("embedded/m"))

    return wake


def test_requests_at_once_share_one_wake(tmp_path: Path) -> None:
    """All are served by the target that woke."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING) as running,
    ):
        clients = [RawClient(running.port).send(chat(text=str(n))) for n in range(10)]
        running.stats(lambda stats: stats.in_flight == 10)
        wake = running.wait_for(lambda message: isinstance(message, Wake))
        assert wake.target == "embedded/m"
        assert 119 < wake.deadline <= 120
        awake(engine.port)(running)
        for client in clients:
            assert client.response().status == 200
            client.close()
        assert len(wakes_of(running)) == 1
        assert len(engine.seen) == 10
        assert {record.engine for record in running.records()} == {"embedded"}


def test_a_wake_that_fails_says_why(tmp_path: Path) -> None:
    """With the controller's words and code; the next request asks again."""
    with gateway(tmp_path, SLEEPING) as running:
        for count in (1, 2):
            with RawClient(running.port) as client:
                client.send(chat())
                eventually(lambda count=count: len(wakes_of(running)) == count)
                running.send(Woken("embedded/m", "Not enough memory.", "out_of_memory"))
                response = client.response()
            assert (response.status, response.code) == (503, "out_of_memory")
            assert response.message == "Not enough memory."
            assert int(response.headers["retry-after"]) > 0


def test_a_wake_without_a_word_ends_in_time_and_is_asked_again(tmp_path: Path) -> None:
    """`model_load_timeout`; the target is not given up for ever."""
    rules = Rules(revision=1, wake_seconds=0.2)
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING, rules=rules) as running,
    ):
        response = ask(running.port, chat())
        assert (response.status, response.code) == (503, "model_load_timeout")
        running.delta(rules=Rules(revision=2))
        with RawClient(running.port) as client:
            client.send(chat())
            eventually(lambda: len(wakes_of(running)) == 2)
            awake(engine.port)(running)
            assert client.response().status == 200


def test_a_client_that_leaves_while_it_waits_is_recorded(tmp_path: Path) -> None:
    """The others wait on."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING) as running,
    ):
        leaves, stays = (RawClient(running.port).send(chat()) for _ in range(2))
        running.stats(lambda stats: stats.in_flight == 2)
        leaves.reset()
        eventually(running.records)
        assert running.records()[0].error == "client_closed"
        awake(engine.port)(running)
        assert stays.response().status == 200
        stays.close()


def woken_and_withdrawn(running: RunningGateway, port: int) -> Stats:
    """Wake the target at that port and put it to sleep again before anybody could go on; what the
    gateway told last before it acknowledged that."""
    awake = routes_section(target_at(port, engine="embedded"), revision=2)
    asleep = routes_section(SLEEPING, revision=3)
    running.send(Delta(seq=2, routes=awake), Woken("embedded/m"), Delta(seq=3, routes=asleep))
    running.wait_for(lambda message: message == Ack(3))
    before = running.messages[: running.messages.index(Ack(3))]
    return [each for each in before if isinstance(each, Stats)][-1]


def test_those_who_waited_are_in_flight_before_the_target_can_be_withdrawn(tmp_path: Path) -> None:
    """Another model is wanted too: this one is not unloaded unused, and nobody waits again."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING) as running,
    ):
        clients = [RawClient(running.port).send(chat(text=str(n))) for n in range(5)]
        running.stats(lambda stats: stats.in_flight == 5)
        told = woken_and_withdrawn(running, engine.port)
        assert told.targets["embedded/m"].in_flight == 5
        for client in clients:
            assert client.response().status == 200
            client.close()
        assert len(wakes_of(running)) == 1
        running.stats(
            lambda stats: stats.in_flight == 0 and stats.targets["embedded/m"].in_flight == 0
        )


def test_who_left_while_it_waited_is_not_in_flight(tmp_path: Path) -> None:
    """Nothing keeps a model that nobody is left to use."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING) as running,
    ):
        leaves = RawClient(running.port).send(chat())
        running.wait_for(lambda message: isinstance(message, Wake))
        leaves.reset()
        eventually(running.records)
        assert woken_and_withdrawn(running, engine.port).targets == {}


def test_who_may_wait_longer_is_woken_after_another_gave_up(tmp_path: Path) -> None:
    """It waits on for the same wake, and hears of its end."""
    rules = Rules(revision=1, wake_seconds=1.0)
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING, rules=rules) as running,
        RawClient(running.port) as brief,
        RawClient(running.port) as patient,
    ):
        brief.send(chat())
        running.wait_for(lambda message: isinstance(message, Wake))
        running.delta(rules=Rules(revision=2))
        patient.send(chat())
        assert brief.response().code == "model_load_timeout"
        awake(engine.port)(running)
        assert patient.response().status == 200


def test_a_model_that_is_gone_while_it_is_waited_for_is_404(tmp_path: Path) -> None:
    """A wake that ends well finds the routes as they are then."""
    with gateway(tmp_path, SLEEPING) as running, RawClient(running.port) as client:
        client.send(chat())
        running.wait_for(lambda message: isinstance(message, Wake))
        running.delta(routes=routes_section(revision=2))
        running.send(Woken("embedded/m"))
        assert client.response().code == "model_not_found"


def test_a_home_that_is_awake_goes_before_one_that_sleeps(tmp_path: Path) -> None:
    """However busy it is."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, SLEEPING, target_at(engine.port, engine="ollama")) as running,
    ):
        assert ask(running.port, chat()).status == 200
        assert wakes_of(running) == []


class Held:
    """An engine that answers when it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def __call__(self, side: EngineSide) -> None:
        while side.request() is not None:
            assert self.may_answer.wait(10)
            side.send(GOOD)


def test_the_least_loaded_home_answers(tmp_path: Path) -> None:
    """The same name on two engines is one model with two homes."""
    first, second = Held(), Held()
    with (
        ScriptedEngine(first) as one,
        ScriptedEngine(second) as two,
        gateway(
            tmp_path, target_at(one.port, engine="one"), target_at(two.port, engine="two")
        ) as running,
    ):
        clients = []
        for count in range(1, 7):
            clients.append(RawClient(running.port).send(chat()))
            eventually(lambda count=count: len(one.seen) + len(two.seen) == count)
        assert (len(one.seen), len(two.seen)) == (3, 3)
        running.stats(
            lambda stats: (
                {name: figures.in_flight for name, figures in stats.targets.items()}
                == {"one/m": 3, "two/m": 3}
            )
        )
        first.may_answer.set()
        second.may_answer.set()
        for client in clients:
            assert client.response().status == 200
            client.close()
        body = ask(running.port, request("GET", "/v1/models/m")).json()
        assert body["engines"] == ["one", "two"]


def test_a_withdrawn_target_is_reported_when_nothing_is_in_flight(tmp_path: Path) -> None:
    """No new request goes there; the one that runs ends well; then it may be stopped."""
    held = Held()
    with (
        ScriptedEngine(held) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat())
        eventually(lambda: engine.seen)
        running.delta(routes=routes_section(revision=2))
        assert running.stats(lambda stats: "e/m" in stats.targets).targets["e/m"].in_flight == 1
        assert ask(running.port, chat()).code == "model_not_found"
        told = len(running.messages)
        held.may_answer.set()
        assert client.response().status == 200

        def is_reported() -> bool:
            later = [each for each in running.messages[told:] if isinstance(each, Stats)]
            return any("e/m" not in stats.targets for stats in later)

        eventually(is_reported)
        assert len(engine.seen) == 1


def test_a_target_put_to_sleep_in_flight_is_counted_until_its_end(tmp_path: Path) -> None:
    """The same target without a host: its old requests still count as in flight on it."""
    held = Held()
    with (
        ScriptedEngine(held) as engine,
        gateway(tmp_path, target_at(engine.port, engine="embedded")) as running,
        RawClient(running.port) as client,
    ):
        client.send(chat())
        eventually(lambda: engine.seen)
        running.delta(routes=routes_section(SLEEPING, revision=2))
        last = [each for each in running.messages if isinstance(each, Stats)][-1]
        assert last.targets["embedded/m"].in_flight == 1
        held.may_answer.set()
        assert client.response().status == 200
        running.stats(
            lambda stats: (
                "embedded/m" in stats.targets
                and stats.targets["embedded/m"].in_flight == 0
                and stats.targets["embedded/m"].last_use > 0
            )
        )


def test_a_model_that_moves_is_followed(tmp_path: Path) -> None:
    """To another port: later requests go there, the old port's connections are closed."""
    left = threading.Event()

    def old(side: EngineSide) -> None:
        side.request()
        side.send(GOOD)
        if side.is_left():
            left.set()

    with (
        ScriptedEngine(old) as before,
        ScriptedEngine(answering(GOOD)) as after,
        gateway(tmp_path, target_at(before.port)) as running,
    ):
        assert ask(running.port, chat()).status == 200
        running.delta(routes=routes_section(target_at(after.port), revision=2))
        assert left.wait(10)
        assert ask(running.port, chat()).status == 200
        assert (len(before.seen), len(after.seen)) == (1, 1)


def test_an_engine_that_does_not_answer_is_503(tmp_path: Path) -> None:
    """Its models are known and have no home."""
    routes = routes_section(target_at(9, "Qwen/Qwen3-8B"), revision=2)
    with gateway(tmp_path) as running:
        running.delta(routes=type(routes)(2, routes.models, {}))
        response = ask(running.port, chat(model="Qwen/Qwen3-8B"))
        assert (response.status, response.code) == (503, "engine_unavailable")


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("Qwen/Qwen3-8b", "'Qwen/Qwen3-8B'"),
        ("qwen3", "'Qwen/Qwen3-8B'"),
        ("lama3", "'llama3:latest'"),
    ],
)
def test_an_unknown_model_is_404_and_names_the_nearest(
    tmp_path: Path, model: str, near: str
) -> None:
    """The client's own spelling mistakes are the most frequent error there is."""
    targets = (target_at(9, "Qwen/Qwen3-8B"), target_at(9, "llama3:latest"))
    with gateway(tmp_path, *targets) as running:
        response = ask(running.port, chat(model=model))
        assert (response.status, response.code) == (404, "model_not_found")
        assert near in response.message
        assert response.json()["error"]["param"] == "model"


@pytest.mark.parametrize("model", ["e/nope", "flm://e/nope", "/m", "e/", "flm://", "x" * 500])
def test_what_is_no_name_is_404(served: RunningGateway, model: str) -> None:
    """Never a 500, and a long one is not repeated at length."""
    response = ask(served.port, chat(model=model))
    assert (response.status, response.code) == (404, "model_not_found")
    assert len(response.message) < 300


def test_the_list_of_models_is_the_snapshot_s(tmp_path: Path) -> None:
    """By name, with what is known of each; changed with the delta."""
    with gateway(tmp_path, target_at(9, "b"), target_at(9, "a"), SLEEPING) as running:
        listed = ask(running.port, request("GET", "/v1/models")).json()
        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == ["a", "b", "m"]
        assert listed["data"][2] == {
            "id": "m", "object": "model", "created": 1, "owned_by": "embedded",
            "context_length": 2048, "capabilities": ["chat"], "engines": ["embedded"],
            "state": "sleeping",
            "remote": False,
        }  # fmt: skip
        running.delta(routes=routes_section(revision=2))
        assert ask(running.port, request("GET", "/v1/models")).json()["data"] == []


def test_a_change_of_the_policy_is_in_force_with_its_acknowledgement(tmp_path: Path) -> None:
    """For the next request on any connection."""
    with (
        ScriptedEngine(answering(GOOD)) as engine,
        gateway(tmp_path, target_at(engine.port)) as running,
        RawClient(running.port) as client,
    ):
        assert client.ask(chat(mirostat=2)).status == 200
        running.delta(rules=Rules(revision=2, policy=Policy(unknown_parameters="reject")))
        response = client.ask(chat(mirostat=2))
        assert (response.status, response.code) == (400, "unknown_parameter")
        running.delta(rules=Rules(revision=3, policy=Policy(unknown_parameters="drop")))
        assert client.ask(chat(mirostat=2)).headers["x-flm-dropped"] == "mirostat"
        assert b"mirostat" not in engine.seen[-1].body
