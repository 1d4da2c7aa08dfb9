"""Prompt templates and model profiles, over a real store."""

from __future__ import annotations

import pytest

from flm.domain.publications import Profile, PromptTemplate, Publication
from flm.errors import Conflict, InvalidValue, NotFound
from flm.ports.repositories import Store
from flm.services.profiles import ProfileService
from flm.services.prompts import PromptService

NOW = 1_767_225_600.0


@pytest.fixture
def prompts(store: Store, clock, bell) -> PromptService:
    """The service as the CLI has it."""
    return PromptService(store.prompts, store.publications, clock, bell)


@pytest.fixture
def profiles(store: Store, bell) -> ProfileService:
    """The service as the CLI has it."""
    return ProfileService(store.profiles, store.publications, bell)


def test_each_set_is_a_version_that_is_whole(prompts: PromptService, bell) -> None:
    """What is not given is not in it."""
    first = prompts.set(" 秘書 ", "S {{who}}", "U {{ input }}", {"who": "山田"})
    second = prompts.set("秘書", system="T")
    assert first == PromptTemplate(
        name="秘書", version=1, system="S {{who}}", user="U {{ input }}", variables={"who": "山田"},
        created_at=NOW,
    )  # fmt: skip
    assert second == PromptTemplate(name="秘書", version=2, system="T", created_at=NOW)
    assert prompts.get("秘書") == second
    assert prompts.get("秘書@1") == first
    assert (prompts.all(), bell.pokes) == ([first, second], 2)


@pytest.mark.parametrize("name", ["", "a@b", "a\nb", "x" * 101])
def test_a_templates_name_has_no_version_in_it(prompts: PromptService, name: str) -> None:
    """`@` is what versions are named by."""
    with pytest.raises(InvalidValue):
        prompts.set(name, system="x")


@pytest.mark.parametrize(
    ("system", "user", "variables", "said"),
    [
        ("", "", {}, "a system text, a user text, or both"),
        ("", "no place", {}, "must hold {{input}}"),
        ("", "{{input}} {{input}}", {}, "exactly once"),
        ("{{input}}", "", {}, "in the user text only"),
        ("{{who}}", "", {"whom": "x"}, "no variable 'whom'"),
        ("{{date}}", "", {"date": "x"}, "FLM itself says what {{date}} is"),
        ("{{who}}", "", {"who": "x" * 10_001}, "The value of who is too long"),
        ("{{who}}", "", {"who": "\udcff"}, "The value of who is too long, or no text"),
        ("x" * 100_001, "", {}, "The system text is too long"),
        ("a\0b", "", {}, "The system text is too long, or no text"),
    ],
)
def test_a_text_that_cannot_be_is_refused_with_the_name(
    prompts: PromptService, system: str, user: str, variables: dict[str, str], said: str
) -> None:
    """Before anything is kept."""
    with pytest.raises(InvalidValue) as caught:
        prompts.set("t", system, user, variables)
    assert said in caught.value.message
    assert caught.value.remedy
    assert prompts.all() == []


def test_other_braces_are_text(prompts: PromptService) -> None:
    """JSON, LaTeX, code."""
    kept = prompts.set("t", system='{"a": {}} {{}} {{a-b}} {{ 1x }} {who}')
    assert kept.system == '{"a": {}} {{}} {{a-b}} {{ 1x }} {who}'


def test_a_new_version_leaves_no_publication_without_a_value(
    prompts: PromptService, store: Store
) -> None:
    """Those that took a fixed version are not concerned."""
    prompts.set("t", system="x")
    store.publications.add(Publication(name="pinned", models=("m",), template="t@1"))
    prompts.set("t", system="{{who}}")
    store.publications.add(
        Publication(name="floats", models=("m",), template="t", variables={"who": "a"})
    )
    with pytest.raises(Conflict) as caught:
        prompts.set("t", system="{{who}} {{where}}")
    assert caught.value.message == "The API floats would have no value for where."
    assert prompts.set("t", system="{{who}} {{where}}", variables={"where": "here"}).version == 3


def test_what_a_publication_needs_is_not_deleted(prompts: PromptService, store: Store) -> None:
    """A pinned version, the last one, all of them."""
    prompts.set("t", system="1")
    prompts.set("t", system="2 {{who}}")
    prompts.set("t", system="3")
    prompts.set("t", system="4")
    store.publications.add(Publication(name="pinned", models=("m",), template="t@3"))
    store.publications.add(Publication(name="floats", models=("m",), template="t"))
    with pytest.raises(Conflict, match="The API floats needs the prompt template t"):
        prompts.delete("t")
    with pytest.raises(Conflict, match="The API pinned needs the prompt template t@3"):
        prompts.delete("t@3")
    assert (prompts.delete("t@4"), prompts.delete("t@1")) == (1, 1)
    store.publications.remove("pinned")
    with pytest.raises(Conflict, match="would have no value for who"):
        prompts.delete("t@3")
    store.publications.remove("floats")
    assert prompts.delete("t") == 2
    with pytest.raises(NotFound):
        prompts.delete("t")


