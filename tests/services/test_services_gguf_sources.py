"""What a file, a URL and a name of Hugging Face mean as a GGUF model."""

from __future__ import annotations

import pytest

from flm.errors import InvalidValue, NotFound
from flm.services.gguf_sources import (
    HUB,
    Fetch,
    HubModel,
    Listed,
    LocalFile,
    Source,
    WebFile,
    chosen,
    fetches,
    folder_of,
    listing_url,
    name_of_model,
    source_of,
)

ONE = Listed("m-Q4_K_M.gguf", "a" * 64)
OTHER = Listed("m-Q8_0.gguf")
LOOKALIKE = Listed("m-IQ4_K_M.gguf")
PROJECTOR = Listed("mmproj-f16.gguf")
PARTS = [
    Listed("Q6_K/m-Q6_K-00001-of-00002.gguf", "b" * 64),
    Listed("Q6_K/m-Q6_K-00002-of-00002.gguf", "c" * 64),
]
README = Listed("README.md")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf.co/a/b", HubModel("a/b")),
        ("hf.co/a/b:Q4_K_M", HubModel("a/b", "Q4_K_M")),
        ("hf.co/a/b/sub/x.gguf", HubModel("a/b", "sub/x.gguf")),
        ("huggingface.co/a/b", HubModel("a/b")),
        ("https://huggingface.co/a/b/tree/main", HubModel("a/b")),
        (
            "https://huggingface.co/a/b/blob/main/x.gguf",
            WebFile("https://huggingface.co/a/b/resolve/main/x.gguf"),
        ),
        ("https://box.example/x.gguf?sig=1", WebFile("https://box.example/x.gguf?sig=1")),
        ("http://box.example/x", WebFile("http://box.example/x")),
        ("./x", LocalFile("./x")),
        ("C:\\models\\x.gguf", LocalFile("C:\\models\\x.gguf")),
        ("x.gguf", LocalFile("x.gguf")),
        ("qwen3:8b", None),
        ("Qwen/Qwen3-8B", None),
        ("hf.co/../../x", None),
    ],
)
def test_a_text_means_one_kind_of_source(text: str, source: Source | None) -> None:
    """Names of engines mean none."""
    assert source_of(text) == source


def test_a_url_is_one_file() -> None:
    """Under the name that the address ends with, spaces and all."""
    url = "https://box.example/a/my%20model.gguf?sig=1"
    assert fetches(url, "a" * 64) == (Fetch(url, "my model.gguf", "a" * 64),)


def test_the_first_of_a_split_model_means_all_parts() -> None:
    """Each at its own address, the query included."""
    assert fetches("https://box.example/m-00001-of-00002.gguf?t=1", None) == (
        Fetch("https://box.example/m-00001-of-00002.gguf?t=1", "m-00001-of-00002.gguf"),
        Fetch("https://box.example/m-00002-of-00002.gguf?t=1", "m-00002-of-00002.gguf"),
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://box.example/m-00002-of-00002.gguf",
        "https://box.example/m-00001-of-99999.gguf",
        "https://box.example/model.bin",
        "https://box.example/",
        "https://box.example/..%2f..%2fx.gguf",
        "https://box.example/.gguf",
        "https://box.example/a%00.gguf",
        "https://box.example/a%3a.gguf",
    ],
)
def test_what_is_no_model_of_its_own_is_refused(url: str) -> None:
    """Later parts, other files, and names that would lead out of the folder."""
    with pytest.raises(InvalidValue):
        fetches(url, None)


def test_one_checksum_cannot_be_of_several_files() -> None:
    """Which of them would it be?"""
    with pytest.raises(InvalidValue) as caught:
        fetches("https://box.example/m-00001-of-00002.gguf", "a" * 64)
    assert "one of 2 files" in caught.value.message


def test_a_model_is_called_as_its_file_without_the_part() -> None:
    """Nobody wants `-00001-of-00003` in a name."""
    assert name_of_model("/models/m-Q6_K-00001-of-00003.gguf") == "m-Q6_K"
    assert name_of_model("m.GGUF") == "m"


def test_files_of_one_place_lie_together_whatever_the_signature() -> None:
    """And those of another place elsewhere, though they have the same name."""
    here = folder_of("https://box.example/a/m-00001-of-00002.gguf?sig=1")
    assert here == folder_of("https://box.example/a/m-00002-of-00002.gguf?sig=2")
    assert here != folder_of("https://box.example/b/m-00001-of-00002.gguf?sig=1")


def test_a_repository_is_listed_at_the_hub_or_its_mirror() -> None:
    """`HF_ENDPOINT` may end with a slash."""
    assert listing_url("http://mirror/", "a/b") == (
        "http://mirror/api/models/a/b/tree/main?recursive=true"
    )


def test_the_usual_quantisation_is_taken_when_none_is_named() -> None:
    """With the checksum that the hub keeps of it."""
    files = [README, PROJECTOR, LOOKALIKE, OTHER, ONE, *PARTS]
    assert chosen(HUB, HubModel("a/b"), files) == (
        Fetch("https://huggingface.co/a/b/resolve/main/m-Q4_K_M.gguf", "m-Q4_K_M.gguf", "a" * 64),
    )


def test_the_only_model_is_taken_whatever_it_is_called() -> None:
    """Projectors and other files do not count."""
    (fetch,) = chosen(HUB, HubModel("a/b"), [README, PROJECTOR, LOOKALIKE])
    assert fetch.name == "m-IQ4_K_M.gguf"


@pytest.mark.parametrize("wanted", ["q6_k", "Q6_K/m-Q6_K-00001-of-00002.gguf"])
def test_a_split_model_comes_with_all_its_parts(wanted: str) -> None:
    """Named by its quantisation or by its first file."""
    found = chosen("http://mirror", HubModel("a/b", wanted), [ONE, *PARTS])
    assert [fetch.url for fetch in found] == [
        "http://mirror/a/b/resolve/main/Q6_K/m-Q6_K-00001-of-00002.gguf",
        "http://mirror/a/b/resolve/main/Q6_K/m-Q6_K-00002-of-00002.gguf",
    ]
    assert [fetch.sha256 for fetch in found] == ["b" * 64, "c" * 64]


def test_a_part_that_is_missing_is_named() -> None:
    """Before anything is fetched."""
    with pytest.raises(NotFound) as caught:
        chosen(HUB, HubModel("a/b", "Q6_K"), PARTS[:1])
    assert "lacks the part m-Q6_K-00002-of-00002.gguf" in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "files", "message", "remedy"),
    [
        ("", [README, PROJECTOR], "a/b holds no GGUF model.", "-GGUF"),
        ("Q5", [ONE, OTHER], "a/b holds nothing that is called Q5.", "m-Q4_K_M.gguf, m-Q8_0.gguf"),
        (
            "",
            [Listed("x-F16.gguf"), Listed("y-F16.gguf")],
            "Several files of a/b could be meant.",
            "hf.co/a/b:FILE: x-F16.gguf, y-F16.gguf",
        ),
    ],
)
def test_what_cannot_be_chosen_is_said_with_the_choices(
    wanted: str, files: list[Listed], message: str, remedy: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises((InvalidValue, NotFound)) as caught:
        chosen(HUB, HubModel("a/b", wanted), files)
    assert caught.value.message == message
    assert remedy in caught.value.remedy
