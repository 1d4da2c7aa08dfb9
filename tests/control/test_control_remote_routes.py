"""Engines on other machines in the snapshot: marked, located, and never chosen in silence."""

from __future__ import annotations

import msgspec
import pytest

from flm.control.compiler import Sources, compile_snapshot
from flm.domain.engines import Address, Engine, EngineId, Healthy, NetworkError
from flm.domain.models import Model
from flm.domain.policy import Policy
from flm.errors import Refusal
from flm.gateway.live import Live, authority
from flm.ports.engines import Sighting
from flm.wire.snapshot import Routes, Rules, Snapshot, Target

NOW = 1_000.0
BOX = Address("box.example", 443, "/api", tls=True, ca_file="/ca.pem")
HERE = Address("127.0.0.1", 8000)


def seen(engine: str, *names: str, at: Address = HERE, up: bool = True) -> Sighting:
    """An engine with models of these names; remote where it is not on loopback."""
    state = Healthy(1.0) if up else NetworkError("connection refused", 1)
    remote = not at.is_loopback
    made = Engine(id=EngineId(engine), kind="custom", state=state, address=at, remote=remote)
    return Sighting(made, tuple(Model(name=name, engine=EngineId(engine)) for name in names))


def compiled(*sightings: Sighting, **more: object) -> Snapshot:
    """The snapshot of these engines; the name of the box is known unless it is said otherwise."""
    sources = Sources(
        config_revision=3, security_revision=5, pepper=b"pepper", keys=(), owner_digest=b"owner",
        policy=Policy(), sightings=sightings, engine_keys={}, embedded=(), running={},
        dialects={"custom": "openai"}, contexts={}, rules=Rules(revision=0),
        located={"box.example": "10.0.0.7"}, native={"custom": ("chat", "embeddings")},
    )  # fmt: skip
    return compile_snapshot(msgspec.structs.replace(sources, **more), NOW)


def routes(*sightings: Sighting, **more: object) -> Routes:
    """Its routes."""
    return compiled(*sightings, **more).routes


def chosen(snapshot: Snapshot, name: str) -> str:
    """The target that a gateway with that snapshot sends a request for `name` to."""
    return Live(snapshot).candidates(name, "", 0.0)[0].target.id


def test_a_target_elsewhere_says_all_that_the_gateway_needs() -> None:
    """The address, the name that its certificate must say, the authority, that it is remote."""
    assert routes(seen("box", "m", at=BOX)).targets["box/m"] == Target(
        id="box/m", engine="box", model="m", dialect="openai", host="10.0.0.7", port=443,
        prefix="/api", name="box.example", tls=True, ca_file="/ca.pem", remote=True,
        native=("chat", "embeddings"),
    )  # fmt: skip


def test_an_address_is_no_name() -> None:
    """Its certificate must be for the address."""
    at = Address("192.168.1.9", 8443, tls=True)
    target = routes(seen("box", "m", at=at)).targets["box/m"]
    assert (target.host, target.name, target.tls) == ("192.168.1.9", "", True)


def test_an_engine_whose_name_is_not_known_is_unavailable() -> None:
    """Until it is: then it is a delta like any other."""
    unknown = routes(seen("box", "m", at=BOX), located={})
    assert (unknown.targets, unknown.models["m"].state) == ({}, "unavailable")
    moved = routes(seen("box", "m", at=BOX), located={"box.example": "10.0.0.8"})
    assert moved.targets["box/m"].host == "10.0.0.8"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (Address("box.example", 443, tls=True), "box.example"),
        (Address("box.example.", 8443, tls=True), "box.example:8443"),
        (Address("box.example", 80), "box.example"),
        (Address("box.example", 443), "box.example:443"),
        (Address("127.0.0.1", 8000), "127.0.0.1:8000"),
        (Address("fd00::7", 443, tls=True), "[fd00::7]"),
        (Address("fd00::7", 80, tls=True), "[fd00::7]:80"),
    ],
)
def test_host_is_the_engine_s_name(address: Address, told: str) -> None:
    """With the port where it is not the scheme's own (RFC 9112 section 3.2)."""
    located = {"box.example": "10.0.0.7", "box.example.": "10.0.0.7"}
    target = routes(seen("box", "m", at=address), located=located).targets["box/m"]
    assert authority(target) == told


