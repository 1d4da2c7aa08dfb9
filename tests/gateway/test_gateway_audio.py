"""Audio: forms that go to the engine while they arrive, and sound that comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from flm.domain.traits import Api
from support.gateway import KEY, KEY_ID, RunningGateway, gateway, target_at
from support.raw_client import RawClient, ask, chunked, eventually, request
from support.scripted_engine import (
    LAST_CHUNK,
    EngineSide,
    ScriptedEngine,
    answering,
    as_chunk,
    sized,
)

NATIVE: tuple[Api, ...] = ("chat", "transcriptions", "translations", "speech")
PATH = "/v1/audio/transcriptions"
FORM = "Content-Type: multipart/form-data; boundary=XyZ"
HEARD = b'{"text":"\xe3\x81\x93\xe3\x82\x93\xe3\x81\xab\xe3\x81\xa1\xe3\x81\xaf","usage":{"type":"tokens","input_tokens":14,"output_tokens":3,"total_tokens":17}}'  # noqa: E501
TALK = bytes(range(256)) * 40
MODEL = b'--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
THEIRS = b'--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
FILE_HEAD = (
    b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)
END = b"--XyZ--\r\n"


@pytest.fixture(scope="module")
def served(
    module_engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """The gateway of this file: its engine hears and speaks as `whisper-1`."""
    target = target_at(module_engine.port, model="whisper-1", native=NATIVE)
    with gateway(tmp_path_factory.mktemp("journal"), target) as running:
        yield running


def form(*parts: bytes, path: str = PATH) -> bytes:
    """A request with these parts."""
    return request("POST", path, FORM, body=b"".join(parts) + END)


def file(data: bytes = TALK) -> bytes:
    """The part with the file."""
    return FILE_HEAD + data + b"\r\n"


@pytest.mark.parametrize("order", [(MODEL, file()), (file(), MODEL)])
def test_a_file_reaches_the_engine_as_it_is(
    served: RunningGateway, engine: ScriptedEngine, order: tuple[bytes, ...]
) -> None:
    """The fields in their order, the file byte for byte, only the model's name is the engine's."""
    engine.script = answering(sized(HEARD))
    response = ask(served.port, form(*order))
    assert (response.status, response.body) == (200, HEARD)
    assert response.headers["content-type"] == "application/json"
    seen = engine.seen[-1]
    theirs = b"".join(THEIRS if part == MODEL else part for part in order)
    assert seen.body == theirs + END
    assert (seen.method, seen.path) == ("POST", PATH)
    assert seen.headers["content-type"] == 'multipart/form-data; boundary="XyZ"'
    assert seen.headers["content-length"] == str(len(seen.body))
    assert "authorization" not in seen.headers
    record = served.records()[-1]
    assert (record.route, record.model, record.engine, record.key_id) == (PATH, "m", "e", KEY_ID)
    assert (record.status, record.tokens_in, record.tokens_out) == (200, 14, 3)


def test_a_translation_has_its_own_route(served: RunningGateway, engine: ScriptedEngine) -> None:
    """The same form, and the engine's route for it."""
    engine.script = answering(sized(HEARD))
    path = "/v1/audio/translations"
    assert ask(served.port, form(MODEL, file(), path=path)).status == 200
    assert engine.seen[-1].path == path