def test_an_unknown_template_or_version_names_what_there_is(prompts: PromptService) -> None:
    """A version is not guessed."""
    prompts.set("translate", system="1")
    with pytest.raises(NotFound) as version:
        prompts.get("translate@7")
    with pytest.raises(NotFound) as name:
        prompts.get("translat")
    assert version.value.remedy == "It has: 1."
    assert name.value.values["nearest"] == "translate"
    assert prompts.get("translate@01").version == 1


def test_a_profile_is_read_as_people_write_it(profiles: ProfileService, bell) -> None:
    """Each value of its kind."""
    kept = profiles.save(
        " p ",
        {
            "temperature": "0.2", "max_completion_tokens": "1_024", "stop": '["a", "b"]',
            "seed": "-1", "reasoning_effort": "low", "parallel_tool_calls": "no",
        },
        {"max_tokens": "2048", "temperature": "1"},
        {"num_ctx": "16384", "keep_alive": "1h30m", "use_mmap": "true"},
    )  # fmt: skip
    assert kept == Profile(
        name="p",
        defaults={
            "temperature": 0.2, "max_tokens": 1024, "stop": ["a", "b"], "seed": -1,
            "reasoning_effort": "low", "parallel_tool_calls": False,
        },
        caps={"max_tokens": 2048, "temperature": 1.0},
        options={"num_ctx": 16384, "keep_alive": "1h30m", "use_mmap": True},
    )  # fmt: skip
    assert (profiles.get("p"), profiles.all(), bell.pokes) == (kept, [kept], 1)
    assert profiles.save("p", {"stop": "END"}, {}, {"keep_alive": "-1"}).options["keep_alive"] == -1
    assert profiles.get("p").caps == {}


@pytest.mark.parametrize(
    ("defaults", "caps", "options", "said"),
    [
        ({}, {}, {}, "without anything in it"),
        ({"temperature": "2.1"}, {}, {}, "temperature must be a number from 0 to 2, not 2.1"),
        ({"temperature": "nan"}, {}, {}, "temperature must be a number"),
        ({"temperature": "hot"}, {}, {}, "temperature must be a number from 0 to 2, not 'hot'"),
        ({"max_tokens": "0"}, {}, {}, "max_tokens must be a whole number from 1 to 2147483647"),
        ({"max_tokens": "1.5"}, {}, {}, "max_tokens must be a whole number"),
        ({"stop": "[1]"}, {}, {}, "stop must be a text, or a JSON list"),
        ({"stop": ""}, {}, {}, "stop must be a text"),
        ({"reasoning_effort": "much"}, {}, {}, "reasoning_effort cannot be 'much'"),
        ({"parallel_tool_calls": "maybe"}, {}, {}, "parallel_tool_calls must be true or false"),
        ({"temprature": "1"}, {}, {}, "knows no 'temprature'"),
        ({"base_url": "x"}, {}, {}, "knows no 'base_url'"),
        ({"num_ctx": "4096"}, {}, {}, "num_ctx does not go with --set"),
        ({}, {"seed": "1"}, {}, "seed cannot be capped"),
        ({}, {"temperature": "3"}, {}, "temperature must be a number from 0 to 2"),
        ({}, {}, {"temperature": "1"}, "temperature does not go with --option"),
        ({}, {}, {"num_ctx": "10"}, "num_ctx must be a whole number from 256"),
        ({}, {}, {"keep_alive": "soon"}, "keep_alive must be a time such as 30m"),
        ({"max_tokens": "9"}, {"max_tokens": "5"}, {}, "is above its cap, 5"),
        ({"max_tokens": "9", "max_completion_tokens": "9"}, {}, {}, "max_tokens is given twice"),
    ],
)
def test_what_a_profile_cannot_hold_is_refused(
    profiles: ProfileService,
    defaults: dict[str, str],
    caps: dict[str, str],
    options: dict[str, str],
    said: str,
) -> None:
    """With the name and what would be right; nothing is kept."""
    with pytest.raises(InvalidValue) as caught:
        profiles.save("p", defaults, caps, options)
    assert said in caught.value.message
    assert profiles.all() == []


def test_a_profile_that_an_api_has_is_not_deleted(profiles: ProfileService, store: Store) -> None:
    """It would answer nobody."""
    profiles.save("p", {"n": "1"}, {}, {})
    store.publications.add(Publication(name="a", models=("m",), profile="p"))
    with pytest.raises(Conflict, match="The API a has the profile p"):
        profiles.delete("p")
    assert profiles.users("p") == ["a"]
    store.publications.remove("a")
    profiles.delete("p")
    with pytest.raises(NotFound):
        profiles.delete("p")


@pytest.mark.parametrize("name", ["", "a\tb", "x" * 101])
def test_a_profiles_name_is_printable_and_short(profiles: ProfileService, name: str) -> None:
    """It stands in records and tables."""
    with pytest.raises(InvalidValue):
        profiles.save(name, {"n": "1"}, {}, {})
