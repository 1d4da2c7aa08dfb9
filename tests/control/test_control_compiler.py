"""The compiler: stored and seen in, snapshot out."""

from __future__ import annotations

import msgspec

from flm.control.compiler import (
    Running,
    Sources,
    compile_snapshot,
    difference,
    num_ctx,
    renumbered,
)
from flm.domain.engines import EMBEDDED, Address, Engine, EngineId, Healthy, NetworkError
from flm.domain.keys import ApiKey, KeyId
from flm.domain.models import Model
from flm.domain.policy import Policy
from flm.ports.engines import Sighting
from flm.wire.snapshot import KeyEntry, Rules, Target

NOW = 1_000.0


def key(name: str, expires: float | None = None, revoked: float | None = None) -> ApiKey:
    """A stored key."""
    return ApiKey(
        id=KeyId(name), label=name, digest=name.encode(), last4="", created_at=0.0,
        expires_at=expires, revoked_at=revoked,
    )  # fmt: skip


def seen(engine: str, *models: Model, up: bool = True, port: int = 80) -> Sighting:
    """An engine of kind openai that was seen."""
    state = Healthy(1.0) if up else NetworkError("connection refused", 1)
    return Sighting(
        Engine(id=EngineId(engine), kind="custom", state=state, address=Address("127.0.0.1", port)),
        models,
    )


def model(name: str, engine: str = "vllm", **more: object) -> Model:
    """A model on an engine."""
    return msgspec.structs.replace(Model(name=name, engine=EngineId(engine)), **more)


def sources(**more: object) -> Sources:
    """Nothing but what the test is about."""
    empty = Sources(
        config_revision=3, security_revision=5, pepper=b"pepper", keys=(), owner_digest=b"owner",
        policy=Policy(), sightings=(), engine_keys={}, embedded=(), running={},
        dialects={"custom": "openai", "ollama": "ollama", "llamacpp": "openai"},
        contexts={}, rules=Rules(revision=0),
    )  # fmt: skip
    return msgspec.structs.replace(empty, **more)


def test_only_usable_keys_are_in_the_snapshot() -> None:
    """Revoked and expired keys are not there; the owner key is, under its own name."""
    keys = [
        key("good"),
        key("expires", expires=NOW + 5),
        key("expired", expires=NOW),
        key("revoked", revoked=NOW - 1),
        key("rotated", expires=NOW + 90, revoked=NOW + 60),
    ]
    compiled = compile_snapshot(sources(keys=keys), NOW).keys
    assert compiled.entries == {
        "good": KeyEntry("good", b"good", None),
        "expires": KeyEntry("expires", b"expires", NOW + 5),
        "rotated": KeyEntry("rotated", b"rotated", NOW + 60),
        "FLM0owner0": KeyEntry("owner", b"owner", None),
    }
    assert (compiled.revision, compiled.pepper) == (5, b"pepper")


def test_a_model_on_a_running_engine_is_ready() -> None:
    """Its target says where, how and with which key of the engine's own."""
    found = model("Qwen/Qwen3-8B", context_length=4096, capabilities=("chat",))
    routes = compile_snapshot(
        sources(sightings=[seen("vllm", found, port=8000)], engine_keys={"vllm": "sk-1"}), NOW
    ).routes
    assert routes.targets == {
        "vllm/Qwen/Qwen3-8B": Target(
            id="vllm/Qwen/Qwen3-8B",
            engine="vllm",
            model="Qwen/Qwen3-8B",
            dialect="openai",
            host="127.0.0.1",
            port=8000,
            authorization="Bearer sk-1",
            capabilities=("chat",),
        )
    }
    entry = routes.models["Qwen/Qwen3-8B"]
    assert (entry.state, entry.targets) == ("ready", ("vllm/Qwen/Qwen3-8B",))
    assert entry.context_length == 4096


def test_an_engine_is_asked_for_a_model_by_its_own_name() -> None:
    """A file's path is what the engine wants to hear, the file's name what clients say."""
    found = model("tiny", engine_name="/models/tiny.gguf")
    routes = compile_snapshot(sources(sightings=[seen("vllm", found)]), NOW).routes
    assert routes.targets["vllm/tiny"].model == "/models/tiny.gguf"


