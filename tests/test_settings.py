"""Settings: names, values, where they come from."""

from __future__ import annotations

import msgspec
import pytest

from flm.domain.hosts import host_allowed
from flm.errors import InvalidValue, NotFound, NotPermitted
from flm.settings import REGISTRY, EngineSettings, Settings, environment, resolve, setting

DEFAULTS = {
    "server.port": 8356,
    "server.bind": "127.0.0.1",
    "server.allowed_hosts": (),
    "server.first_byte_seconds": 600,
    "server.drain_seconds": 30,
    "streams.idle_seconds": 300,
    "streams.ping_seconds": 15,
    "breaker.failures": 5,
    "breaker.open_seconds": 10,
    "breaker.slow_seconds": 120,
    "engine.health_latency_threshold_ms": 1500,
    "engine.max_network_failures": 3,
    "engine.check_seconds": 15,
    "engine.history_days": 30,
    "engine.cache_ttl_seconds": 300,
    "engines.wake_seconds": 120,
    "engines.ollama.cloud": False,
    "engines.ollama.install_url": "",
    "engines.ollama.install_sha256": "",
    "models.default": "",
    "embedded.max_loaded": 1,
    "embedded.idle_minutes": 15,
    "embedded.threads": 0,
    "embedded.parallel": 2,
    "media.fetch": False,
    "media.max_bytes": 10_485_760,
    "logs.keep_days": 90,
    "logs.keep_records": 1_000_000,
    "usage.keep_days": 400,
    "responses.keep_days": 30,
    "responses.max_stored": 10_000,
    "responses.max_bytes": 1_073_741_824,
    "journal.max_bytes": 1_073_741_824,
}


def test_the_defaults_are_the_documented_ones():
    """Every setting has the default that the product promises."""
    assert {item.name: item.default for item in REGISTRY} == DEFAULTS


def test_every_setting_is_an_attribute_and_every_attribute_a_setting():
    """The registry and the typed settings cannot drift apart."""
    fields = [field.name for field in msgspec.structs.fields(Settings)]
    assert fields == [*(item.attribute for item in REGISTRY), "engines", "sources"]


def test_every_setting_is_documented_by_one_sentence():
    """`flm config list` has something to say about each."""
    assert [item.name for item in REGISTRY if not item.doc.endswith(".")] == []


def test_every_default_is_a_right_value():
    """A default passes the check that a user's value must pass."""
    assert {item.name: item.kind.check(item.name, item.default) for item in REGISTRY} == DEFAULTS


def test_a_stored_value_is_stronger_than_the_default():
    """What the user stored counts."""
    settings = resolve({"server.port": "9000"})
    assert (settings.server_port, settings.source("server.port")) == (9000, "stored")


def test_the_environment_is_stronger_than_the_store():
    """FLM_SERVER_PORT hides a stored port."""
    settings = resolve({"server.port": "9000"}, {"FLM_SERVER_PORT": "9001"})
    assert (settings.server_port, settings.source("server.port")) == (9001, "environment")


def test_the_command_line_is_the_strongest():
    """--port hides them all."""
    settings = resolve({"server.port": "9000"}, {"FLM_SERVER_PORT": "9001"}, {"server.port": 9002})
    assert (settings.server_port, settings.source("server.port")) == (9002, "command line")


def test_what_nobody_set_is_a_default():
    """The source of an untouched setting is the default."""
    assert resolve().source("server.port") == "default"


def test_an_empty_variable_counts_as_not_set():
    """`FLM_SERVER_PORT= flm up` uses the default."""
    assert resolve({}, {"FLM_SERVER_PORT": ""}).server_port == 8356


def test_a_wrong_variable_is_refused_by_its_own_name():
    """The message names what the user has to change, and what would be right."""
    with pytest.raises(InvalidValue) as caught:
        resolve({}, {"FLM_SERVER_PORT": "http"})
    assert caught.value.message == (
        "FLM_SERVER_PORT must be a whole number from 0 to 65535, not 'http'."
    )


