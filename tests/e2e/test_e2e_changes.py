"""What the commands change is in force on the gateway that runs; what it served is in the log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from e2e_engines import SENTENCE, WORDS, Switchboard
from e2e_house import CHAT, House, call, chat

from support.running_flm import Flm, until


def status(house: House, model: str) -> int:
    """How a chat with that model ends."""
    return call(house.served.port, CHAT, house.key, chat(model)).status


def test_an_allowed_host_is_answered_at_once_and_refused_when_it_is_not(house: House) -> None:
    """`server.allowed_hosts`; the refusal names the setting."""

    def ask() -> tuple[int, bytes]:
        answer = call(house.served.port, "/v1/models", house.key, host="box.lan")
        return answer.status, answer.body

    before = ask()
    house.flm.tell("config", "set", "server.allowed_hosts", "box.lan")
    during = ask()
    house.flm.tell("config", "set", "server.allowed_hosts", "--default")
    after = ask()
    assert (before[0], during[0], after[0]) == (421, 200, 421)
    assert b"server.allowed_hosts" in before[1]


def test_a_wrong_setting_is_refused_with_what_would_be_right(house: House) -> None:
    """Exit code 1, and what was stored stays."""
    refused = house.flm.run("config", "set", "streams.idle_seconds", "soon")
    assert (refused.code, refused.error["code"]) == (1, "invalid_value")
    assert "whole number from 1 to 86400" in refused.error["message"]
    assert house.flm.tell("config", "get", "streams.idle_seconds")["value"] == 300


def test_an_engine_is_served_once_added_and_refused_once_removed(house: House) -> None:
    """Without a restart; its model's name is free again."""
    with Switchboard() as fresh:
        house.flm.tell("engines", "add", "fresh", "--url", f"{fresh.url}/v1")
        until(lambda: status(house, "fresh/shared") == 200, "the engine's model", 10)
        listed = [each["id"] for each in house.flm.tell("engines", "list")["engines"]]
        house.flm.tell("engines", "remove", "fresh")
        assert status(house, "fresh/shared") == 404
    assert "fresh" in listed
    assert fresh.asked[-1]["model"] == "shared"


def test_an_engines_own_key_is_sent_to_it_and_shown_nowhere(house: House) -> None:
    """Given on stdin, kept sealed."""
    with Switchboard() as fresh:
        house.flm.run(
            *("engines", "add", "keyed", "--url", fresh.url, "--api-key-stdin"), stdin="sk-abc123\n"
        )
        until(lambda: status(house, "keyed/shared") == 200, "the engine's model", 10)
        listed = house.flm.run("engines", "list")
        house.flm.tell("engines", "remove", "keyed")
    assert fresh.seen[-1].headers["authorization"] == "Bearer sk-abc123"
    assert "sk-abc123" not in listed.out
    for path in house.flm.data.rglob("*.db*"):
        assert b"sk-abc123" not in path.read_bytes()


def test_a_running_flm_is_not_its_own_engine(house: House) -> None:
    """Its own address is refused, under whatever name it is written."""
    for url in (house.served.base_url, f"http://localhost:{house.served.port}/v1"):
        refused = house.flm.run("engines", "add", "me", "--url", url)
        assert (refused.code, refused.error["code"]) == (1, "own_address")


def test_a_model_is_served_once_added_and_gone_once_removed(house: House, gguf: Path) -> None:
    """When the command returns, both ways; a loaded one is unloaded."""
    house.flm.tell("models", "add", str(gguf / "other.gguf"), "--name", "team/new")
    answer = call(house.served.port, CHAT, house.key, chat("team/new"))
    loaded = len(house.served.embedded())
    house.flm.tell("models", "remove", "team/new")
    refused = call(house.served.port, CHAT, house.key, chat("team/new"))
    assert answer.json["choices"][0]["message"]["content"] == WORDS
    assert (refused.status, refused.code) == (404, "model_not_found")
    until(lambda: len(house.served.embedded()) < loaded, "its process's end", 10)


