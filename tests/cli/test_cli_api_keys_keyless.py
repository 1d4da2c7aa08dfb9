"""`flm api-keys create --keyless-from` and `flm api-keys update`, over a real store."""

from __future__ import annotations

from tests.cli.conftest import Flm


def test_a_key_may_be_an_address_s(flm: Flm) -> None:
    """It is shown wherever the key is, and by the check."""
    made = flm("api-keys", "create", "--label", "box", "--keyless-from", "127.0.0.1",
               "--format", "json").data  # fmt: skip
    assert made["keyless_from"] == "127.0.0.1"
    assert "127.0.0.1" in flm("api-keys", "list").out
    assert "Without a key from" in flm("api-keys", "show", made["id"]).out
    checked = flm("check", "--format", "json").data
    (access,) = [area for area in checked["areas"] if area["name"] == "access"]
    assert [(each["level"], each["code"]) for each in access["findings"]] == [("note", "keyless")]
    assert made["id"] in flm("check").out


def test_keys_without_an_address_are_shown_as_ever(flm: Flm) -> None:
    """No column that says nothing."""
    made = flm("api-keys", "create", "--label", "ci", "--format", "json").data
    assert made["keyless_from"] is None
    assert "Without a key from" not in flm("api-keys", "list").out
    assert "Without a key from" not in flm("api-keys", "show", made["id"]).out


def test_an_address_that_strangers_can_have_is_refused(flm: Flm) -> None:
    """With what would be right."""
    ran = flm("api-keys", "create", "--label", "box", "--keyless-from", "0.0.0.0/0")
    assert ran.code == 1
    assert "192.168.1.0/24" in ran.err
    assert flm("api-keys", "list", "--format", "json").data == {"keys": []}


def test_an_update_changes_a_key(flm: Flm) -> None:
    """Label, end and address; `none` takes the address away, `never` the end."""
    made = flm("api-keys", "create", "--label", "ci", "--expires", "30d", "--format", "json").data
    changed = flm("api-keys", "update", made["id"], "--label", "cd", "--expires", "never",
                  "--keyless-from", "192.168.7.0/24", "--format", "json").data  # fmt: skip
    assert (changed["label"], changed["expires_at"]) == ("cd", None)
    assert changed["keyless_from"] == "192.168.7.0/24"
    ran = flm("api-keys", "update", made["api_key"], "--keyless-from", "none")
    assert (ran.code, made["api_key"] in ran.out + ran.err) == (0, False)
    shown = flm("api-keys", "show", made["id"], "--format", "json").data
    assert (shown["keyless_from"], shown["label"], shown["last4"]) == (None, "cd", made["last4"])


def test_an_update_of_nothing_says_what_can_be_given(flm: Flm) -> None:
    """Exit code 1."""
    made = flm("api-keys", "create", "--label", "ci", "--format", "json").data
    ran = flm("api-keys", "update", made["id"])
    assert ran.code == 1
    assert "--keyless-from" in ran.err
