"""Settings through the service, over a real store."""

from __future__ import annotations

import pytest

from flm.errors import InvalidValue, NotFound
from flm.ports.notify import Notify
from flm.ports.repositories import Store
from flm.services.settings import SettingsService, SettingView
from flm.settings import REGISTRY


@pytest.fixture
def settings(store: Store, bell: Notify) -> SettingsService:
    """Without environment or flags."""
    return SettingsService(store.settings, {}, {}, bell)


def test_a_setting_shows_value_default_source_and_variable(settings: SettingsService):
    """What `flm config get` prints."""
    assert settings.get("server.port") == SettingView(
        name="server.port",
        value=8356,
        default=8356,
        source="default",
        variable="FLM_SERVER_PORT",
        doc="The port of the API; 0 takes a free one.",
    )


def test_what_is_set_is_in_force_and_told(settings: SettingsService, bell):
    """In the typed form, and for what runs."""
    view = settings.set("server.allowed_hosts", "Box.lan,other")
    assert (view.value, view.source) == (("box.lan", "other"), "stored")
    assert settings.settings().server_allowed_hosts == ("box.lan", "other")
    assert bell.pokes == 1


def test_reset_brings_the_default_back(settings: SettingsService, bell):
    """And is told as well."""
    settings.set("server.port", "9000")
    assert settings.reset("server.port").value == 8356
    assert bell.pokes == 2


def test_a_wrong_value_is_not_stored(settings: SettingsService, store: Store, bell):
    """Neither stored nor told."""
    with pytest.raises(InvalidValue):
        settings.set("server.port", "70000")
    assert (store.settings.all(), bell.pokes) == ({}, 0)


@pytest.mark.parametrize("action", ["get", "reset"])
def test_an_unknown_name_is_refused(settings: SettingsService, action: str):
    """Everywhere."""
    with pytest.raises(NotFound):
        getattr(settings, action)("server.pork")


def test_a_value_that_the_environment_hides_says_so(store: Store, bell: Notify):
    """The user set it and wonders why nothing happens."""
    service = SettingsService(store.settings, {"FLM_SERVER_PORT": "9001"}, {}, bell)
    view = service.set("server.port", "9000")
    assert (view.value, view.source) == (9001, "environment")


def test_the_list_holds_every_setting_and_the_context_lengths_that_are_set(
    settings: SettingsService,
):
    """In the registry's order, then the family."""
    settings.set("engines.ollama.num_ctx[qwen3:8b]", "8192")
    settings.set("engines.ollama.num_ctx", "4096")
    views = settings.list()
    assert [view.name for view in views] == [
        *(item.name for item in REGISTRY),
        "engines.ollama.num_ctx",
        "engines.ollama.num_ctx[qwen3:8b]",
    ]
    assert [(view.value, view.default, view.source) for view in views[-2:]] == [
        (4096, None, "stored"),
        (8192, None, "stored"),
    ]


def test_a_context_length_that_is_not_set_has_no_value(settings: SettingsService):
    """The engine's own holds."""
    view = settings.get("engines.ollama.num_ctx")
    assert (view.value, view.default, view.source) == (None, None, "default")


def test_a_damaged_stored_value_can_be_put_right(settings: SettingsService, store: Store):
    """The remedy in the message works."""
    store.settings.set("server.port", '"broken"')
    with pytest.raises(InvalidValue):
        settings.list()
    assert settings.set("server.port", "9000").value == 9000
