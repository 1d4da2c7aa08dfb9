"""APIs, over a real store."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from flm.domain.engines import Address, Engine, EngineDefinition, EngineId, Healthy
from flm.domain.keys import ApiKey, KeyId
from flm.domain.models import Model
from flm.domain.publications import Publication
from flm.errors import Conflict, FlmError, InvalidValue, NotFound
from flm.ports.repositories import Store
from flm.services.profiles import ProfileService
from flm.services.prompts import PromptService
from flm.services.publication_view import Asked
from flm.services.publications import Changes, PublicationService

NOW = 1_767_225_600.0


class Seen(NamedTuple):
    """What was found last."""

    engines: tuple[Engine, ...]
    models: tuple[Model, ...]


def engine(name: str, kind: str = "ollama", remote: bool = False) -> Engine:
    """An engine that runs."""
    return Engine(id=EngineId(name), kind=kind, state=Healthy(1.0), remote=remote)


SEEN = Seen(
    (engine("ollama"), engine("box", "vllm", remote=True)),
    (
        Model(name="llama:latest", engine=EngineId("ollama")),
        Model(name="qwen", engine=EngineId("ollama")),
        Model(name="big", engine=EngineId("box")),
        Model(name="cloudy", engine=EngineId("ollama"), remote=True),
    ),
)


@pytest.fixture
def apis(store: Store, clock, bell) -> PublicationService:
    """The service, with four models seen on two engines."""
    return PublicationService(store, lambda: SEEN, clock, bell)


@pytest.fixture
def prompts(store: Store, clock, bell) -> PromptService:
    """Prompt templates in the same store."""
    return PromptService(store.prompts, store.publications, clock, bell)


def new_key(store: Store, name: str, label: str, revoked: float | None = None) -> None:
    """A key in the store."""
    store.keys.add(
        ApiKey(
            id=KeyId(name), label=label, digest=b"\0" * 32, last4="", created_at=0.0,
            revoked_at=revoked,
        )
    )  # fmt: skip


def codes(view) -> list[str]:
    """What is odd, by code."""
    return [each.code for each in view.findings]


def refused(error: type[FlmError], call, *args) -> str:
    """The message of the error it ends with."""
    with pytest.raises(error) as caught:
        call(*args)
    assert caught.value.remedy
    return caught.value.message


def test_a_publication_is_kept_as_it_was_said(apis: PublicationService, store: Store, bell) -> None:
    """And what runs is told."""
    new_key(store, "k1", "laptop")
    told = apis.create(
        "  my/api ",
        Changes(model="flm://ollama/qwen", fallback=("llama", "qwen", "llama"), keys=("laptop",)),
    )
    assert told.publication == Publication(
        name="my/api", models=("ollama/qwen", "llama", "qwen"), keys=("k1",), created_at=NOW
    )
    assert told.models == (
        Asked("ollama/qwen", "offered", False),
        Asked("llama", "offered", False),
        Asked("qwen", "offered", False),
    )
    assert (told.findings, apis.get("my/api"), apis.all(), bell.pokes) == ((), told, [told], 1)


def test_a_name_is_taken_once(apis: PublicationService) -> None:
    """Also by a pattern."""
    apis.create("c-*", Changes(model="qwen"))
    assert "already" in refused(Conflict, apis.create, "c-*", Changes(model="qwen"))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "x" * 201, "flm://x"])
def test_a_name_is_one_line_that_is_no_address(apis: PublicationService, name: str) -> None:
    """It is what clients write as `model`."""
    assert "cannot be an API's name" in refused(
        InvalidValue, apis.create, name, Changes(model="qwen")
    )


@pytest.mark.parametrize("name", ["ollama/x", "box/x", "embedded/x", "mine/x", "vllm/*"])
def test_a_name_never_looks_like_an_engines_model(
    apis: PublicationService, store: Store, name: str
) -> None:
    """Engines that run, were added, or may come."""
    store.engines.add(
        EngineDefinition(id=EngineId("mine"), kind="custom", address=Address("127.0.0.1", 80))
    )
    refused(Conflict, apis.create, name, Changes(model="qwen"))
    assert apis.create("Qwen/x", Changes(model="qwen")).publication.name == "Qwen/x"


def test_what_nobody_offers_now_is_told_not_refused(apis: PublicationService) -> None:
    """Its engine may only be off."""
    told = apis.create("a", Changes(model="later", fallback=("qwen",)))
    assert codes(told) == ["api_model_missing"]
    assert told.models[0] == Asked("later", "missing", False)


def test_a_models_own_name_can_be_taken_and_that_is_told(apis: PublicationService) -> None:
    """A template around a model under its own name; the model has another one still."""
    told = apis.create("llama", Changes(model="llama"))
    assert codes(told) == ["api_shadows_model"]
    assert told.findings[0].values["target"] == "ollama/llama:latest"


def test_an_api_leads_to_models_only(apis: PublicationService) -> None:
    """So that none can lead to itself, however long the way."""
    apis.create("a", Changes(model="qwen"))
    said = refused(InvalidValue, apis.create, "b", Changes(model="a"))
    assert said == "a is an API, not a model, and an API leads to models only."
    refused(InvalidValue, apis.create, "b", Changes(model="qwen", fallback=("a",)))
    apis.create("llama", Changes(model="llama"))
    assert apis.create("b", Changes(model="llama")).models[0].state == "offered"


@pytest.mark.parametrize("name", ["", "q*", "a\tb", "x" * 201])
def test_a_models_name_must_be_one(apis: PublicationService, name: str) -> None:
    """A pattern leads nowhere."""
    refused(InvalidValue, apis.create, "a", Changes(model=name))


def test_at_most_sixteen_models(apis: PublicationService) -> None:
    """As many as are asked for one request."""
    many = tuple(f"m{number}" for number in range(15))
    assert len(apis.create("a", Changes(model="qwen", fallback=many)).models) == 16
    refused(InvalidValue, apis.update, "a", Changes(fallback=(*many, "one-more")))


def test_a_remote_fallback_is_left_out_until_it_is_allowed(apis: PublicationService) -> None:
    """And the prompt's leaving is told when it is."""
    told = apis.create("a", Changes(model="qwen", fallback=("big", "cloudy")))
    assert [each.state for each in told.models] == ["offered", "left out", "left out"]
    assert codes(told) == ["api_remote_left_out"] * 2
    told = apis.update("a", Changes(allow_remote=True))
    assert [each.state for each in told.models] == ["offered"] * 3
    assert [(each.code, each.level) for each in told.findings] == [("api_remote", "note")] * 2