def test_a_name_that_is_only_elsewhere_goes_there_and_is_marked() -> None:
    """Under its plain name, and its engine's."""
    snapshot = compiled(seen("box", "big", at=BOX), seen("vllm", "small"))
    assert snapshot.routes.models["big"].remote is True
    assert snapshot.routes.models["small"].remote is False
    assert chosen(snapshot, "big") == chosen(snapshot, "box/big") == "box/big"


def test_a_name_that_is_here_too_stays_here() -> None:
    """The one elsewhere has an entry of its own, with its facts, and is reached by it only."""
    there = seen("box", "m", at=BOX)
    (model,) = there.models
    there = Sighting(there.engine, (msgspec.structs.replace(model, context_length=131_072),))
    snapshot = compiled(there, seen("vllm", "m"))
    models = snapshot.routes.models
    assert (models["m"].targets, models["m"].remote) == (("vllm/m",), False)
    assert (models["m"].context_length, models["m"].engines) == (None, ("vllm",))
    assert (models["box/m"].targets, models["box/m"].remote) == (("box/m",), True)
    assert models["box/m"].context_length == 131_072
    assert chosen(snapshot, "m") == "vllm/m"
    assert chosen(snapshot, "box/m") == chosen(snapshot, "flm://box/m") == "box/m"
    live = Live(snapshot)
    assert [live.entry(name).remote for name in ("m", "box/m", "flm://box/m")] == [
        False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "here",
    [
        {"sightings": (seen("box", "m", at=BOX), seen("vllm", "m", up=False))},
        {"sightings": (seen("box", "m", at=BOX),), "lately": {"m": EngineId("vllm")}},
    ],
    ids=["its engine does not answer", "its engine is gone"],
)
def test_a_name_whose_home_here_is_down_does_not_leave(here: dict[str, object]) -> None:
    """503, naming where else it is: who wants that says so."""
    snapshot = compiled(**here)
    entry = snapshot.routes.models["m"]
    assert (entry.state, entry.targets, entry.engines) == ("unavailable", (), ("vllm",))
    assert entry.remote is False
    with pytest.raises(Refusal) as caught:
        chosen(snapshot, "m")
    assert (caught.value.status, caught.value.code) == (503, "engine_unavailable")
    assert caught.value.message == (
        "The engine of the model 'm' does not answer. Another machine has it too, as 'box/m'."
    )
    assert chosen(snapshot, "box/m") == "box/m"


@pytest.mark.parametrize(("here", "there"), [("m:latest", "m"), ("m", "m:latest")])
def test_ollama_s_tag_makes_no_other_name(here: str, there: str) -> None:
    """A client that leaves `:latest` out does not mean another machine."""
    snapshot = compiled(seen("box", there, at=BOX), seen("vllm", here))
    assert chosen(snapshot, here) == f"vllm/{here}"
    assert chosen(snapshot, f"box/{there}") == f"box/{there}"
    down = compiled(seen("box", there, at=BOX), seen("vllm", here, up=False))
    for name in ("m", "m:latest"):
        with pytest.raises(Refusal):
            chosen(down, name)


def test_a_model_here_whose_name_has_the_box_s_in_it_is_not_elsewhere() -> None:
    """Names hold slashes; the exact name goes before engine/name."""
    snapshot = compiled(seen("box", "m", at=BOX), seen("vllm", "m", "box/m"))
    assert chosen(snapshot, "box/m") == "vllm/box/m"
    assert chosen(snapshot, "flm://box/m") == "box/m"
    assert snapshot.routes.models["box/m"].remote is False


def test_names_that_were_here_count_only_where_they_clash() -> None:
    """Nothing is listed that nobody has."""
    models = routes(seen("box", "m", at=BOX), lately={"other": EngineId("vllm")}).models
    assert list(models) == ["m"]


def test_several_machines_elsewhere_are_one_model_s_homes() -> None:
    """As long as none is here."""
    at = Address("10.0.0.9", 8000)
    both = compiled(seen("box", "m", at=BOX), seen("attic", "m", at=at))
    assert both.routes.models["m"].targets == ("box/m", "attic/m")
    with_here = compiled(seen("box", "m", at=BOX), seen("attic", "m", at=at), seen("vllm", "m"))
    assert list(with_here.routes.models) == ["attic/m", "box/m", "m"]