def test_one_name_on_several_engines_is_one_model_with_several_homes() -> None:
    """The smaller context is promised, every ability is told, sleeping homes come last."""
    routes = compile_snapshot(
        sources(
            sightings=[
                seen("a", model("m", "a", context_length=8192, capabilities=("chat",))),
                seen("b", model("m", "b", context_length=4096, capabilities=("chat", "tools"))),
            ],
            embedded=[model("m", "embedded", context_length=16384)],
        ),
        NOW,
    ).routes
    entry = routes.models["m"]
    assert entry.targets == ("a/m", "b/m", "embedded/m")
    assert (entry.state, entry.context_length) == ("ready", 4096)
    assert entry.capabilities == ("chat", "tools")


def test_a_dead_engine_has_no_targets_and_its_models_are_unavailable() -> None:
    """The name is still known, so that the client hears more than 'no such model'."""
    routes = compile_snapshot(sources(sightings=[seen("a", model("m", "a"), up=False)]), NOW).routes
    assert routes.targets == {}
    assert (routes.models["m"].state, routes.models["m"].targets) == ("unavailable", ())


def test_a_model_that_no_request_loads_is_unavailable_until_somebody_does() -> None:
    """text-generation-webui would answer with whatever it has loaded."""
    idle, loaded = model("idle", by_hand=True, loaded=False), model("m", by_hand=True, loaded=True)
    routes = compile_snapshot(sources(sightings=[seen("vllm", idle, loaded)]), NOW).routes
    assert set(routes.targets) == {"vllm/m"}
    assert (routes.models["idle"].state, routes.models["m"].state) == ("unavailable", "ready")


def test_an_embedded_model_sleeps_until_it_is_loaded() -> None:
    """Asleep: a target without a host. Loaded: the child's address and key."""
    asleep = compile_snapshot(sources(embedded=[model("m", "embedded")]), NOW).routes
    assert asleep.targets["embedded/m"].host is None
    assert asleep.models["m"].state == "sleeping"
    awake = compile_snapshot(
        sources(
            embedded=[model("m", "embedded")], running={"m": Running("127.0.0.1", 4000, "secret")}
        ),
        NOW,
    ).routes
    target = awake.targets["embedded/m"]
    assert (target.host, target.port, target.authorization) == (
        "127.0.0.1", 4000, "Bearer secret",
    )  # fmt: skip
    assert awake.models["m"].state == "ready"


def test_what_detection_says_of_the_embedded_engine_makes_no_targets() -> None:
    """The controller itself knows which files there are and what is loaded."""
    engine = Engine(id=EMBEDDED, kind="embedded", state=Healthy(0.0))
    routes = compile_snapshot(sources(sightings=[Sighting(engine, (model("m"),))]), NOW).routes
    assert (routes.targets, routes.models) == ({}, {})


def test_a_models_context_goes_before_its_engines() -> None:
    """Set for the model, else for the engine, else nothing is sent."""
    contexts = {"ollama": {"": 4096, "big": 32768}}
    assert num_ctx(contexts, EngineId("ollama"), "big") == 32768
    assert num_ctx(contexts, EngineId("ollama"), "other") == 4096
    assert num_ctx(contexts, EngineId("else"), "big") is None


def test_routes_are_numbered_by_their_changes() -> None:
    """The same routes keep their number; others get the next one."""
    first = renumbered(compile_snapshot(sources(), NOW), None)
    same = renumbered(compile_snapshot(sources(keys=[key("a")]), NOW), first)
    other = renumbered(compile_snapshot(sources(embedded=[model("m")]), NOW), same)
    assert [each.routes.revision for each in (first, same, other)] == [1, 1, 2]


def test_a_delta_holds_only_the_sections_that_changed() -> None:
    """Nothing changed: no delta at all."""
    before = renumbered(compile_snapshot(sources(keys=[key("a")]), NOW), None)
    assert difference(7, before, before, NOW) is None
    after = renumbered(compile_snapshot(sources(keys=[key("b")], security_revision=6), NOW), before)
    delta = difference(7, before, after, NOW)
    assert delta is not None
    assert (delta.seq, delta.keys, delta.routes, delta.rules) == (7, after.keys, None, None)


def test_a_delta_names_revoked_keys_and_not_expired_ones() -> None:
    """Responses of a key that merely expired, or whose rotation's grace is over, may end."""
    keys = [key("revoked"), key("expires", expires=NOW + 5), key("rotated", revoked=NOW + 5)]
    before = renumbered(compile_snapshot(sources(keys=keys), NOW), None)
    later = NOW + 10
    after = renumbered(
        compile_snapshot(sources(keys=[key("revoked", revoked=later), *keys[1:]]), later), before
    )
    delta = difference(1, before, after, later)
    assert delta is not None
    assert delta.revoked == ("revoked",)
