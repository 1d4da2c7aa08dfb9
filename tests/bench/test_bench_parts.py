"""What the bench measures with: its engines' bytes, its loads, its rules."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.candidates import Candidate
from bench.endurance import leave_streams
from bench.events import MARK, OllamaEvents, OpenAiEvents
from bench.load import Answers, ask, whole_size
from bench.machine import NotMeasurable, many_files
from bench.processes import free_port, wait_until
from bench.rounds import StreamRound
from bench.streams import Asking, Streamed, Streams

from bench import bodies, report, streams

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def streaming(*options: str) -> Iterator[int]:
    """The port of a streaming engine."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port), *options]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            wait_until("the engine", lambda: ask(port, b"{}", "") == 200)
            yield port
        finally:
            process.terminate()


@pytest.fixture(name="engine")
def fixture_engine() -> Iterator[int]:
    """The port of an engine that speaks OpenAI's language."""
    with streaming() as port:
        yield port


def answers(*, p50: float, worst: float) -> Answers:
    """A load's summary."""
    return Answers(requests=10, seconds=1.0, p50=p50, p99=p50, worst=worst, errors=0, load_cpu=0.0)


def stream_round(cpu_per_chunk: float, errors: int = 0) -> StreamRound:
    """A turn that cost so much."""
    streamed = Streamed(
        streams=2, chunks=10, seconds=1.0, errors=errors, complaint="", load_cpu=0.0
    )
    return StreamRound(
        streamed=streamed,
        cpu_per_chunk=cpu_per_chunk,
        candidate_cpu=0.1,
        engine_cpu=0.1,
        pace=1.0,
        memory={"gateway": 20.0},
    )


def test_an_event_of_each_kind_is_counted_once() -> None:
    """Chunks are counted by the mark: once in each event, never in an end."""
    kinds = (OpenAiEvents(), OllamaEvents())

    assert [kind.event().count(MARK) for kind in kinds] == [1, 1]
    assert [kind.done().count(MARK) for kind in kinds] == [0, 0]


def test_lines_of_ollama_differ_by_their_moment() -> None:
    """Ollama says in each line when it was made, as Go writes it."""
    lines = [OllamaEvents().event().split(b"\r\n")[1] for _ in range(3)]
    moments = {json.loads(line)["created_at"] for line in lines}

    assert len(moments) == 3
    assert all(
        re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", m) for m in moments
    )


@pytest.mark.parametrize(
    ("options", "asking"), [((), streams.openai), (("--ollama",), streams.ollama)]
)
def test_the_engine_s_own_streams_are_whole(options: tuple[str, ...], asking: Asking) -> None:
    """What the engine of either kind streams is what the load takes for whole."""
    with streaming(*options) as port:
        told = Streams(port, asking("bench", 3), "", count=4, events=3).run(0.01, lambda _: None)

    assert (told.errors, told.complaint) == (0, "")


def test_a_large_body_is_a_chat_of_its_size() -> None:
    """The picture is base64 that begins as a PNG does, the body is as long as asked for."""
    body = bodies.large_body("bench", 100_000)
    url = json.loads(body)["messages"][0]["content"][1]["image_url"]["url"]

    assert 99_996 <= len(body) <= 100_000
    assert url.startswith("data:image/png;base64,iVBORw0KGg")
    assert len(url.partition(",")[2]) % 4 == 0


def test_a_large_body_is_read_whole_before_it_is_answered(engine: int) -> None:
    """An early answer would make the way look shorter than it is."""
    assert bodies.send(engine, "", bodies.large_body("bench", 3_000_000)) > 0
    assert ask(engine, b"{}", "") == 200


def test_a_delay_counts_against_the_usual_latency() -> None:
    """The worst small request beside large ones, against the median without them."""
    turn = bodies.Turn(
        large=[20.0], alone=answers(p50=0.5, worst=4.0), beside=answers(p50=0.6, worst=12.5)
    )

    assert turn.delay == 12.0


def test_a_stream_that_is_left_had_begun(engine: int) -> None:
    """Only streams that brought an event count as cancelled ones."""
    way = Candidate(name="straight", port=engine, pids={})

    assert leave_streams(way, 7) == 7


def test_a_translation_is_judged_against_nginx(capsys: pytest.CaptureFixture[str]) -> None:
    """The ratio is taken within a turn; a broken stream is an error."""
    rounds = {
        "nginx": [stream_round(2.0), stream_round(4.0), stream_round(1.0)],
        "flm": [stream_round(13.0), stream_round(20.0), stream_round(7.0, errors=1)],
    }

    report.translation_verdicts(rounds, "A to B", 6.0)

    assert capsys.readouterr().out == (
        "  CPU for a chunk, A to B, against nginx: 6.5× (must be ≤ 6×): DOES NOT HOLD\n"
        "  errors, A to B: 1 (must be ≤ 0): DOES NOT HOLD\n"
    )


def test_an_answer_s_size_is_told_by_its_head() -> None:
    """Nothing is known before the head is whole; without a length there is no body."""
    assert whole_size(b"HTTP/1.1 200 OK\r\ncontent-le") is None
    assert whole_size(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n") == 51
    assert whole_size(b"HTTP/1.1 204 No Content\r\n\r\n") == 27


def test_more_files_than_are_allowed_cannot_be_measured() -> None:
    """Streams that the machine refuses would look like errors of FLM's."""
    with pytest.raises(NotMeasurable, match="open files"), many_files(1 << 40):
        pass
