"""Events of transcriptions and of speech."""

from __future__ import annotations

import itertools
import json

import pytest
from dialects_recorded import OPENAI_TARGET, drive
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.audio_events import MAX_EVENT, AudioEvents
from flm.dialects.codec import Usage


def event(**fields: object) -> bytes:
    """One event."""
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
DELTA = event(type="transcript.text.delta", delta="こんにちは 😀")
LAST = event(type="transcript.text.done", text="…", usage={"input_tokens": 3, "output_tokens": 5})


def chunk(model: str, **more: object) -> bytes:
    """An event of vLLM's."""
    choices = [{"delta": {"content": "hi"}, "finish_reason": None}]
    return event(object="transcription.chunk", model=model, choices=choices, **more)


def test_openais_events_end_with_their_last() -> None:
    """It is held back as the end mark; `[DONE]` may follow, and need not."""
    alone = drive(AudioEvents("mine", OPENAI_TARGET), [DELTA + LAST])
    assert (alone.sent, alone.tail, alone.error) == (DELTA, LAST, None)
    assert alone.usage == Usage(3, 5)
    both = drive(AudioEvents("mine", OPENAI_TARGET), [DELTA, LAST, DONE])
    assert (both.sent, both.tail, both.error) == (DELTA, LAST + DONE, None)


def test_chunks_as_of_a_chat_end_with_the_end_mark() -> None:
    """vLLM's: the client reads its own name for the model, tokens are counted."""
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    result = drive(
        AudioEvents("mine", OPENAI_TARGET),
        [chunk("whisper"), chunk("whisper", usage=usage), DONE],
    )
    assert json.loads(result.sent.split(b"\n\n")[0][6:]) == json.loads(chunk("mine")[6:])
    assert (result.tail, result.usage, result.error) == (DONE, Usage(3, 5), None)


def test_what_follows_the_last_event_keeps_its_place() -> None:
    """Nothing is lost, nothing is exchanged."""
    late = event(type="transcript.usage")
    result = drive(AudioEvents("mine", OPENAI_TARGET), [DELTA, LAST, late, DONE])
    assert result.sent + result.tail == DELTA + LAST + late + DONE


@pytest.mark.parametrize("pieces", [[DELTA], [chunk("m")], [DELTA, LAST[:-1]], []])
def test_a_stream_without_its_end_is_broken(pieces: list[bytes]) -> None:
    """An answer that is not whole never looks whole."""
    result = drive(AudioEvents("mine", OPENAI_TARGET), pieces)
    assert result.error is not None
    assert result.error[0] == "stream_interrupted"


def test_an_error_in_mid_stream_is_one() -> None:
    """What came before it is sent."""
    result = drive(
        AudioEvents("mine", OPENAI_TARGET), [DELTA + event(error={"message": "out of memory"})]
    )
    assert result.sent == DELTA
    assert result.error is not None


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    """There is a bound."""
    result = drive(AudioEvents("mine", OPENAI_TARGET), [b"data: " + b"x" * MAX_EVENT])
    assert result.error is not None
    assert result.error[0] == "event_too_large"


@given(st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    """Comments and line ends of both kinds among them."""
    data = b": ping\n\n" + DELTA.replace(b"\n", b"\r\n") + DELTA + LAST + DONE
    edges = [0, *sorted({min(each, len(data)) for each in cuts}), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    whole = drive(AudioEvents("mine", OPENAI_TARGET), [data])
    assert drive(AudioEvents("mine", OPENAI_TARGET), pieces) == whole