def test_a_remote_model_that_was_named_itself_is_asked(apis: PublicationService) -> None:
    """Whoever names it says so; it is told all the same."""
    told = apis.create("a", Changes(model="box/big"))
    assert (told.models[0].state, codes(told)) == ("offered", ["api_remote"])


def test_keys_are_named_by_id_by_label_or_whole(apis: PublicationService, store: Store) -> None:
    """A whole key that is unknown is not repeated."""
    new_key(store, "ABCDEFGHIJ", "phone")
    new_key(store, "k2", "laptop")
    whole = "flm_ABCDEFGHIJ_" + "B" * 49
    told = apis.create("a", Changes(model="qwen", keys=(whole, "laptop", "k2")))
    assert told.publication.keys == ("ABCDEFGHIJ", "k2")
    unknown = "flm_KKKKKKKKKK_" + "B" * 49
    assert "BBBB" not in refused(NotFound, apis.update, "a", Changes(keys=(unknown,)))


def test_a_label_of_two_keys_and_a_key_that_is_gone_are_refused(
    apis: PublicationService, store: Store
) -> None:
    """A revoked one of the same label is not in the way."""
    new_key(store, "k1", "phone")
    new_key(store, "k2", "phone", revoked=1.0)
    new_key(store, "k3", "old", revoked=1.0)
    apis.create("a", Changes(model="qwen", keys=("phone",)))
    refused(Conflict, apis.update, "a", Changes(keys=("old",)))
    new_key(store, "k4", "phone")
    assert "2 keys" in refused(Conflict, apis.update, "a", Changes(keys=("phone",)))


def test_a_publication_without_a_working_key_says_so(
    apis: PublicationService, store: Store
) -> None:
    """Until every key may use it."""
    new_key(store, "k1", "phone")
    apis.create("a", Changes(model="qwen", keys=("k1",)))
    store.keys.revoke(KeyId("k1"), NOW)
    told = apis.get("a")
    assert (told.keys, codes(told)) == ((), ["api_without_keys"])
    assert codes(apis.update("a", Changes(keys=()))) == []


def test_a_template_is_the_newest_version_or_the_pinned_one(
    apis: PublicationService, prompts: PromptService
) -> None:
    """What is kept says which."""
    prompts.set("t", system="one")
    assert apis.create("a", Changes(model="qwen", template="t")).publication.template == "t"
    assert apis.create("b", Changes(model="qwen", template="t@1")).publication.template == "t@1"
    prompts.set("t", system="two")
    versions = [told.template.version for told in apis.all() if told.template]
    assert versions == [2, 1]