@pytest.mark.parametrize("text", ["-1", "65536", "8.5", "", "1,000", "٣", "0x10", "9" * 5000])
def test_a_wrong_port_is_refused(text: str):
    """Only whole numbers in the range are ports."""
    with pytest.raises(InvalidValue):
        setting("server.port").kind.parse("server.port", text)


@pytest.mark.parametrize("stored", ["true", "1.0", '"8000"', "null", "[1]"])
def test_a_stored_value_of_another_type_is_refused(stored: str):
    """JSON's true is no port 1, and a string no number."""
    with pytest.raises(InvalidValue):
        resolve({"server.port": stored})


def test_a_stored_value_that_is_no_json_names_the_way_out():
    """Somebody edited the database: the remedy is a command."""
    with pytest.raises(InvalidValue) as caught:
        resolve({"server.port": "{"})
    assert caught.value.remedy == "Set it again with `flm config set server.port VALUE`."


def test_a_stored_setting_of_another_version_is_left_alone():
    """A newer FLM's settings do not stop this one."""
    assert resolve({"future.setting": "1"}).server_port == 8356


def test_underscores_make_large_numbers_readable():
    """1_000_000 is a million."""
    assert setting("logs.keep_records").kind.parse("x", " 1_000_000 ") == 1_000_000


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("[::1]", "::1"),
        ("127.9.9.9", "127.9.9.9"),
    ],
)
def test_loopback_addresses_can_be_bound(text: str, address: str):
    """Every spelling of loopback is taken."""
    assert setting("server.bind").kind.parse("server.bind", text) == address


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "192.168.1.5", "8.8.8.8", "::ffff:8.8.8.8"])
def test_other_addresses_are_refused_with_the_reason(text: str):
    """Failing closed: the message says what is dangerous and what is needed."""
    with pytest.raises(NotPermitted) as caught:
        setting("server.bind").kind.parse("server.bind", text)
    assert "without TLS" in caught.value.message
    assert caught.value.remedy == (
        "Use 127.0.0.1 or ::1. Other addresses need a key and TLS and come with a later version "
        "of FLM."
    )


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "127.0.0.1:80", "0x7f000001"])
def test_what_is_no_address_cannot_be_bound(text: str):
    """Names are not resolved: what they mean may change."""
    with pytest.raises(InvalidValue):
        setting("server.bind").kind.parse("server.bind", text)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("box.lan, Other:8080", ("box.lan", "other")),
        ('["a.b","a.b"]', ("a.b",)),
        ("", ()),
        ("[]", ()),
    ],
)
def test_host_names_come_by_comma_or_json(text: str, hosts: tuple[str, ...]):
    """Lower case, without ports, each once."""
    assert setting("server.allowed_hosts").kind.parse("server.allowed_hosts", text) == hosts


def test_an_allowed_host_is_what_the_gateway_looks_for():
    """What the setting stores is the form in which Host headers are compared."""
    hosts = resolve({}, {"FLM_SERVER_ALLOWED_HOSTS": "MyBox.lan"}).server_allowed_hosts
    assert host_allowed("mybox.LAN:8356", frozenset(hosts))


@pytest.mark.parametrize("text", ["*", "*.lan", "http://box", "a b", "[1]", "[nonsense", '{"a":1}'])
def test_what_is_no_host_name_is_refused(text: str):
    """A wildcard would open the door that the setting guards."""
    with pytest.raises(InvalidValue):
        setting("server.allowed_hosts").kind.parse("server.allowed_hosts", text)


def test_context_lengths_are_set_by_engine_and_model():
    """Model names may hold dots, slashes and colons."""
    settings = resolve(
        {
            "engines.ollama.num_ctx": "4096",
            "engines.ollama.num_ctx[qwen3:8b]": "8192",
            "engines.ollama.num_ctx[hf.co/Qwen/Qwen3-8B:Q4_K_M]": "16384",
            "engines.my.box.num_ctx[a]": "512",
        }
    )
    assert settings.num_ctx("ollama") == {
        "": 4096,
        "qwen3:8b": 8192,
        "hf.co/Qwen/Qwen3-8B:Q4_K_M": 16384,
    }
    assert settings.num_ctx("my.box") == {"a": 512}
    assert settings.num_ctx("other") == {}


