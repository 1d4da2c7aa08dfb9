"""`flm api`, `flm api prompts` and `flm model-profiles`, over a real store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Flm


def test_an_api_is_made_shown_changed_and_deleted(flm: Flm) -> None:
    """What is odd about it is said on stderr."""
    made = flm("api", "create", "mine", "--model", "llama", "--fallback", "qwen, big")
    assert (made.code, made.out) == (0, "Clients get llama, qwen, big by the name mine now.\n")
    assert "No engine offers llama at the moment." in made.err
    assert flm("api", "update", "mine", "--no-fallback").out == "The API mine is changed: llama.\n"
    shown = flm("api", "show", "mine")
    assert "llama (no engine offers it now)" in shown.out
    assert "all" in shown.out
    assert "llama" in flm("api", "list").out
    assert flm("api", "delete", "mine").out == "The API mine is deleted.\n"
    assert "`flm api create NAME --model MODEL` makes one." in flm("api", "list").out


def test_programs_get_everything_about_an_api(flm: Flm) -> None:
    """Names and codes, nothing translated."""
    key = flm("api-keys", "create", "--label", "phone", "--format", "json").data["id"]
    flm("api", "prompts", "set", "t", "--system", "{{who}}")
    flm("model-profiles", "save", "p", "--set", "temperature=0.5")
    made = flm(
        "api", "create", "claude-*", "--model", "llama", "--keys", "phone", "--prompt-template",
        "t", "--var", "who=a=b", "--profile", "p", "--allow-remote", "--format", "json",
    ).data  # fmt: skip
    assert made.pop("created_at").endswith("Z")
    assert [each["code"] for each in made.pop("findings")] == ["api_model_missing"]
    assert made == {
        "name": "claude-*",
        "models": [{"name": "llama", "state": "missing", "remote": False}],
        "allow_remote": True,
        "keys": [key],
        "working_keys": [key],
        "prompt_template": "t",
        "template_in_force": "t@1",
        "variables": {"who": "a=b"},
        "profile": "p",
    }
    assert flm("api", "show", "claude-*", "--format", "json").data["keys"] == [key]
    assert f"{key} (phone)" in flm("api", "show", "claude-*").out
    listed = flm("api", "list", "--format", "json").data["apis"]
    assert [each["name"] for each in listed] == ["claude-*"]
    gone = flm("api", "delete", "claude-*", "--format", "json").data
    assert gone == {"deleted": "claude-*"}


def test_an_api_is_changed_flag_by_flag(flm: Flm) -> None:
    """And back."""
    flm("api-keys", "create", "--label", "phone")
    flm("api", "prompts", "set", "t", "--system", "{{who}}", "--var", "who=x")
    flm("model-profiles", "save", "p", "--set", "n=1")
    flm("api", "create", "a", "--model", "m", "--keys", "phone", "--prompt-template", "t@1",
        "--var", "who=y", "--profile", "p", "--allow-remote")  # fmt: skip
    flm("api", "update", "a", "--no-var", "who")
    data = flm("api", "update", "a", "--all-keys", "--no-remote", "--format", "json").data
    assert (data["variables"], data["keys"], data["allow_remote"]) == ({}, None, False)
    assert data["prompt_template"] == "t@1"
    data = flm(
        "api", "update", "a", "--no-prompt-template", "--no-profile", "--model", "o",
        "--format", "json",
    ).data  # fmt: skip
    assert (data["prompt_template"], data["profile"]) == (None, None)
    assert data["models"][0]["name"] == "o"


@pytest.mark.parametrize(
    "flags",
    [
        ("--keys", ""),
        ("--keys", " , "),
        ("--fallback", ""),
        ("--var", "who"),
        ("--var", "=x"),
        ("--var", "a=1", "--var", "a=2"),
        ("--all-keys", "--keys", "a"),
        ("--no-profile", "--profile", "p"),
        ("--no-prompt-template", "--prompt-template", "t"),
        ("--keys", "nobody"),
        ("--profile", "nobody"),
        ("--prompt-template", "nobody"),
        (),
    ],
)
def test_what_is_contradictory_or_empty_is_refused(flm: Flm, flags: tuple[str, ...]) -> None:
    """`--keys "$UNSET"` lets nobody in by accident, nor everybody."""
    flm("api", "create", "a", "--model", "m")
    ran = flm("api", "update", "a", *flags)
    assert ran.code in (1, 2)
    assert flm("api", "show", "a", "--format", "json").data["keys"] is None


def test_an_empty_list_of_keys_makes_no_api(flm: Flm) -> None:
    """Not one for everybody either."""
    ran = flm("api", "create", "a", "--model", "m", "--keys", "", "--format", "json")
    assert (ran.code, ran.error["code"]) == (1, "invalid_value")
    assert flm("api", "list", "--format", "json").data == {"apis": []}


def test_templates_come_from_files_and_are_shown_whole(flm: Flm, tmp_path: Path) -> None:
    """UTF-8, with or without its mark; what a terminal would obey is shown."""
    system, user = tmp_path / "s.txt", tmp_path / "u.txt"
    system.write_bytes("\ufeff秘書\n\x1b[31m二行目\r\n".encode())
    user.write_text("Q: {{input}}\n", encoding="utf-8")
    made = flm(
        "api", "prompts", "set", "t", "--system-file", str(system), "--user-file", str(user),
        "--format", "json",
    ).data  # fmt: skip
    assert (made["system"], made["user"]) == ("秘書\n\x1b[31m二行目", "Q: {{input}}")
    shown = flm("api", "prompts", "show", "t").out
    assert "秘書\n\\x1b[31m二行目\n" in shown
    assert "Q: {{input}}" in shown
    missing = flm("api", "prompts", "set", "t", "--system-file", str(tmp_path / "none"))
    assert missing.code == 1
    both = flm("api", "prompts", "set", "t", "--system", "x", "--system-file", str(system))
    assert both.code != 0


def test_versions_of_templates_are_listed_shown_and_deleted(flm: Flm) -> None:
    """`NAME@1` is that one, `NAME` the newest."""
    assert "`flm api prompts set NAME --system TEXT`" in flm("api", "prompts", "list").out
    first = flm("api", "prompts", "set", "t", "--system", "{{who}}")
    assert first.out == "t@1 is the newest version now.\n"
    assert "An API that has it must give: who" in first.err
    flm("api", "prompts", "set", "t", "--system", "{{who}}", "--var", "who=山田")
    flm("api", "create", "a", "--model", "m", "--prompt-template", "t")
    data = flm("api", "prompts", "list", "--format", "json").data["prompts"]
    assert [(each["version"], each["used_by"]) for each in data] == [(1, ["a"]), (2, ["a"])]
    assert "who=山田" in flm("api", "prompts", "list").out
    assert flm("api", "prompts", "show", "t@1", "--format", "json").data["variables"] == {}
    kept = flm("api", "prompts", "delete", "t", "--format", "json")
    assert (kept.code, kept.error["code"]) == (1, "conflict")
    gone = flm("api", "prompts", "delete", "t@1", "--format", "json").data
    assert gone == {"deleted": "t@1", "versions": 1}


def test_profiles_are_saved_listed_shown_and_deleted(flm: Flm) -> None:
    """As they were written."""
    assert "`flm model-profiles save NAME" in flm("model-profiles", "list").out
    saved = flm(
        "model-profiles", "save", "p", "--set", "temperature=0.2", "--set", "max_tokens=512",
        "--cap", "max_tokens=2048", "--option", "num_ctx=16384", "--option", "keep_alive=30m",
    )  # fmt: skip
    assert saved.out == "The profile p is saved.\n"
    assert flm("model-profiles", "show", "p", "--format", "json").data == {
        "name": "p",
        "defaults": {"temperature": 0.2, "max_tokens": 512},
        "caps": {"max_tokens": 2048},
        "options": {"num_ctx": 16384, "keep_alive": "30m"},
        "used_by": [],
    }
    for ran in (flm("model-profiles", "list"), flm("model-profiles", "show", "p")):
        assert "max_tokens=512, temperature=0.2" in ran.out
        assert "keep_alive=30m, num_ctx=16384" in ran.out
    wrong = flm("model-profiles", "save", "q", "--set", "temperature=9", "--format", "json")
    assert wrong.error["message"] == "temperature must be a number from 0 to 2, not 9.0."
    assert flm("model-profiles", "delete", "p").out == "The profile p is deleted.\n"
    assert flm("model-profiles", "list", "--format", "json").data == {"profiles": []}


def test_a_default_nobody_has_is_stored_and_told(flm: Flm) -> None:
    """Its engine may come; an API's name is fine."""
    odd = flm("config", "set", "models.default", "nobody")
    assert (odd.code, odd.out) == (0, "nobody\n")
    assert "No engine offers nobody at the moment, and no API has that name." in odd.err
    flm("api", "create", "a", "--model", "m")
    assert "No engine" not in flm("config", "set", "models.default", "a").err
    assert "No engine" not in flm("config", "set", "models.default", "").err
