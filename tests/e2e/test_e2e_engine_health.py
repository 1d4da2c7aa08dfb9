"""An engine that dies and comes back, as clients and their owner see it."""

from __future__ import annotations

from typing import Any

from e2e_engines import Switchboard
from e2e_house import CHAT, call, chat

from support.fakes.llamacpp import LlamaCppFake
from support.replay import ReplayServer
from support.running_flm import Flm, until


def listed(flm: Flm, name: str) -> Any:
    """The engine as `flm engines list` tells it, None where it does not."""
    engines = flm.tell("engines", "list")["engines"]
    return next((each for each in engines if each["id"] == name), None)


def test_a_dead_engine_leaves_the_routes_with_the_first_request_it_refuses(flm: Flm) -> None:
    """Not at the next look, which would come in an hour; and it is back within seconds."""
    flm.tell("config", "set", "engine.check_seconds", "3600")
    _, key = flm.key()
    with Switchboard() as engine:
        flm.tell("engines", "add", "mine", "--url", engine.url)
        served = flm.start()

        def ask() -> str:
            answer = call(served.port, CHAT, key, chat("mine/shared"))
            return "answered" if answer.status == 200 else answer.code

        until(lambda: ask() == "answered", "the engine", 10)
    assert ask() in ("engine_unreachable", "engine_gone")
    until(lambda: ask() == "engine_unavailable", "its end", 3)
    assert listed(flm, "mine")["state"] == "error-network"
    with ReplayServer(engine.routes, port=engine.port):
        until(lambda: ask() == "answered", "its return", 10)
    told = flm.tell("engines", "health-history", "mine")["history"]
    states = [each["state"] for each in reversed(told)]
    assert states[:3] == ["running-healthy", "error-network", "running-healthy"]
    strange = flm.run("engines", "health-history", "nobody")
    assert (strange.code, strange.error["code"]) == (1, "not_found")


def test_how_busy_an_engine_is_shows_in_the_list(flm: Flm) -> None:
    """What it says of itself, and how many requests of ours it answers."""
    with LlamaCppFake() as fake, Switchboard() as switch:
        fake.busy = 1
        flm.tell("engines", "add", "told", "--url", fake.address.url, "--kind", "llamacpp")
        flm.tell("engines", "add", "mute", "--url", switch.url)
        flm.start()
        busy = {"running": 1, "waiting": 0, "slots": 2, "cache_usage": None}
        until(lambda: (listed(flm, "told") or {}).get("load") == busy, "its load", 15)
        assert listed(flm, "mute")["load"] is None
        assert listed(flm, "mute")["in_flight"] == 0


def test_what_was_seen_is_no_truth_when_it_is_too_old(flm: Flm) -> None:
    """Nothing serves, and the cache is older than the setting says."""
    with Switchboard() as switch:
        flm.tell("engines", "add", "mine", "--url", switch.url)
        flm.tell("engines", "detect")
        fresh = listed(flm, "mine")
        flm.tell("config", "set", "engine.cache_ttl_seconds", "1")
        until(lambda: listed(flm, "mine")["stale"], "its age", 10)
        old = listed(flm, "mine")
        again = flm.tell("engines", "list", "--fresh")["engines"]
    assert (fresh["state"], fresh["stale"]) == ("running-healthy", False)
    assert (old["state"], old["last_state"]) == (None, "running-healthy")
    assert [each["state"] for each in again if each["id"] == "mine"] == ["running-healthy"]
