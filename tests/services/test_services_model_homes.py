"""Which engine is meant, and what the user set for a model."""

from __future__ import annotations

import pytest

from flm.domain.engines import (
    NEEDS_KEY,
    Address,
    ApiError,
    Engine,
    EngineId,
    EngineState,
    Healthy,
    InstalledOnly,
)
from flm.domain.models import Model
from flm.errors import Conflict, NotFound, UserError
from flm.services.model_homes import (
    Home,
    check_serves,
    engine_called,
    homes,
    named_engine,
    one_of,
)
from flm.services.model_overrides import (
    Override,
    capabilities_override,
    context_override,
    context_wanted,
)
from flm.settings import resolve

OLLAMA, BOX, ROUTER = EngineId("ollama"), EngineId("box"), EngineId("llamacpp")


def engine(id_: str, state: EngineState | None = None) -> Engine:
    """An engine that runs, unless it is said otherwise."""
    return Engine(
        id=EngineId(id_), kind="ollama", state=state or Healthy(1.0), address=Address("::1", 1)
    )


ENGINES = [engine("ollama"), engine("box"), engine("llamacpp")]
MODELS = [
    Model(name="qwen3:latest", engine=OLLAMA),
    Model(name="small", engine=OLLAMA),
    Model(name="small", engine=BOX),
    Model(name="gemma", engine=ROUTER, engine_name="/srv/gemma.gguf"),
    Model(name="Qwen/Qwen3", engine=BOX),
]


@pytest.mark.parametrize(
    ("name", "on", "targets"),
    [
        ("qwen3", None, ["ollama/qwen3:latest"]),
        ("small", None, ["ollama/small", "box/small"]),
        ("small", "box", ["box/small"]),
        ("box/small", None, ["box/small"]),
        ("flm://box/small", None, ["box/small"]),
        ("Qwen/Qwen3", None, ["box/Qwen/Qwen3"]),
        ("/srv/gemma.gguf", None, ["llamacpp/gemma"]),
        ("gemma", None, ["llamacpp/gemma"]),
        ("small", "llamacpp", []),
        ("nothing", None, []),
    ],
)
def test_a_name_is_understood_as_in_a_request(name: str, on: str | None, targets: list[str]):
    """And by the engine's own name for it."""
    assert [home.model.target for home in homes(ENGINES, MODELS, name, on)] == targets


def test_an_engines_own_name_is_what_it_is_asked_for() -> None:
    """A path, where it knows its models by paths."""
    (home,) = homes(ENGINES, MODELS, "gemma")
    assert home.own_name == "/srv/gemma.gguf"


def test_several_homes_are_named() -> None:
    """With how to say which."""
    with pytest.raises(Conflict) as caught:
        one_of(homes(ENGINES, MODELS, "small"), "small", MODELS)
    assert caught.value.code == "ambiguous_model"
    assert caught.value.message == "small is on several engines: ollama/small, box/small."
    assert caught.value.remedy == "Say which one: ollama/small, or --engine ollama."


def test_no_home_names_the_nearest_models() -> None:
    """Or where to look, when nothing is near."""
    with pytest.raises(NotFound) as caught:
        one_of((), "smol", MODELS)
    assert caught.value.remedy.startswith("Did you mean small?")
    with pytest.raises(NotFound) as caught:
        one_of((), "xyz", ())
    assert "flm models pull" in caught.value.remedy


def test_an_engine_and_the_rest_of_a_name() -> None:
    """Only where the beginning is an engine."""
    assert named_engine(ENGINES, "box/a/b") == (ENGINES[1], "a/b")
    assert named_engine(ENGINES, "flm://box/a") == (ENGINES[1], "a")
    assert named_engine(ENGINES, "Qwen/Qwen3") is None
    assert named_engine(ENGINES, "box/") is None


def test_an_unknown_engine_names_those_there_are() -> None:
    """All of them: they are few."""
    with pytest.raises(NotFound) as caught:
        engine_called(ENGINES, "boxx")
    assert "ollama, box, llamacpp" in caught.value.remedy


@pytest.mark.parametrize(
    ("state", "code", "command"),
    [
        (ApiError(NEEDS_KEY), "needs_key", "flm engines set-key ollama"),
        (InstalledOnly(), "engine_not_running", "flm engines start ollama"),
    ],
)
def test_an_engine_that_cannot_be_asked_says_what_to_do(
    state: EngineState, code: str, command: str
) -> None:
    """The command that helps."""
    with pytest.raises(UserError) as caught:
        check_serves(engine("ollama", state))
    assert (caught.value.code, command in caught.value.remedy) == (code, True)


STORED = {
    "engines.ollama.num_ctx": "4096",
    "engines.ollama.num_ctx[qwen3]": "32768",
    "engines.llamacpp.num_ctx[/srv/gemma.gguf]": "8192",
    "engines.ollama.capabilities[qwen3:latest]": '["chat","vision"]',
}


@pytest.mark.parametrize(
    ("home", "wanted"),
    [
        (Home(ENGINES[0], MODELS[0]), 32768),
        (Home(ENGINES[0], MODELS[1]), 4096),
        (Home(ENGINES[1], MODELS[2]), None),
        (Home(ENGINES[2], MODELS[3]), 8192),
    ],
)
def test_a_context_length_is_set_under_any_name_of_a_model(home: Home, wanted: int | None):
    """Without `:latest`, by its path, or for the whole engine."""
    assert context_wanted(resolve(STORED), home) == wanted


def test_a_setting_that_does_not_hold_is_told_apart() -> None:
    """An engine keeps the context it was started with."""
    seen = Model(name="qwen3:latest", engine=OLLAMA, context_length=2048, capabilities=("chat",))
    kept = Home(ENGINES[0], seen)
    assert context_override(resolve(STORED), kept) == Override(
        setting="engines.ollama.num_ctx[qwen3]", value="32768", in_force=False
    )
    assert capabilities_override(resolve(STORED), kept) == Override(
        setting="engines.ollama.capabilities[qwen3:latest]", value="chat,vision", in_force=False
    )


def test_a_setting_that_holds_is_told_too() -> None:
    """As far as the model goes: it was trained for less than what is set."""
    seen = Model(
        name="qwen3:latest",
        engine=OLLAMA,
        context_length=8192,
        trained_context=8192,
        capabilities=("vision", "chat"),
    )
    context = context_override(resolve(STORED), Home(ENGINES[0], seen))
    capabilities = capabilities_override(resolve(STORED), Home(ENGINES[0], seen))
    assert context is not None
    assert capabilities is not None
    assert (context.in_force, capabilities.in_force) == (True, True)


def test_nothing_set_is_nothing() -> None:
    """Neither for the model nor for its engine."""
    home = Home(ENGINES[1], MODELS[2])
    assert context_override(resolve(STORED), home) is None
    assert capabilities_override(resolve(STORED), home) is None
