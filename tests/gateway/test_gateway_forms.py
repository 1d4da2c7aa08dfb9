"""Forms as nobody should send them: no cut, order or damage makes the gateway hang."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.gateway import RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, request
from support.scripted_engine import ScriptedEngine, answering, sized

PATH = "/v1/audio/transcriptions"
FORM = "Content-Type: multipart/form-data; boundary=B"
MODEL = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
END = b"\r\n--B--\r\n"
BODY = MODEL + FILE + b"sound\r\n--sound" + END
ANSWERS = {200, 400, 404, 413, 415}


@pytest.fixture(scope="module")
def served(
    module_engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway whose engine hears."""
    module_engine.script = answering(sized(b'{"text":"hi"}'))
    target = target_at(module_engine.port, model="ears", native=("transcriptions",))
    with gateway(tmp_path_factory.mktemp("journal"), target) as running:
        yield running


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    damage=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=4)), max_size=2),
    cuts=st.lists(st.integers(0, 250), max_size=5),
)
def test_any_damage_in_any_pieces_is_answered(
    served: RunningGateway, damage: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """With a result or with an error, and the gateway goes on."""
    body = BODY
    for position, junk in damage:
        body = body[:position] + junk + body[position + len(junk) :]
    whole = request("POST", PATH, FORM, body=body)
    start = len(whole) - len(body)
    edges = [0, *sorted(start + each % len(body) for each in cuts), len(whole)]
    with RawClient(served.port) as client:
        for first, last in itertools.pairwise(edges):
            client.send_until_refused([whole[first:last]]).join(10)
        response = client.response()
    assert response.status in ANSWERS, response.body


def test_a_form_one_byte_at_a_time_arrives(
    served: RunningGateway, module_engine: ScriptedEngine
) -> None:
    """Every position is a cut."""
    module_engine.seen.clear()
    whole = request("POST", PATH, FORM, body=BODY)
    with RawClient(served.port) as client:
        for index in range(len(whole)):
            client.send(whole[index : index + 1])
        assert client.response().status == 200
    assert module_engine.seen[-1].body == BODY.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nears\r\n")


def test_a_form_that_just_ends_is_no_request(served: RunningGateway) -> None:
    """The client closes in the middle: the connection ends, nothing is left of it."""
    before = len(served.records())
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Content-Length: 5000") + MODEL)
        client.half_close()
        assert client.is_closed()
    assert served.records()[before].error == "client_closed"


def test_the_body_is_asked_for_when_a_guard_says_yes(served: RunningGateway) -> None:
    """`Expect: 100-continue`, which curl sends with large files."""
    head = request("POST", PATH, FORM, f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    with RawClient(served.port) as client:
        client.send(head)
        assert client.head()[0] == 100
        assert client.ask(BODY).status == 200


def test_two_forms_on_one_connection_are_two_requests(served: RunningGateway) -> None:
    """Also when the second is there before the first is answered."""
    whole = request("POST", PATH, FORM, body=BODY)
    with RawClient(served.port) as client:
        client.send(whole + whole)
        assert [client.response().status, client.response().status] == [200, 200]


def test_a_large_file_may_stand_in_front_of_the_models_name(
    served: RunningGateway, module_engine: ScriptedEngine
) -> None:
    """As curl's and Node's users write it: kept until the name is there, up to 32 MiB."""
    module_engine.seen.clear()
    sound = b"s" * (8 << 20)
    body = FILE + sound + b"\r\n" + MODEL + b"--B--\r\n"
    assert ask(served.port, request("POST", PATH, FORM, body=body)).status == 200
    assert len(module_engine.seen[-1].body) == len(body) + len("ears") - len("m")


def test_a_huge_file_goes_to_the_only_model_there_is(
    served: RunningGateway, module_engine: ScriptedEngine
) -> None:
    """Until the form names it: another name than that is refused."""
    module_engine.seen.clear()
    sound = FILE + b"s" * (40 << 20) + b"\r\n"
    named = ask(served.port, request("POST", PATH, FORM, body=sound + MODEL + b"--B--\r\n"))
    other = MODEL.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nn\r\n")
    late = ask(served.port, request("POST", PATH, FORM, body=sound + other + b"--B--\r\n"))
    assert (named.status, len(module_engine.seen)) == (200, 1)
    assert (late.status, late.code) == (400, "model_named_late")


def test_without_a_key_nothing_of_the_form_is_read(served: RunningGateway) -> None:
    """401 with the head."""
    with RawClient(served.port) as client:
        response = client.ask(request("POST", PATH, FORM, "Content-Length: 90000000", key=None))
    assert (response.status, response.headers["connection"]) == (401, "close")
