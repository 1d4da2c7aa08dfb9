"""`flm api-keys`, over a real store."""

from __future__ import annotations

import re

import pytest
from tests.cli.conftest import Flm

from flm.domain.keys import KEY_PATTERN


def test_a_new_key_is_alone_on_stdout(flm: Flm) -> None:
    """So that `KEY=$(flm api-keys create --label x)` works; the rest is said on stderr."""
    ran = flm("api-keys", "create", "--label", "laptop")

    assert ran.code == 0
    assert re.fullmatch(KEY_PATTERN + "\n", ran.out)
    assert "(laptop). It is shown this once" in ran.err


def test_a_new_key_is_told_to_programs_with_all_that_is_known(flm: Flm) -> None:
    """Once in clear, with its id and its end."""
    data = flm("api-keys", "create", "--label", "ci", "--expires", "30d", "--format=json").data

    assert re.fullmatch(KEY_PATTERN, data["api_key"])
    assert data["api_key"].startswith(f"flm_{data['id']}_")
    assert (data["label"], data["state"], data["revoked_at"]) == ("ci", "active", None)
    assert data["expires_at"].endswith("Z")


def test_a_key_is_never_shown_again(flm: Flm) -> None:
    """Neither its list nor its page holds more than four characters of the secret."""
    made = flm("api-keys", "create", "--label", "ci", "--format", "json").data
    secret = made["api_key"]

    for command in (("list",), ("show", made["id"]), ("show", secret)):
        for form in ("text", "json"):
            ran = flm("api-keys", *command, "--format", form)
            assert ran.code == 0
            assert made["id"] in ran.out
            assert secret not in ran.out + ran.err


def test_a_whole_key_that_is_unknown_is_not_repeated(flm: Flm) -> None:
    """Somebody pastes the key itself: the error names its id alone."""
    unknown = "flm_AAAAAAAAAA_" + "B" * 49

    ran = flm("api-keys", "revoke", unknown)

    assert ran.code == 1
    assert "AAAAAAAAAA" in ran.err
    assert "BBBB" not in ran.err


def test_no_key_yet_is_said_with_what_to_do(flm: Flm) -> None:
    """An empty table would say nothing."""
    assert "flm api-keys create --label NAME" in flm("api-keys", "list").out
    assert flm("api-keys", "list", "--format", "json").data == {"keys": []}


def test_revoked_is_revoked(flm: Flm) -> None:
    """And the second time is told."""
    key = flm("api-keys", "create", "--label", "x", "--format", "json").data["id"]

    assert flm("api-keys", "revoke", key).out == f"The key {key} is revoked.\n"
    assert flm("api-keys", "show", key, "--format", "json").data["state"] == "revoked"
    again = flm("api-keys", "revoke", key, "--format", "json")
    assert (again.code, again.error["code"]) == (1, "conflict")


def test_a_rotated_key_names_its_successor(flm: Flm) -> None:
    """The new key is shown; the old one goes on for the grace period."""
    old = flm("api-keys", "create", "--label", "x", "--format", "json").data["id"]

    new = flm("api-keys", "rotate", old, "--grace", "1h", "--format", "json").data
    left = flm("api-keys", "show", old, "--format", "json").data

    assert re.fullmatch(KEY_PATTERN, new["api_key"])
    assert (left["state"], left["rotated_to"]) == ("active", new["id"])
    assert new["id"] in flm("api-keys", "show", old).out


def test_a_grace_period_that_is_none_is_refused(flm: Flm) -> None:
    """With what would be right."""
    key = flm("api-keys", "create", "--label", "x", "--format", "json").data["id"]

    ran = flm("api-keys", "rotate", key, "--grace", "soon")

    assert ran.code == 1
    assert "for example 24h" in ran.err


@pytest.mark.parametrize("expires", ["2020-01-01", "yesterday"])
def test_an_expiry_that_is_none_is_refused(flm: Flm, expires: str) -> None:
    """Nothing is made."""
    ran = flm("api-keys", "create", "--label", "x", "--expires", expires)

    assert ran.code == 1
    assert flm("api-keys", "list", "--format", "json").data == {"keys": []}


def test_a_label_cannot_move_the_cursor(flm: Flm) -> None:
    """Control characters are refused where they are typed."""
    ran = flm("api-keys", "create", "--label", "\x1b[2J")

    assert ran.code == 1
    assert "\x1b" not in ran.err


def test_the_list_lines_up_in_japanese(flm: Flm) -> None:
    """Headings and labels are twice as wide as Latin ones."""
    flm("api-keys", "create", "--label", "ノートパソコン")
    flm("api-keys", "create", "--label", "x")

    heading, first, second = flm("api-keys", "list", "--lang", "ja").out.splitlines()

    assert heading.startswith("キー        ラベル          状態  作成日時")
    assert first[12:].startswith("ノートパソコン  有効  ")
    assert second[12:].startswith("x               有効  ")
