"""Publications in the snapshot: what is stored in, what the gateway judges by out."""

from __future__ import annotations

import msgspec
import pytest
from tests.control.test_control_compiler import NOW, key, model, seen, sources

from flm.control.compiler import compile_snapshot, difference, renumbered
from flm.control.publications import published
from flm.domain.keys import ApiKey, KeyId
from flm.domain.publications import Profile, PromptTemplate, Publication
from flm.wire.channel import Delta
from flm.wire.snapshot import ModelEntry, Published, Routes, Target

MINE = Publication(name="mine", models=("llama",), created_at=7.9)
GREET = PromptTemplate(
    name="greet",
    version=1,
    system="{{who}}, {{date}}",
    user="{{what}}: {{ input }}!",
    variables={"who": "山田", "what": "Q"},
)


def routes() -> Routes:
    """`llama` is here, `big` on the engine `box` of another machine, `gone` was there."""
    models = {
        "llama": ModelEntry(
            name="llama", targets=("ollama/llama",), engines=("ollama",), state="ready"
        ),
        "big": ModelEntry(
            name="big", targets=("box/big",), engines=("box",), state="ready", remote=True
        ),
        "gone": ModelEntry(
            name="gone", targets=(), engines=("box",), state="unavailable", remote=True
        ),
    }
    targets = {
        "ollama/llama": Target(id="ollama/llama", engine="ollama", model="llama", dialect="ollama"),
        "box/big": Target(id="box/big", engine="box", model="big", dialect="openai", remote=True),
    }
    return Routes(1, models, targets)


def compiled(publication: Publication, *keys: ApiKey, **more: object) -> Published:
    """That one publication."""
    templates, profiles = more.get("templates", ()), more.get("profiles", ())
    return published([publication], templates, profiles, keys, routes(), NOW)[publication.name]


def change(**fields: object) -> Publication:
    """`mine` with other values."""
    return msgspec.structs.replace(MINE, **fields)


def test_a_publication_is_in_the_routes_and_a_change_is_a_delta() -> None:
    """With the default for unknown names; the same again is none."""
    sighting = [seen("vllm", model("llama"))]
    bare = renumbered(compile_snapshot(sources(sightings=sighting), NOW), None)
    assert (bare.routes.published, bare.routes.default) == ({}, "")
    more = sources(sightings=sighting, publications=[MINE], default="mine")
    after = renumbered(compile_snapshot(more, NOW), bare)
    assert after.routes.published == {"mine": Published(name="mine", models=("llama",), created=7)}
    assert after.routes.default == "mine"
    assert difference(2, bare, after, NOW) == Delta(
        seq=2, keys=None, routes=after.routes, rules=None, revoked=()
    )
    again = renumbered(compile_snapshot(more, NOW + 60), after)
    assert difference(3, after, again, NOW) is None


def test_a_publication_crosses_the_channel_as_it_is() -> None:
    """Pieces of texts, values of profiles."""
    whole = compiled(
        change(template="greet", profile="p"),
        templates=[GREET],
        profiles=[Profile(name="p", caps={"max_tokens": 5}, options={"num_ctx": 4096})],
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=Published) == whole


def test_a_templates_variables_are_filled_in_but_for_what_each_request_says() -> None:
    """The publication's values before the template's; nothing in them is a variable."""
    got = compiled(
        change(template="greet", variables={"what": "{{input}} {{who}}"}), templates=[GREET]
    )
    assert got.template == "greet@1"
    assert got.system == ("山田, ", "date", "")
    assert got.user == ("{{input}} {{who}}: ", "input", "!")
    assert got.shapes is True


def test_the_newest_version_is_in_force_unless_one_is_pinned() -> None:
    """10 is newer than 9."""
    versions = [
        PromptTemplate(name="greet", version=number, system=f"v{number}") for number in (9, 10, 1)
    ]
    other = PromptTemplate(name="other", version=11, system="o")
    floating = compiled(change(template="greet"), templates=[*versions, other])
    pinned = compiled(change(template="greet@9"), templates=[*versions, other])
    assert (floating.template, floating.system) == ("greet@10", ("v10",))
    assert (pinned.template, pinned.system) == ("greet@9", ("v9",))


@pytest.mark.parametrize(
    ("template", "profile"), [("gone", ""), ("greet@2", ""), ("", "gone"), ("bare", "")]
)
def test_a_publication_with_something_missing_answers_nobody(template: str, profile: str) -> None:
    """A template, a version, a profile, a variable's value: nothing is served without it."""
    bare = PromptTemplate(name="bare", version=1, system="{{nobody}}")
    got = compiled(change(template=template, profile=profile), templates=[GREET, bare])
    assert got.models == ()


def test_keys_that_work_no_longer_vanish_and_the_last_leaves_nobody() -> None:
    """A list that is empty now is still a list; none at all is everybody."""
    keys = [key("a"), key("b", revoked=NOW - 1), key("c", expires=NOW)]
    some = compiled(change(keys=("a", "b", "c", "unknown")), *keys)
    assert (some.limited, some.keys) == (True, ("a",))
    nobody = compiled(change(keys=("b", "c")), *keys)
    assert (nobody.limited, nobody.keys, nobody.open_to("a")) == (True, (), False)
    everybody = compiled(MINE, *keys)
    assert (everybody.limited, everybody.open_to("a")) == (False, True)


def test_a_rotated_key_hands_its_place_on() -> None:
    """With its successor's successor, and itself as long as its grace lasts."""
    old = msgspec.structs.replace(key("a", revoked=NOW - 1), rotated_to=KeyId("b"))
    middle = msgspec.structs.replace(key("b", revoked=NOW + 60), rotated_to=KeyId("c"))
    assert compiled(change(keys=("a",)), old, middle, key("c")).keys == ("b", "c")


def test_keys_that_were_rotated_in_a_circle_are_no_endless_loop() -> None:
    """Damaged data stops nothing."""
    one = msgspec.structs.replace(key("a"), rotated_to=KeyId("b"))
    two = msgspec.structs.replace(key("b"), rotated_to=KeyId("a"))
    assert compiled(change(keys=("a",)), one, two).keys == ("a", "b")


@pytest.mark.parametrize(
    ("models", "allowed", "askable"),
    [
        (("llama", "big", "box/big", "flm://box/big"), False, ("llama",)),
        (("llama", "big"), True, ("llama", "big")),
        (("big", "llama", "box/big"), False, ("big", "llama", "box/big")),
        (("nobody", "big", "llama", "gone"), False, ("nobody", "llama")),
        (("gone", "big"), False, ("gone", "big")),
    ],
)
def test_what_leaves_the_machine_is_asked_in_place_of_what_does_not_only_when_allowed(
    models: tuple[str, ...], allowed: bool, askable: tuple[str, ...]
) -> None:
    """However it is named; a first model that nobody knows now counts as here."""
    assert compiled(change(models=models, allow_remote=allowed)).models == askable
