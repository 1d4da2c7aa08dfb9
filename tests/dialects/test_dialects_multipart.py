"""Forms: read as they arrive, written anew, whatever is sent and however it is cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.multipart_form import MultipartForm, boundary_of
from flm.dialects.openai_audio import TRANSCRIPTION, AudioForm
from flm.domain.policy import Policy
from flm.errors import Refusal

Part = tuple[str, bytes]


def part(name: str, value: bytes, head: bytes = b"") -> bytes:
    """One part as a client writes it."""
    said = f'--B\r\nContent-Disposition: form-data; name="{name}"'.encode()
    return said + head + b"\r\n\r\n" + value + b"\r\n"


FILE = b'; filename="\xe5\xa3\xb0.wav"\r\nContent-Type: audio/wav'
END = b"--B--\r\n"


def reader(policy: Policy | None = None) -> MultipartForm:
    """A form of transcriptions."""
    return MultipartForm(b"B", AudioForm(TRANSCRIPTION, policy or Policy()))


def passed(form: MultipartForm, pieces: Sequence[bytes], at: int | None = None) -> bytes:
    """What goes on when the form comes in these pieces; the model is known at piece `at`, or as
    soon as it was read."""
    out = b""
    begun = False
    for index, piece in enumerate(pieces):
        out += form.feed(piece)
        if not begun and (index == at or (at is None and form.model is not None)):
            begun = True
            out += form.begin("theirs", "mine")
    assert begun
    return out + form.end()


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted({each % (len(data) + 1) for each in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


def test_a_form_goes_on_with_the_engines_model() -> None:
    """In the client's order, the file and its name byte for byte."""
    data = part("file", b"\r\n--sound--\r\n\x00", FILE) + part("model", b"mine")
    more = part("prompt", "こんにちは 😀".encode()) + part("timestamp_granularities[]", b"word")
    form = reader()
    assert passed(form, [data + more + END]) == (
        data.replace(b"\r\n\r\nmine\r\n", b"\r\n\r\ntheirs\r\n") + more + END
    )
    assert form.model == "mine"


@given(
    order=st.permutations(range(4)),
    sound=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_any_cut_and_any_order_gives_the_same_form(
    order: list[int], sound: bytes, cuts: list[int]
) -> None:
    """Also where the sound holds what looks like a delimiter."""
    sound = sound.replace(b"\r\n--B", b"")
    parts = [
        part("model", b"mine"),
        part("file", sound + b"\r\n--A\r\n-B", FILE),
        part("language", b"ja"),
        part("temperature", b"0.2"),
    ]
    data = b"".join(parts[index] for index in order) + END
    expected = data.replace(b"\r\n\r\nmine\r\n", b"\r\n\r\ntheirs\r\n")
    assert passed(reader(), [data]) == expected
    assert passed(reader(), cut(data, cuts)) == expected


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_what_is_no_form_is_refused_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    """Any bytes, in any pieces: a refusal with a reason."""
    form = reader()
    with pytest.raises(Refusal) as caught:
        passed_or_refused(form, cut(data, cuts))
    assert caught.value.status == 400


@given(
    position=st.integers(0, 400),
    junk=st.binary(min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_a_damaged_form_is_refused_or_still_names_one_model(
    position: int, junk: bytes, cuts: list[int]
) -> None:
    """What goes on is read by the same rules again, and says the same."""
    data = part("model", b"mine") + part("file", b"sound", FILE) + END
    position %= len(data)
    damaged = data[:position] + junk + data[position + 1 :]
    form = reader()
    try:
        out = passed_or_refused(form, cut(damaged, cuts))
    except Refusal as refusal:
        assert refusal.status == 400
        return
    again = reader()
    assert again.feed(out) == b""
    assert again.model == "theirs"
    assert again.begin("theirs", "theirs") + again.end() == out


def passed_or_refused(form: MultipartForm, pieces: Sequence[bytes]) -> bytes:
    """What goes on; whatever is wrong is raised."""
    out = b""
    begun = False
    for piece in pieces:
        out += form.feed(piece)
        if not begun and form.model is not None:
            begun = True
            out += form.begin("theirs", form.model)
    return out + form.end()


def test_a_model_that_comes_late_may_be_the_one_that_was_taken() -> None:
    """It is exchanged where it stands."""
    data = part("file", b"sound", FILE)
    form = reader()
    out = passed(form, [data, part("model", b"mine") + END], at=0)
    assert out == data + part("model", b"theirs") + END


def test_a_model_that_comes_late_must_be_the_one_that_was_taken() -> None:
    """No other model answers in its place."""
    form = reader()
    form.feed(part("file", b"sound", FILE))
    form.begin("theirs", "mine")
    with pytest.raises(Refusal) as caught:
        form.feed(part("model", b"another") + END)
    assert (caught.value.status, caught.value.code) == (400, "model_named_late")


def test_what_stands_around_the_form_goes_no_further() -> None:
    """No preamble, no epilogue, no head but name, file name and type."""
    head = b"\r\nContent-Transfer-Encoding: binary\r\nX-Other: y"
    data = b"preamble\r\n" + part("model", b"mine", head) + END + b"epilogue"
    assert passed(reader(), [data]) == part("model", b"theirs") + END


def test_a_file_with_a_long_name_is_a_file() -> None:
    """RFC 5987's spelling, which some clients use for what is not ASCII."""
    head = b"; filename*=utf-8''%E5%A3%B0.wav"
    data = part("model", b"mine") + part("file", b"sound", head) + END
    out = passed(reader(), [data])
    assert b'name="file"; filename="\xe5\xa3\xb0.wav"\r\n\r\nsound' in out


def test_a_second_spelling_of_a_name_goes_no_further() -> None:
    """An engine that reads `name*` would see another field than FLM judged."""
    data = part("model", b"mine") + part("prompt", b"x", b"; name*=utf-8''model") + END
    assert b"name*" not in passed(reader(), [data])


@pytest.mark.parametrize(("policy", "kept"), [("forward", True), ("drop", False)])
def test_unknown_fields_are_the_policys(policy: str, kept: bool) -> None:
    """As in JSON."""
    rules = AudioForm(TRANSCRIPTION, Policy(unknown_parameters=policy))
    form = MultipartForm(b"B", rules)
    out = passed(form, [part("model", b"mine") + part("seed", b"7") + END])
    assert (part("seed", b"7") in out, rules.dropped) == (kept, [] if kept else ["seed"])


def test_too_many_parts_are_refused() -> None:
    """What a stranger can make grow has a bound."""
    with pytest.raises(Refusal):
        reader().feed(part("include[]", b"x") * 101)


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=x; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
         b"----WebKitFormBoundary7MA4YWxkTrZu0gW"),
    ],
)  # fmt: skip
def test_the_boundary_is_read(kind: bytes, boundary: bytes) -> None:
    """Quoted or not."""
    assert boundary_of(kind) == boundary


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/form-data",
        b'multipart/form-data; boundary=""',
        b'multipart/form-data; boundary="ends with a space "',
        b'multipart/form-data; boundary="\xff"',
        b"multipart/mixed; boundary=x",
    ],
)
def test_no_boundary_is_no_form(kind: bytes) -> None:
    """RFC 2046 says which characters it may have."""
    with pytest.raises(Refusal) as caught:
        boundary_of(kind)
    assert caught.value.code == "invalid_form"
