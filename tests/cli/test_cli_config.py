"""`flm config`, over a real store."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Flm


def test_a_value_is_alone_on_stdout(flm: Flm) -> None:
    """What it means is said on stderr."""
    ran = flm("config", "get", "server.port")

    assert ran.out == "8356\n"
    assert ran.err == (
        "server.port (default; default: 8356). The port of the API; 0 takes a free one.\n"
    )


def test_what_is_set_is_got(flm: Flm) -> None:
    """And forgotten again with --default."""
    assert flm("config", "set", "server.port", "9000").out == "9000\n"
    assert flm("config", "get", "server.port", "--format", "json").data == {
        "name": "server.port",
        "value": 9000,
        "default": 8356,
        "source": "stored",
        "variable": "FLM_SERVER_PORT",
        "meaning": "The port of the API; 0 takes a free one.",
    }
    assert flm("config", "set", "server.port", "--default").out == "8356\n"


def test_a_wrong_value_is_refused_with_what_would_be_right(flm: Flm) -> None:
    """Nothing is stored."""
    ran = flm("config", "set", "server.port", "99999")

    assert ran.code == 1
    assert "from 0 to 65535" in ran.err
    assert flm("config", "get", "server.port").out == "8356\n"


def test_a_wrong_name_is_told_with_the_nearest(flm: Flm) -> None:
    """In the reader's language."""
    ran = flm("config", "get", "server.prot", "--lang", "ja")

    assert ran.code == 1
    assert ran.err.startswith(
        "エラー: 'server.prot' という設定はありません。\nもしかして server.port"
    )


def test_a_variable_that_goes_before_is_named(flm: Flm) -> None:
    """What was stored does not hold, and the user is told why."""
    ran = flm("config", "set", "server.port", "9000", environ={"FLM_SERVER_PORT": "9001"})

    assert ran.out == "9001\n"
    assert "FLM_SERVER_PORT says otherwise" in ran.err


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("-m /models/qwen3.gguf -c 8192", ["-m", "/models/qwen3.gguf", "-c", "8192"]),
        ("--metrics", ["--metrics"]),
        ("--model=/models/qwen3.gguf", ["--model=/models/qwen3.gguf"]),
    ],
)
def test_arguments_are_taken_as_they_are(flm: Flm, value: str, words: list[str]) -> None:
    """An engine's flags are no options of ours; ours are still understood behind them."""
    name = "engines.llamacpp.arguments"
    assert flm("config", "set", name, value, "--format", "json").data["value"] == words
    assert flm("config", "set", name, "--default", "--format", "json").data["value"] is None
    assert "--default" in flm("config", "set", name, "--help").out


def test_an_option_that_is_none_is_no_value(flm: Flm) -> None:
    """A slip in an option's name is not stored as a path."""
    ran = flm("config", "set", "engines.vllm.path", "--defualt")
    assert (ran.code, "--defualt" in ran.err) == (1, True)
    assert flm("config", "get", "engines.vllm.path").out == "-\n"


def test_either_a_value_or_the_default(flm: Flm) -> None:
    """Neither and both are mistakes."""
    assert flm("config", "set", "server.port").code == 1
    assert flm("config", "set", "server.port", "1", "--default").code == 1


def test_the_list_has_every_setting_with_its_meaning(flm: Flm) -> None:
    """As text, in Japanese, and for programs."""
    text = flm("config", "list", "--lang", "ja").out
    listed = flm("config", "list", "--format", "json").data["settings"]

    assert "server.port" in text
    assert "API のポート" in text
    assert {"name", "value", "default", "source", "variable", "meaning"} == set(listed[0])
    assert [line.split()[0] for line in text.splitlines()[1:]] == [each["name"] for each in listed]