@pytest.mark.parametrize("text", ["nobody", "t@2", "t@x", "t@", "t@-1"])
def test_a_template_must_be_there(
    apis: PublicationService, prompts: PromptService, text: str
) -> None:
    """With the version that was named."""
    prompts.set("t", system="one")
    refused(NotFound, apis.create, "a", Changes(model="qwen", template=text))


def test_every_variable_gets_a_value_and_no_other_is_given(
    apis: PublicationService, prompts: PromptService
) -> None:
    """Named in the refusal."""
    prompts.set("t", system="{{who}} {{where}} {{date}}", variables={"where": "here"})
    said = refused(InvalidValue, apis.create, "a", Changes(model="qwen", template="t"))
    assert said == "The prompt template t needs a value for who."
    wrong = Changes(model="qwen", template="t", variables={"who": "a", "whom": "b"})
    assert "'whom'" in refused(InvalidValue, apis.create, "a", wrong)
    own = Changes(model="qwen", template="t", variables={"who": "a", "date": "b"})
    assert "{{date}}" in refused(InvalidValue, apis.create, "a", own)
    refused(InvalidValue, apis.create, "a", Changes(model="qwen", variables={"who": "a"}))


def test_an_update_changes_what_it_names(apis: PublicationService, prompts: PromptService) -> None:
    """Variables one by one; another template takes along those it knows."""
    prompts.set("t", system="{{a}}{{b}}", variables={"a": "1", "b": "2"})
    prompts.set("u", system="{{b}}{{c}}", variables={"c": "3"})
    apis.create("x", Changes(model="qwen", fallback=("llama",), template="t", variables={"a": "9"}))
    told = apis.update("x", Changes(variables={"b": "8"}))
    assert told.publication.variables == {"a": "9", "b": "8"}
    told = apis.update("x", Changes(model="big", template="u"))
    assert told.publication.models == ("big", "llama")
    assert told.publication.variables == {"b": "8"}
    refused(InvalidValue, apis.update, "x", Changes(without=("c",)))
    assert "needs a value for b" in refused(InvalidValue, apis.update, "x", Changes(without=("b",)))
    told = apis.update("x", Changes(template="", fallback=()))
    assert (told.publication.template, told.publication.variables) == ("", {})
    assert told.publication.models == ("big",)


def test_an_update_of_nothing_and_of_nobody_is_refused(apis: PublicationService, bell) -> None:
    """And nobody is told."""
    refused(InvalidValue, apis.update, "a", Changes())
    refused(NotFound, apis.update, "a", Changes(model="qwen"))
    apis.create("abc", Changes(model="qwen"))
    with pytest.raises(NotFound) as caught:
        apis.get("abd")
    assert (caught.value.values["nearest"], bell.pokes) == ("abc", 1)


def test_a_deleted_publication_is_gone(apis: PublicationService, bell) -> None:
    """Once."""
    apis.create("a", Changes(model="qwen"))
    assert apis.delete("a").name == "a"
    refused(NotFound, apis.delete, "a")
    assert (apis.all(), bell.pokes) == ([], 2)


def test_a_profile_must_be_there_and_its_options_must_be_heard(
    apis: PublicationService, store: Store, bell
) -> None:
    """vLLM takes no `num_ctx` with a request."""
    profiles = ProfileService(store.profiles, store.publications, bell)
    refused(NotFound, apis.create, "a", Changes(model="qwen", profile="p"))
    profiles.save("p", {}, {}, {"num_ctx": "16384"})
    assert codes(apis.create("a", Changes(model="qwen", profile="p"))) == []
    assert codes(apis.create("b", Changes(model="big", profile="p"))) == [
        "api_remote",
        "api_options_unheard",
    ]


def test_what_is_missing_behind_a_publication_is_an_error(
    apis: PublicationService, store: Store, prompts: PromptService
) -> None:
    """However that came: it answers nobody."""
    prompts.set("t", system="x")
    told = apis.create("a", Changes(model="qwen", template="t"))
    broken = msgspec.structs.replace(told.publication, template="gone", profile="gone")
    store.publications.replace(broken)
    assert [(each.code, each.level) for each in apis.get("a").findings] == [
        ("api_incomplete", "error"),
        ("api_incomplete", "error"),
    ]


def test_the_default_for_unknown_names_is_looked_at(apis: PublicationService) -> None:
    """A model that is there, an API, or nobody."""
    apis.create("a", Changes(model="qwen"))
    odd = [apis.oddities(name) for name in ("", "a", "llama", "box/big", "nobody")]
    assert odd == [(), (), (), ("api_remote",), ("api_model_missing",)]