def test_the_context_lengths_that_are_handed_out_are_a_copy():
    """Settings are frozen; what a caller does with the dict changes nothing."""
    settings = resolve({"engines.ollama.num_ctx": "4096"})
    settings.num_ctx("ollama").clear()
    assert settings.num_ctx("ollama") == {"": 4096}


@pytest.mark.parametrize("text", ["255", "10000001", "8k"])
def test_a_wrong_context_length_is_refused(text: str):
    """256 to 10,000,000 tokens."""
    item = setting("engines.ollama.num_ctx[a/b]")
    with pytest.raises(InvalidValue) as caught:
        item.kind.parse(item.name, text)
    assert "from 256 to 10000000" in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["engines.num_ctx", "engines..num_ctx", "engines.O.num_ctx", "engines.a.num_ctx[]",
     "engines.a.num_ctx[\n]", "engines.flm.num_ctx", "engines.a/b.num_ctx"],
)  # fmt: skip
def test_what_is_not_of_the_family_is_no_setting(name: str):
    """The family's names are an engine's id and a model's name, nothing else."""
    with pytest.raises(NotFound):
        setting(name)


def test_an_unknown_setting_names_the_nearest():
    """A typing error is answered with what was meant."""
    with pytest.raises(NotFound) as caught:
        setting("server.prot")
    assert caught.value.remedy.startswith("Did you mean server.port")


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch):
    """Whoever is given the environment cannot change this process's."""
    monkeypatch.setenv("FLM_SERVER_PORT", "1234")
    copied = environment()
    copied.clear()
    assert resolve({}, environment()).server_port == 1234


def test_what_is_set_for_one_engine_is_typed():
    """A switch, a span, a group, a path, arguments and what a model can do."""
    settings = resolve(
        {
            "engines.vllm.autostart": "true",
            "engines.vllm.idle_stop": "20",
            "engines.vllm.exclusive_group": '"gpu"',
            "engines.vllm.path": '"/opt/vllm"',
            "engines.vllm.arguments": '["Qwen/Qwen3-8B", "--max-model-len", "8192"]',
            "engines.vllm.capabilities[Qwen/Qwen3-8B]": '["chat", "tools"]',
            "engines.vllm.num_ctx": "8192",
        }
    )
    assert settings.engine("vllm") == EngineSettings(
        autostart=True,
        idle_stop=20,
        exclusive_group="gpu",
        path="/opt/vllm",
        arguments=("Qwen/Qwen3-8B", "--max-model-len", "8192"),
        capabilities={"Qwen/Qwen3-8B": ("chat", "tools")},
        num_ctx={"": 8192},
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("engines.vllm.autostart", "Yes", True),
        ("engines.vllm.autostart", "0", False),
        ("engines.vllm.arguments", "m --dtype 'bf 16'", ("m", "--dtype", "bf 16")),
        ("engines.vllm.capabilities[m]", "chat, vision", ("chat", "vision")),
    ],
)
def test_text_becomes_a_value_of_the_family(name: str, text: str, value: object):
    """As a person writes it."""
    assert setting(name).kind.parse(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engines.vllm.autostart", "perhaps"),
        ("engines.vllm.idle_stop", "-1"),
        ("engines.vllm.exclusive_group", "a b"),
        ("engines.vllm.arguments", "'open"),
        ("engines.vllm.capabilities", "flying"),
        ("engines.ollama.install_url", "ftp://x"),
        ("engines.ollama.install_sha256", "abc"),
    ],
)
def test_a_wrong_value_of_a_family_is_refused(name: str, text: str):
    """The setting is named."""
    with pytest.raises(InvalidValue) as caught:
        setting(name).kind.parse(name, text)
    assert name in caught.value.message
