"""What a name means for a key, and what it is shown."""

from __future__ import annotations

import msgspec
import pytest

from flm.domain.keys import OWNER_ID
from flm.domain.publications import Profile
from flm.gateway.published import Plan, entry, plan, published_entries, visible
from flm.wire.snapshot import ModelEntry, Published, Routes, Target

NOTHING = Plan(None, ())


def model(name: str, *engines: str, **more: object) -> ModelEntry:
    """A model that is ready on each of these engines."""
    there = ModelEntry(
        name=name, targets=tuple(f"{engine}/{name}" for engine in engines), engines=engines,
        state="ready", context_length=4096, capabilities=("chat",),
    )  # fmt: skip
    return msgspec.structs.replace(there, **more)


def api(name: str, *models: str, **more: object) -> Published:
    """A publication everybody may use."""
    return msgspec.structs.replace(Published(name=name, models=models, created=7), **more)


def routes(*published: Published, default: str = "") -> Routes:
    """Two models here, one whose engine is away, and these publications."""
    models = {
        "llama": model("llama", "ollama", "vllm"),
        "qwen:latest": model("qwen:latest", "ollama", capabilities=("chat", "tools")),
        "away": model("away", "box", targets=(), state="unavailable", remote=True),
    }
    models["away"] = msgspec.structs.replace(models["away"], engines=("box",))
    targets = {
        target: Target(
            id=target,
            engine=engine,
            model="x",
            dialect="ollama" if engine == "ollama" else "openai",
        )
        for engine, target in (
            ("ollama", "ollama/llama"),
            ("vllm", "vllm/llama"),
            ("ollama", "ollama/qwen:latest"),
        )
    }
    return Routes(1, models, targets, {each.name: each for each in published}, default)


@pytest.mark.parametrize(
    "name", ["llama", "qwen", "ollama/llama", "flm://vllm/llama", "ollama/qwen", "away", "box/away"]
)
def test_a_models_name_is_a_model(name: str) -> None:
    """However it is named, and also while its engine does not answer: no default takes it."""
    assert plan(routes(api("*", "llama"), default="llama"), name, "k") == Plan(None, (name,))


@pytest.mark.parametrize("name", ["nobody", "vllm/qwen", "box/llama", "flm://", ""])
def test_an_unknown_name_means_nothing(name: str) -> None:
    """Nothing is guessed."""
    assert plan(routes(api("my-api", "llama")), name, "k") == NOTHING


def test_a_publication_goes_before_the_model_of_its_name() -> None:
    """So that a template can be laid around a model under its own name."""
    wrapped = api("llama", "llama", "qwen")
    assert plan(routes(wrapped), "llama", "k") == Plan(wrapped, ("llama", "qwen"))


def test_a_pattern_comes_after_models_and_the_one_that_says_most_wins() -> None:
    """`claude-sonnet-*` says more than `claude-*`."""
    wide, near, own = api("claude-*", "llama"), api("claude-s*", "qwen"), api("l*", "qwen")
    known = routes(wide, near, own)
    assert plan(known, "claude-sonnet-4", "k").published == near
    assert plan(known, "claude-haiku", "k").published == wide
    assert plan(known, "llama", "k") == Plan(None, ("llama",))


def test_a_publication_is_not_there_for_a_key_that_may_not_use_it() -> None:
    """It is as an unknown name, and so is the model it took the name of."""
    known = routes(
        api("team", "llama", limited=True, keys=("a",)),
        api("llama", "llama", limited=True, keys=("a",)),
        api("c-*", "llama", limited=True, keys=("a",)),
    )
    for name in ("team", "llama", "c-1"):
        assert plan(known, name, "a").published is not None
        assert plan(known, name, "b") == NOTHING
    assert plan(known, "ollama/llama", "b") == Plan(None, ("ollama/llama",))


def test_a_publication_whose_keys_are_all_gone_answers_nobody_but_the_owner() -> None:
    """Never everybody."""
    known = routes(api("team", "llama", limited=True, keys=()))
    assert plan(known, "team", "b") == NOTHING
    assert plan(known, "team", OWNER_ID).names == ("llama",)


def test_a_key_gets_the_next_pattern_when_the_best_is_not_for_it() -> None:
    """The other is there for it."""
    wide = api("c-*", "qwen")
    known = routes(wide, api("c-1*", "llama", limited=True, keys=("a",)))
    assert plan(known, "c-12", "b").published == wide


def test_the_default_answers_for_unknown_names_only() -> None:
    """It is a model's name or a publication's."""
    assert plan(routes(default="qwen"), "gpt-4o", "k") == Plan(None, ("qwen",))
    assert plan(routes(default="qwen"), "llama", "k") == Plan(None, ("llama",))
    mine = api("mine", "llama")
    assert plan(routes(mine, default="mine"), "gpt-4o", "k") == Plan(mine, ("llama",))
    assert plan(routes(default="gone"), "gpt-4o", "k") == NOTHING
    theirs = api("mine", "llama", limited=True, keys=("a",))
    assert plan(routes(theirs, default="mine"), "gpt-4o", "b") == NOTHING


def test_publications_are_listed_with_the_facts_of_the_first_model_that_is_there() -> None:
    """Patterns and those of others are not."""
    known = routes(
        api("a", "away", "qwen"),
        api("b-*", "llama"),
        api("c", "llama", limited=True),
        api("d", "x"),
    )
    assert published_entries(known, "k") == [
        ModelEntry(
            name="a", targets=(), engines=(), state="ready", created=7, context_length=4096,
            capabilities=("chat", "tools"), remote=True,
        ),
        ModelEntry(name="d", targets=(), engines=(), state="unavailable", created=7),
    ]  # fmt: skip


def test_a_publication_takes_its_models_place_in_the_list() -> None:
    """For a key that may not use it the name is not there at all."""
    known = routes(api("llama", "qwen", limited=True, keys=("a",)))
    assert list(visible(known, "a")) == ["qwen:latest", "away", "llama"]
    assert visible(known, "a")["llama"].capabilities == ("chat", "tools")
    assert list(visible(known, "b")) == ["qwen:latest", "away"]


def test_one_name_is_told_of_as_it_would_be_asked() -> None:
    """A pattern by the name that was asked; nothing of what the key may not use."""
    known = routes(api("c-*", "qwen"), api("t", "llama", limited=True))
    told = entry(known, "c-1", "k")
    assert told is not None
    assert (told.name, told.state, told.engines) == ("c-1", "ready", ())
    assert entry(known, "t", "k") is None
    assert entry(known, "ollama/llama", "k") == known.models["llama"]
    assert entry(routes(default="llama"), "zzz", "k") == known.models["llama"]


def test_a_profiles_context_is_told_where_ollama_takes_it() -> None:
    """vLLM has its own, whatever the profile says."""
    large = Profile(name="p", options={"num_ctx": 16384})
    known = routes(api("a", "qwen", profile=large), api("b", "llama", profile=large))
    assert [each.context_length for each in published_entries(known, "k")] == [16384, 4096]