def test_a_file_that_is_no_model_is_refused(house: House, tmp_path: Path) -> None:
    """Exit code 1, and nothing is stored."""
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GIF89a")
    refused = house.flm.run("models", "add", str(wrong))
    assert refused.code == 1
    assert "wrong.gguf" in refused.error["message"]


def test_models_are_listed_by_engine_with_the_context_in_force(house: House) -> None:
    """The effective context, not the trained one; a cloud model is not there."""
    found = house.flm.tell("models", "list", "--engine", "ollama")["models"]
    contexts = {each["id"]: each["context_length"] for each in found}
    assert contexts["tiny:latest"] == 2048
    assert {each["engine"] for each in found} == {"ollama"}
    assert not any("cloud" in each["id"] for each in found)


def test_the_log_is_searched_by_status_model_key_and_number(house: House) -> None:
    """Newest first; every filter for itself and all of them together."""
    key_id, key = house.flm.key("filters")
    port = house.served.port
    good = call(port, CHAT, key, chat("words"))
    other = call(port, CHAT, key, chat("Qwen/Qwen3-8B"))
    bad = call(port, CHAT, key, chat("nobody"))
    ids = [each.headers["x-request-id"] for each in (good, other, bad)]
    house.flm.record(ids[2])

    def found(*flags: str) -> list[int]:
        return [ids.index(each["request_id"]) for each in house.flm.logs("--key", key_id, *flags)]

    assert found() == [2, 1, 0]
    assert found("--limit", "2") == [2, 1]
    assert found("--status", "404") == [2]
    assert found("--status", "4xx") == [2]
    assert found("--status", "error") == [2]
    assert found("--status", "ok") == [1, 0]
    assert found("--model", "words") == [0]
    assert found("--model", "words", "--status", "404") == []
    assert found("--since", "1h") == [2, 1, 0]
    assert found("--since", "2099-01-01") == []


def test_a_record_holds_what_the_issue_lists_and_no_words(house: House) -> None:
    """Who, what, where, how long and how much; neither prompt nor answer."""
    answer = call(house.served.port, CHAT, house.key, chat("words", stream=True))
    record = house.flm.record(answer.headers["x-request-id"])
    assert list(record) == [
        *("time", "request_id", "key_id", "model", "engine", "route", "status", "error"),
        *("latency_ms", "first_token_ms", "tokens_in", "tokens_out", "client", "streamed"),
        *("api", "cached_tokens", "reasoning_tokens", "estimated", "tokens_per_second"),
        *("tries", "remote", "prompt_template", "profile", "dropped"),
    ]
    assert (record["route"], record["client"]) == (CHAT, "127.0.0.1")
    assert 0 < record["first_token_ms"] <= record["latency_ms"]
    assert (record["tokens_in"], record["tokens_out"]) == (21, 24)
    stored = b"".join(path.read_bytes() for path in house.flm.data.rglob("*.db*"))
    assert "こんにちは".encode() not in stored


@pytest.mark.parametrize("flags", [(), ("--stream",)])
def test_chat_asks_through_the_gateway_and_is_recorded_as_the_owner(
    house: House, flags: tuple[str, ...]
) -> None:
    """Text on stdout as UTF-8, whatever the terminal's code page."""
    command = house.flm.command("chat", "--model", "words", "--prompt", "hi", *flags)
    command = command[: command.index("--format")]
    done = subprocess.run(
        command,
        env={**house.flm.environ, "PYTHONIOENCODING": "cp932"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == f"{SENTENCE}\n"
    asked = ("--key", "owner", "--model", "words")
    until(lambda: bool(flags) in {each["streamed"] for each in house.flm.logs(*asked)}, "a record")


def test_chat_without_anything_running_names_up(flm: Flm) -> None:
    """Exit code 1."""
    refused = flm.run("chat", "--model", "words", "--prompt", "hi")
    assert (refused.code, refused.error["code"]) == (1, "not_running")
    assert "flm up" in refused.error["remedy"]