def test_a_chunked_form_is_passed_on_in_chunks(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Its length is not known before its end."""
    engine.script = answering(sized(HEARD))
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Transfer-Encoding: chunked"))
        assert client.ask(chunked(MODEL + FILE_HEAD, TALK, b"\r\n" + END)).status == 200
        assert client.ask(form(MODEL, file())).status == 200, "the connection is kept"
    assert [seen.body for seen in engine.seen[-2:]] == [THEIRS + file() + END] * 2


def test_a_large_file_is_at_the_engine_before_it_is_here_whole(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Streamed, not held: the engine has a part of it while the client still keeps the rest."""
    arrived = threading.Event()

    def hear(side: EngineSide) -> None:
        side.read_until(THEIRS.rstrip())
        side.read_until(b"halfway")
        arrived.set()
        side.read_until(b"0\r\n\r\n")
        side.send(sized(HEARD))

    engine.script = hear
    body = MODEL + FILE_HEAD + b"x" * 300_000 + b"halfway"
    rest = b"y" * 300_000 + b"\r\n" + END
    head = request("POST", PATH, FORM, f"Content-Length: {len(body) + len(rest)}")
    with RawClient(served.port) as client:
        client.send(head + body)
        assert arrived.wait(10)
        response = client.send(rest).response()
    assert (response.status, response.body) == (200, HEARD)


def test_a_slow_engine_holds_the_client_back(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Of 60 MB that nobody takes only buffers are filled; when it is taken, all of it arrives."""
    go_on = threading.Event()
    received: list[int] = []

    def hear(side: EngineSide) -> None:
        side.read_until(THEIRS.rstrip())
        go_on.wait(10)
        received.append(len(side.read_until(b"\r\n0\r\n\r\n")))
        side.send(sized(HEARD))

    engine.script = hear
    data = b"z" * (60 << 20)
    head = request("POST", PATH, FORM, f"Content-Length: {len(MODEL + file(data) + END)}")
    sent = threading.Event()
    with RawClient(served.port) as client:

        def pieces() -> Iterator[bytes]:
            yield head + MODEL + FILE_HEAD
            yield data
            sent.set()
            yield b"\r\n" + END

        sending = client.send_until_refused(pieces())
        assert not sent.wait(0.5)
        go_on.set()
        response = client.response()
        sending.join(10)
    assert (response.status, response.body) == (200, HEARD)
    assert received[0] > len(data)


def test_a_client_that_leaves_takes_the_engines_connection_along(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """In the middle of its file: the engine is told by the end of the connection."""
    left: list[bool] = []
    arrived = threading.Event()

    def hear(side: EngineSide) -> None:
        side.read_until(b"halfway\r\n")
        arrived.set()
        left.append(side.is_left())

    engine.script = hear
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Content-Length: 1000000"))
        client.send(MODEL + FILE_HEAD + b"halfway")
        assert arrived.wait(10)
        client.reset()
        eventually(lambda: left)
    assert left == [True]
    eventually(lambda: served.records()[-1].error == "client_closed")


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        ("413 Payload Too Large", b'{"error":{"message":"file too large"}}', 413),
        ("401 Unauthorized", b'{"error":"Unauthorized"}', 502),
        ("400 Bad Request", b'{"error":{"message":"no such language"}}', 400),
    ],
)
def test_an_engine_may_answer_before_the_file_is_there(
    served: RunningGateway, engine: ScriptedEngine, status: str, said: bytes, expected: int
) -> None:
    """The client learns it while it sends, and its connection ends."""

    def refuse(side: EngineSide) -> None:
        side.read_until(b"halfway")
        side.send(sized(said, status))
        side.is_left()

    engine.script = refuse
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Content-Length: 50000000"))
        client.send(MODEL + FILE_HEAD + b"halfway")
        response = client.response()
    assert response.status == expected
    assert response.headers["connection"] == "close"


def test_an_engine_that_dies_is_a_502(served: RunningGateway, engine: ScriptedEngine) -> None:
    """In the middle of the file, without a word."""
    engine.script = lambda side: (side.read_until(b"halfway"), side.rst())[0]
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Content-Length: 50000000"))
        response = client.send(MODEL + FILE_HEAD + b"halfway").response()
    assert (response.status, response.code) == (502, "engine_gone")


def test_more_than_100_mb_is_refused_before_it_is_sent(served: RunningGateway) -> None:
    """By its length."""
    with RawClient(served.port) as client:
        response = client.ask(request("POST", PATH, FORM, f"Content-Length: {(100 << 20) + 1}"))
    assert (response.status, response.code) == (413, "body_too_large")


def test_more_than_100_mb_in_chunks_is_refused_when_it_is_too_much(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The engine's connection ends without the end of the body: it never looks whole."""
    ended: list[bytes] = []
    engine.script = lambda side: ended.append(side.rest()[-5:])
    piece = as_chunk(b"x" * (1 << 20))
    with RawClient(served.port) as client:
        client.send(request("POST", PATH, FORM, "Transfer-Encoding: chunked"))
        pieces = [as_chunk(MODEL + FILE_HEAD), *[piece] * 102]
        sending = client.send_until_refused(pieces)
        response = client.response()
        sending.join(10)
    assert (response.status, response.code) == (413, "body_too_large")
    eventually(lambda: ended)
    assert ended[0] != LAST_CHUNK


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (MODEL + FILE_HEAD + b"abc", "invalid_form"),
        (b"no form at all", "invalid_form"),
        (file() + END, "missing_required_parameter"),
        (MODEL + MODEL + file() + END, "invalid_form"),
        (b"--XyZ\r\nX: y\r\n\r\nm\r\n" + END, "invalid_form"),
        (MODEL + MODEL.replace(b'"model"', b'"Model"') + END, "unknown_parameter"),
        (MODEL + MODEL.replace(b'"model"', b'"api_base"') + END, "dangerous_parameter"),
        (MODEL + MODEL.replace(b'"model"', b'"temperature"') + END, "invalid_value"),
        (MODEL + MODEL.replace(b'"model"', b'"response_format"') + END, "invalid_value"),
        (MODEL + MODEL.replace(b'"model"', b'"file"') + END, "invalid_value"),
        (MODEL.replace(b"\r\nm\r\n", b"\r\n" + b"m" * 5000 + b"\r\n") + END, "invalid_value"),
        (MODEL.replace(b"\r\nm\r\n", b"\r\nnobody\r\n") + file() + END, "model_not_found"),
    ],
)
def test_a_form_that_is_wrong_is_told_why(
    served: RunningGateway, engine: ScriptedEngine, body: bytes, code: str
) -> None:
    """400 or 404 in OpenAI's form, whatever had gone on by then."""
    engine.script = answering(sized(HEARD))
    response = ask(served.port, request("POST", PATH, FORM, body=body))
    assert (response.status, response.code) == (404 if code == "model_not_found" else 400, code)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("Content-Type: application/json", 415, "unsupported_media_type"),
        ("X-Nothing: 1", 415, "unsupported_media_type"),
        ("Content-Type: multipart/form-data", 400, "invalid_form"),
        ("Content-Type: multipart/form-data; boundary=", 400, "invalid_form"),
        (f"Content-Type: multipart/form-data; boundary={'b' * 71}", 400, "invalid_form"),
    ],
)
def test_what_is_no_form_is_refused(
    served: RunningGateway, kind: str, status: int, code: str
) -> None:
    """By its content type."""
    response = ask(served.port, request("POST", PATH, kind, body=b"{}"))
    assert (response.status, response.code) == (status, code)


