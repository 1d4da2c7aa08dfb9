"""Publications, prompt templates and model profiles, against a real database."""

from __future__ import annotations

import pytest

from flm.domain.publications import Profile, PromptTemplate, Publication
from flm.errors import Conflict
from flm.ports.repositories import Revisions, Store

WHOLE = Publication(
    name="claude-*",
    models=("Qwen/Qwen3-8B", "モデル"),
    allow_remote=True,
    keys=("abc", "def"),
    template="秘書@2",
    profile="careful",
    variables={"who": "{{input}} 山田"},
    created_at=5.25,
)


def template(name: str, version: int = 0, **texts: str) -> PromptTemplate:
    """A template with a default for one variable."""
    return PromptTemplate(
        name=name, version=version, variables={"who": "世界"}, created_at=1.5, **texts
    )


def test_a_publication_comes_back_whole(store: Store):
    """Lists, maps and letters of any script; a change of the user's."""
    store.publications.add(WHOLE)
    store.publications.add(Publication(name="a", models=("m",)))
    assert store.publications.all() == [Publication(name="a", models=("m",)), WHOLE]
    assert store.publications.get("claude-*") == WHOLE
    assert store.publications.get("claude-x") is None
    assert store.revisions() == Revisions(2, 0)


def test_a_publications_name_is_taken_once(store: Store):
    """The second is refused and changes nothing."""
    store.publications.add(WHOLE)
    with pytest.raises(Conflict) as caught:
        store.publications.add(Publication(name="claude-*", models=("other",)))
    assert caught.value.message == "There is an API called claude-* already."
    assert (store.publications.all(), store.revisions()) == ([WHOLE], Revisions(1, 0))


def test_a_publication_is_replaced_and_removed(store: Store):
    """What is not there is neither."""
    store.publications.add(WHOLE)
    assert store.publications.replace(Publication(name="claude-*", models=("m",))) is True
    assert store.publications.all() == [Publication(name="claude-*", models=("m",))]
    assert store.publications.replace(Publication(name="b", models=("m",))) is False
    assert store.publications.remove("claude-*") is True
    assert store.publications.remove("claude-*") is False
    assert store.publications.all() == []


def test_each_change_of_a_template_is_a_version(store: Store):
    """Counted from 1 for each name."""
    assert store.prompts.add(template("b", system="x")) == template("b", 1, system="x")
    assert store.prompts.add(template("a", system="y")).version == 1
    assert store.prompts.add(template("b", user="{{input}}")).version == 2
    assert store.prompts.all() == [
        template("a", 1, system="y"),
        template("b", 1, system="x"),
        template("b", 2, user="{{input}}"),
    ]


def test_a_removed_versions_number_is_never_given_again(store: Store):
    """What a record or a pin calls `b@2` was one text only."""
    store.prompts.add(template("b", system="x"))
    store.prompts.add(template("b", system="y"))
    assert store.prompts.remove("b", 2) == 1
    assert store.prompts.remove("b", 2) == 0
    assert store.prompts.all() == [template("b", 1, system="x")]
    assert store.prompts.add(template("b", system="z")).version == 3
    assert store.prompts.remove("b") == 2
    assert store.prompts.all() == []
    assert store.prompts.add(template("b", system="z")).version == 4


def test_a_profile_is_saved_over_the_one_before(store: Store):
    """Whole numbers stay whole."""
    first = Profile(name="p", defaults={"temperature": 0.5, "stop": ["a"]}, caps={"n": 1})
    second = Profile(name="p", options={"num_ctx": 16384, "keep_alive": "30m"})
    store.profiles.save(first)
    assert store.profiles.all() == [first]
    store.profiles.save(second)
    assert store.profiles.all() == [second]
    assert type(store.profiles.all()[0].options["num_ctx"]) is int
    assert (store.profiles.remove("p"), store.profiles.remove("p")) == (True, False)


def test_all_of_it_is_read_with_the_rest(store: Store):
    """In the transaction that reads the revision."""
    store.publications.add(WHOLE)
    store.prompts.add(template("t", system="s"))
    store.profiles.save(Profile(name="p"))
    everything = store.everything()
    assert everything.revisions == Revisions(3, 0)
    assert everything.publications == (WHOLE,)
    assert everything.templates == (template("t", 1, system="s"),)
    assert everything.profiles == (Profile(name="p"),)
