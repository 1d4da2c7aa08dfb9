"""Keys on a running gateway: in force when the command returns, and not one request later."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest
from e2e_engines import Switchboard
from e2e_house import House, Stream, accepts, code_of

from support.running_flm import Flm, alive, until


def test_a_key_is_shown_once_works_at_once_and_is_refused_when_revoked(house: House) -> None:
    """Through the commands: create, list, show, revoke, in this order."""
    made = house.flm.tell("api-keys", "create", "--label", "phone")
    assert made["api_key"].startswith(f"flm_{made['id']}_")
    assert accepts(house.served.port, made["api_key"]) == 200
    listed = house.flm.run("api-keys", "list")
    shown = house.flm.run("api-keys", "show", made["id"])
    assert made["api_key"] not in listed.out + shown.out
    assert (shown.data["label"], shown.data["state"]) == ("phone", "active")
    assert house.flm.tell("api-keys", "revoke", made["id"])["state"] == "revoked"
    assert accepts(house.served.port, made["api_key"]) == 401


def test_rotation_replaces_a_key_or_lets_the_old_one_go_on(house: House) -> None:
    """Without a grace period the old one ends now, with one both work."""
    first, old = house.flm.key("rotated")
    second = house.flm.tell("api-keys", "rotate", first)
    assert [accepts(house.served.port, key) for key in (old, second["api_key"])] == [401, 200]
    third = house.flm.tell("api-keys", "rotate", second["id"], "--grace", "1h")
    both = [accepts(house.served.port, key) for key in (second["api_key"], third["api_key"])]
    assert both == [200, 200]
    house.flm.tell("api-keys", "revoke", second["id"])
    assert accepts(house.served.port, second["api_key"]) == 401
    assert house.flm.tell("api-keys", "show", first)["rotated_to"] == second["id"]


def test_no_request_after_a_revocation_is_served_fifty_times(house: House) -> None:
    """What the command calls, without its start: the very next request is refused."""
    answers = []
    with house.flm.services() as services:
        for number in range(50):
            key, clear = services.keys.create(f"short-lived {number}")
            before = accepts(house.served.port, clear)
            services.keys.revoke(key.id)
            answers.append((before, accepts(house.served.port, clear)))
    assert answers == [(200, 401)] * 50


def test_a_running_stream_of_a_revoked_key_ends_with_an_error_event(house: House) -> None:
    """It has ended when the command returns; the record says why."""
    house.switch.go.clear()
    key_id, key = house.flm.key("cut")
    with Stream(house.served.port, key, "switch/slow") as stream:
        assert stream.first_word() == "first "
        house.flm.tell("api-keys", "revoke", key_id)
        (last,) = stream.rest()
    house.switch.go.set()
    assert code_of(last) == "key_revoked"
    record = house.flm.record(stream.id)
    assert (record["key_id"], record["error"]) == (key_id, "key_revoked")


def test_an_expiry_is_in_force_without_anybody_doing_anything(house: House) -> None:
    """A key of two seconds works, then does not."""
    _, key = house.flm.key("brief", "--expires", "3s")
    assert accepts(house.served.port, key) == 200
    until(lambda: accepts(house.served.port, key) == 401, "the expiry", 10)


@pytest.mark.parametrize("when", ["lock", "socket", "port"])
def test_a_revocation_during_a_start_is_in_force_when_it_returns(flm: Flm, when: str) -> None:
    """Whatever has been reached: the lock, the control socket, the bound port."""
    with flm.services() as services:
        key, clear = services.keys.create("revoked at once")
    starting = subprocess.Popen(
        flm.command("proxy", "start", "--port", "0"), env=flm.environ, stdout=subprocess.PIPE
    )
    with flm.services() as services:
        proxies = services.proxies
        reached = {
            "lock": lambda: flm.data.joinpath("controller.lock").exists(),
            "socket": lambda: proxies.status() is not None,
            "port": lambda: (status := proxies.status()) is not None and status.handles,
        }
        until(reached[when], when, pause=0.0)
        services.keys.revoke(key.id)
        status = proxies.status(wait=30)
    starting.communicate(timeout=60)
    assert starting.returncode == 0
    running = flm.status()
    assert accepts(running["handles"][0]["port"], clear) == 401
    assert status is None or status.pid == running["pid"]


def test_a_revocation_while_the_gateway_is_started_again_is_in_force(house: House) -> None:
    """Killed and revoked at the same time, five times: the next gateway never knew the key."""
    answers = []
    with house.flm.services() as services:
        for number in range(5):
            key, clear = services.keys.create(f"in between {number}")
            gateway = house.served.gateway()
            os.kill(gateway, signal.SIGKILL)
            services.keys.revoke(key.id)
            answers.append(accepts(house.served.port, clear))
            until(lambda gone=gateway: not alive(gone), "the killed gateway's end")
    assert answers == [401] * 5


def test_a_gateway_that_does_not_listen_is_killed_rather_than_trusted(
    flm: Flm, switch: Switchboard
) -> None:
    """A stopped one cannot acknowledge: after 2 s another serves, and the command returns."""
    key_id, key = flm.key()
    served = flm.start()
    gateway = served.gateway()
    os.kill(gateway, signal.SIGSTOP)
    flm.tell("api-keys", "revoke", key_id)
    assert not alive(gateway)
    assert accepts(served.port, key) == 401


def test_a_key_is_never_served_while_it_is_revoked_under_load(house: House) -> None:
    """Four clients in a loop: once the revocation has returned, none of them is answered."""
    with house.flm.services() as services:
        key, clear = services.keys.create("busy")
        revoked = threading.Event()
        late: list[int] = []

        def ask() -> None:
            while True:
                after = revoked.is_set()
                status = accepts(house.served.port, clear)
                if after:
                    late.append(status)
                    return

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        services.keys.revoke(key.id)
        revoked.set()
        for client in clients:
            client.join(30)
    assert late == [401] * 4