def test_a_form_is_sent_unencoded(served: RunningGateway) -> None:
    """It is passed on while it arrives."""
    response = ask(served.port, request("POST", PATH, FORM, "Content-Encoding: gzip", body=b"x"))
    assert (response.status, response.code) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/vtt", "text/vtt; charset=utf-8"),
        ("application/x-subrip", "application/x-subrip; charset=utf-8"),
    ],
)
def test_subtitles_come_as_what_they_are(
    served: RunningGateway, engine: ScriptedEngine, theirs: str, ours: str
) -> None:
    """Text, WebVTT and SubRip, byte for byte."""
    text = "WEBVTT\n\n00:00.000 --> 00:01.000\nこんにちは\n".encode()
    whole = sized(text).replace(b"application/json", theirs.encode())
    engine.script = answering(whole)
    response = ask(served.port, form(MODEL, file()))
    assert (response.status, response.body) == (200, text)
    assert response.headers["content-type"] == ours


def test_a_page_is_no_transcript(served: RunningGateway, engine: ScriptedEngine) -> None:
    """What a browser would run never comes out of here."""
    engine.script = answering(sized(b"<html>").replace(b"application/json", b"text/html"))
    response = ask(served.port, form(MODEL, file()))
    assert (response.status, response.code) == (502, "bad_engine_answer")


def events(*said: dict[str, object]) -> bytes:
    """A streamed answer of the engine's, up to its last event."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    made = [b"data: " + json.dumps(each, ensure_ascii=False).encode() + b"\n\n" for each in said]
    return head + b"\r\n" + b"".join(map(as_chunk, made))


DELTA = {"type": "transcript.text.delta", "delta": "こん"}
SAID = {"type": "transcript.text.done", "text": "こんにちは",
        "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4}}  # fmt: skip


def test_a_transcript_streams(served: RunningGateway, engine: ScriptedEngine) -> None:
    """Event by event; the tokens are in the record."""
    engine.script = answering(events(DELTA, SAID) + LAST_CHUNK)
    response = ask(served.port, form(MODEL, file()))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [json.loads(each[6:]) for each in response.body.split(b"\n\n")[:-1]] == [DELTA, SAID]
    record = served.records()[-1]
    assert (record.streamed, record.tokens_in, record.tokens_out) == (True, 14, 4)


def test_a_transcript_that_breaks_off_says_so(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """Its last event is missing: an error event takes its place."""
    engine.script = answering(events(DELTA) + LAST_CHUNK)
    response = ask(served.port, form(MODEL, file()))
    last = json.loads(response.body.split(b"\n\n")[-2][6:])
    assert last["error"]["code"] == "stream_interrupted"


def test_who_cannot_hear_names_who_can(module_engine: ScriptedEngine, tmp_path: Path) -> None:
    """The model's engine has no such route; another one's has."""
    deaf = target_at(module_engine.port, "talker", engine="lms", native=("chat",))
    ears = target_at(
        module_engine.port, "whisper", engine="vllm", native=NATIVE, capabilities=("audio",)
    )
    with gateway(tmp_path, deaf, ears) as served:
        body = MODEL.replace(b"\r\nm\r\n", b"\r\ntalker\r\n")
        response = ask(served.port, form(body, file()))
    assert (response.status, response.code) == (400, "unsupported_operation")
    assert response.message == (
        "The engine 'lms' cannot transcribe audio. Here it can be asked of 'whisper' (vllm)."
    )


def speak(**more: object) -> bytes:
    """A request for speech."""
    body = {"model": "m", "input": "hi", "voice": "alloy", **more}
    return request("POST", "/v1/audio/speech", body=json.dumps(body).encode())


SOUND_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_speech_arrives_as_it_is_made(served: RunningGateway, engine: ScriptedEngine) -> None:
    """The engine's type, every byte; the record is there when the last one is."""
    engine.script = answering(SOUND_HEAD + as_chunk(TALK) + as_chunk(b"\xff\xf3") + LAST_CHUNK)
    response = ask(served.port, speak())
    assert (response.status, response.body) == (200, TALK + b"\xff\xf3")
    assert response.headers["content-type"] == "audio/mpeg"
    assert json.loads(engine.seen[-1].body)["model"] == "whisper-1"
    assert served.records()[-1].status == 200


