"""Reading GGUF files without loading them, and writing the demo model."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from flm.domain.models import Model
from flm.engines.embedded.header import read_header
from flm.engines.embedded.models import (
    QUANTIZATIONS,
    effective_context,
    inspect,
    parts,
)
from flm.errors import InvalidValue

Value = int | float | bool | str | list[str] | list[int]


def packed(value: Value) -> bytes:
    """A GGUF value with its type before it."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<Id", 12, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind = 8 if isinstance(value[0], str) else 5
    items = (text(each) if isinstance(each, str) else struct.pack("<i", each) for each in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)


def text(value: str) -> bytes:
    """A GGUF string."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def written(
    folder: Path, keys: dict[str, Value], name: str = "model.gguf", version: int = 3
) -> str:
    """A GGUF file with those keys and no tensors; its path."""
    body = b"".join(text(key) + packed(value) for key, value in keys.items())
    path = folder / name
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, len(keys)) + body)
    return str(path)


def chat_model(**more: Value) -> dict[str, Value]:
    """The keys of a chat model, its template behind a vocabulary as in real files."""
    return {
        "general.architecture": "qwen3",
        "general.name": "Qwen3 8B",
        "general.file_type": 15,
        "qwen3.context_length": 40960,
        "tokenizer.ggml.tokens": ["<unk>", "a", "日本"],
        "tokenizer.ggml.token_type": [2, 1, 1],
        "tokenizer.chat_template": "{{ messages }}",
        **more,
    }


def test_a_chat_model_is_told_by_its_keys(tmp_path: Path) -> None:
    """Name of the file, architecture, context, quantisation and size."""
    path = written(tmp_path, chat_model(), "Qwen3-8B-Q4_K_M.gguf")
    assert inspect(path) == Model(
        name="Qwen3-8B-Q4_K_M",
        engine="embedded",  # type: ignore[arg-type]
        capabilities=("chat",),
        context_length=8192,
        trained_context=40960,
        size_bytes=Path(path).stat().st_size,
        quantization="Q4_K_M",
        family="qwen3",
    )


def test_arrays_are_skipped_and_what_follows_is_read(tmp_path: Path) -> None:
    """Strings, numbers and flags; a vocabulary of 100,000 tokens is passed over."""
    keys: dict[str, Value] = {
        "a": [str(number) for number in range(100_000)],
        "b": list(range(1000)),
        "c": True,
        "d": 1.5,
        "e": "end",
    }
    assert read_header(Path(written(tmp_path, keys))) == {"c": True, "d": 1.5, "e": "end"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ("chat",)),
        ({"tokenizer.chat_template": "{% if tools %}"}, ("chat", "tools")),
        ({"tokenizer.chat_template": "<think>"}, ("chat", "reasoning")),
        ({"tokenizer.chat_template": ""}, ("chat",)),
        ({"qwen3.pooling_type": 1}, ("chat", "embeddings")),
        ({"qwen3.pooling_type": 0}, ("chat",)),
        ({"qwen3.pooling_type": 3, "tokenizer.chat_template": ""}, ("embeddings",)),
        ({"qwen3.pooling_type": 4}, ()),
        ({"general.architecture": "bert", "bert.pooling_type": 2}, ("embeddings",)),
        ({"general.architecture": "nomic-bert"}, ("embeddings",)),
    ],
)
def test_what_a_model_can_do_follows_from_its_keys(
    tmp_path: Path, more: dict[str, Value], expected: tuple[str, ...]
) -> None:
    """Pooling embeds, a template chats, ranking does neither."""
    assert inspect(written(tmp_path, chat_model(**more))).capabilities == expected


@pytest.mark.parametrize(
    ("trained", "wanted", "expected"),
    [(40960, 0, 8192), (2048, 0, 2048), (40960, 16384, 16384), (2048, 4096, 2048), (None, 0, 8192)],
)
def test_the_effective_context_is_what_is_wanted_and_never_more_than_trained(
    trained: int | None, wanted: int, expected: int
) -> None:
    """0 means the model's own, at most 8,192."""
    assert effective_context(trained, wanted) == expected


@pytest.mark.parametrize(
    "keys",
    [
        chat_model(**{"general.type": "mmproj"}),
        chat_model(**{"general.type": "adapter"}),
        {"general.architecture": "clip"},
        chat_model(**{"split.no": 1, "split.count": 3}),
        {"general.name": "nothing"},
    ],
    ids=["projector", "adapter", "clip", "later part", "no architecture"],
)
def test_what_is_no_whole_model_is_refused_with_a_remedy(
    tmp_path: Path, keys: dict[str, Value]
) -> None:
    """Projectors, adapters and later parts are GGUF files and no models."""
    with pytest.raises(InvalidValue) as caught:
        inspect(written(tmp_path, keys))
    assert caught.value.remedy.startswith("Give the")


def test_a_split_model_counts_all_its_parts_and_is_named_without_them(tmp_path: Path) -> None:
    """`big-00001-of-00002.gguf` is the model `big`."""
    first = written(tmp_path, chat_model(**{"split.no": 0}), "big-00001-of-00002.gguf")
    second = written(tmp_path, {"split.no": 1}, "big-00002-of-00002.gguf")
    model = inspect(first)
    assert model.name == "big"
    assert model.size_bytes == Path(first).stat().st_size + Path(second).stat().st_size
    assert parts(Path(first)) == [Path(first), Path(second)]


def test_every_file_that_is_cut_short_is_refused_in_words(tmp_path: Path) -> None:
    """A download that broke off inside the header is never half read."""
    whole = Path(written(tmp_path, chat_model())).read_bytes()
    broken = tmp_path / "broken.gguf"
    for length in range(len(whole)):
        broken.write_bytes(whole[:length])
        with pytest.raises(InvalidValue, match="is no GGUF model, or not a whole one"):
            read_header(broken)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" * 10,
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 77, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a")
        + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 2000,
    ],
    ids=[
        "empty", "a zip", "version 1", "big endian", "endless keys", "endless key",
        "unknown kind", "endless array", "array of what", "nested arrays",
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, data: bytes) -> None:
    """No length in it is believed beyond the file's own."""
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data)
    with pytest.raises(InvalidValue):
        read_header(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message says the path and the system's reason."""
    with pytest.raises(InvalidValue, match=r"none\.gguf cannot be read: No such file or directory"):
        inspect(str(tmp_path / "none.gguf"))


@pytest.mark.needs_embedded
def test_the_names_of_quantisations_are_those_of_gguf() -> None:
    """Every file type that the gguf package knows has the same name here."""
    gguf = pytest.importorskip("gguf", reason="pip install '.[embedded]'")
    named = {
        kind.value: kind.name.removeprefix("ALL_").removeprefix("MOSTLY_")
        for kind in gguf.LlamaFileType
        if kind.name != "GUESSED"
    }
    assert named.items() <= QUANTIZATIONS.items()


@pytest.mark.needs_embedded
def test_the_demo_model_is_the_same_every_time(tmp_path: Path) -> None:
    """A fixed seed: 520 kB that chat and embed, and nothing else in the folder."""
    pytest.importorskip("gguf", reason="pip install '.[embedded]'")
    from flm.engines.embedded.demo import write_demo

    write_demo(tmp_path / "one.gguf")
    write_demo(tmp_path / "two.gguf")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.gguf", "two.gguf"]
    model = inspect(str(tmp_path / "one.gguf"))
    assert model.capabilities == ("chat", "embeddings")
    assert (model.context_length, model.family, model.quantization) == (2048, "llama", "F32")
    assert 500_000 < (model.size_bytes or 0) < 540_000