def test_speech_that_breaks_off_does_not_look_whole(
    served: RunningGateway, engine: ScriptedEngine
) -> None:
    """The client's own HTTP misses the end."""

    def stop(side: EngineSide) -> None:
        side.request()
        side.send(SOUND_HEAD + as_chunk(TALK) + as_chunk(TALK))

    engine.script = stop
    with RawClient(served.port) as client:
        client.send(speak())
        assert client.head()[0] == 200
        assert not client.rest().endswith(LAST_CHUNK)
    assert served.records()[-1].error == "stream_interrupted"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (sized(b'{"error":{"message":"no such voice"}}', "400 Bad Request"), 400, "invalid_value"),
        (sized(b'{"error":"oops"}'), 502, "engine_error"),
        (sized(b"<html>").replace(b"application/json", b"text/html"), 502, "bad_engine_answer"),
        (sized(b"404 page not found", "404 Not Found"), 400, "unsupported_operation"),
    ],
)
def test_what_is_no_sound_is_an_error(
    served: RunningGateway, engine: ScriptedEngine, answer: bytes, status: int, code: str
) -> None:
    """In JSON, with a status."""
    engine.script = answering(answer)
    response = ask(served.port, speak())
    assert (response.status, response.code) == (status, code)


def test_speech_may_come_as_events(served: RunningGateway, engine: ScriptedEngine) -> None:
    """`stream_format: sse`: OpenAI's events with the sound in base64."""
    done = {"type": "speech.audio.done", "usage": {"input_tokens": 2, "output_tokens": 9}}
    sound = {"type": "speech.audio.delta", "audio": "//N"}
    engine.script = answering(events(sound, done) + LAST_CHUNK)
    response = ask(served.port, speak(stream_format="sse"))
    assert [json.loads(each[6:]) for each in response.body.split(b"\n\n")[:-1]] == [sound, done]
    assert served.records()[-1].tokens_out == 9


@pytest.mark.parametrize("more", [{"speed": 5}, {"input": ""}, {"stream_format": "x"}])
def test_speech_s_ranges_are_checked(served: RunningGateway, more: dict[str, object]) -> None:
    """400, with the field's name."""
    response = ask(served.port, speak(**more))
    assert (response.status, response.code) == (400, "invalid_value")
    assert response.json()["error"]["param"] == next(iter(more))


def test_openais_own_client_is_understood(served: RunningGateway, engine: ScriptedEngine) -> None:
    """A file, a list of granularities, an answer as its types want it; then speech, in pieces."""
    engine.script = answering(sized(HEARD), SOUND_HEAD + as_chunk(TALK) + LAST_CHUNK)
    with OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY) as client:
        heard = client.audio.transcriptions.create(
            model="m",
            file=("声.wav", TALK),
            language="ja",
            temperature=0.5,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        with client.audio.speech.with_streaming_response.create(
            model="m", voice="alloy", input="こんにちは"
        ) as spoken:
            sound = b"".join(spoken.iter_bytes())
    assert heard.text == "こんにちは"
    assert sound == TALK
    form_seen = engine.seen[-2].body
    assert b'name="timestamp_granularities[]"\r\n\r\nword\r\n' in form_seen
    assert 'filename="声.wav"'.encode() in form_seen
    assert TALK in form_seen
