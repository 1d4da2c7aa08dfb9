"""The text-generation-webui adapter and its keeper against what a real one answered."""

from __future__ import annotations

import pytest

from flm.domain.engines import Address, EngineId, Healthy
from flm.engines.prober import HttpProber
from flm.engines.text_generation_webui.adapter import TextGenerationWebuiAdapter
from flm.engines.text_generation_webui.keeper import TextGenerationWebuiKeeper
from flm.errors import NotFound, NotPermitted, UserError
from flm.ports.clock import SystemClock
from flm.ports.engines import Installation, Sighting, Step, Wishes
from support.fakes.base import FakeEngine, instead
from support.fakes.textgen import LOCKED, TextGenerationWebuiFake
from support.machines import MadeUp

WEBUI = EngineId("text-generation-webui")
QWEN = "Qwen3-8B-Q4_K_M.gguf"
NO_WISHES = Wishes()


@pytest.fixture
def prober() -> HttpProber:
    """The real one with the machine's clock."""
    return HttpProber(SystemClock())


async def look(
    prober: HttpProber, fake: TextGenerationWebuiFake, wishes: Wishes = NO_WISHES
) -> Sighting:
    """What the adapter says."""
    adapter = TextGenerationWebuiAdapter()
    return await adapter.describe(prober, WEBUI, fake.address, None, wishes)


def never(step: Step) -> None:
    """Progress that nobody looks at."""


async def test_the_loaded_model_comes_first_and_the_others_wait(prober: HttpProber) -> None:
    """A request loads none of them: it would be answered by the one that is loaded."""
    with TextGenerationWebuiFake() as fake:
        sighting = await look(prober, fake)
    assert [(m.name, m.engine_name, m.loaded, m.by_hand) for m in sighting.models] == [
        ("tiny", None, True, True),
        ("Qwen3-8B-Q4_K_M", QWEN, False, True),
        ("broken", "broken.gguf", False, True),
    ]


async def test_with_no_model_loaded_it_is_healthy_and_says_so(prober: HttpProber) -> None:
    """Its own word for none is the text `None`."""
    with TextGenerationWebuiFake() as fake:
        fake.loaded = None
        sighting = await look(prober, fake)
    assert isinstance(sighting.engine.state, Healthy)
    assert sighting.engine.detail == "no model is loaded"
    assert {model.loaded for model in sighting.models} == {False}


async def test_without_its_admin_key_only_the_loaded_model_is_known(prober: HttpProber) -> None:
    """The list is 401 to the API's key."""
    with TextGenerationWebuiFake() as fake:
        fake.fault("/v1/internal/model/list", instead(LOCKED))
        sighting = await look(prober, fake)
    assert isinstance(sighting.engine.state, Healthy)
    assert [model.name for model in sighting.models] == ["tiny"]


async def test_the_context_is_the_one_the_user_says(prober: HttpProber) -> None:
    """It tells none itself."""
    with TextGenerationWebuiFake() as fake:
        sighting = await look(prober, fake, Wishes(contexts={"": 4096, "tiny": 8192}))
    assert [model.context_length for model in sighting.models] == [8192, 4096, 4096]


async def test_a_model_is_loaded_in_place_of_the_other() -> None:
    """With a context where one is asked for."""
    steps: list[Step] = []
    keeper = TextGenerationWebuiKeeper()
    with TextGenerationWebuiFake() as fake:
        await keeper.load(fake.address, "k", QWEN, 16384, steps.append)
        (asked,) = fake.asked("/v1/internal/model/load")
    assert fake.loaded == QWEN
    assert asked.body == (
        b'{"model_name":"Qwen3-8B-Q4_K_M.gguf","args":{"ctx_size":16384}}'
    )  # fmt: skip
    assert asked.headers["authorization"] == "Bearer k"
    assert steps == [Step("Loading {model}", {"model": QWEN})]


async def test_a_model_it_does_not_have_costs_nobody_the_one_it_has() -> None:
    """It would unload first and then fail: its list is looked at before."""
    with TextGenerationWebuiFake() as fake:
        with pytest.raises(NotFound):
            await TextGenerationWebuiKeeper().load(fake.address, None, "gone", None, never)
        assert fake.loaded == "tiny"
        assert fake.asked("/v1/internal/model/load") == []


async def test_a_model_that_cannot_be_loaded_is_said() -> None:
    """400 `Failed to load the model.`, whatever the reason."""
    with TextGenerationWebuiFake() as fake, pytest.raises(UserError) as caught:
        await TextGenerationWebuiKeeper().load(fake.address, None, "broken.gguf", None, never)
    assert caught.value.code == "model_load_failed"
    assert "broken.gguf" in caught.value.message


async def test_the_loaded_model_is_unloaded() -> None:
    """And nothing is left."""
    with TextGenerationWebuiFake() as fake:
        await TextGenerationWebuiKeeper().unload(fake.address, None, "tiny")
    assert fake.loaded is None


async def test_another_model_is_not_unloaded_in_its_place() -> None:
    """Its API would unload whatever there is."""
    with TextGenerationWebuiFake() as fake, pytest.raises(NotFound):
        await TextGenerationWebuiKeeper().unload(fake.address, None, QWEN)
    assert fake.loaded == "tiny"


async def test_a_key_that_is_wrong_is_said() -> None:
    """With the command that stores one."""
    with TextGenerationWebuiFake() as fake:
        fake.lock()
        with pytest.raises(UserError) as caught:
            await TextGenerationWebuiKeeper().load(fake.address, None, "tiny", None, never)
    assert caught.value.code == "needs_key"


async def test_fetching_and_deleting_are_done_on_its_page() -> None:
    """It has no API for them."""
    keeper, address = TextGenerationWebuiKeeper(), Address("127.0.0.1", 1)
    with pytest.raises(NotPermitted):
        await keeper.pull(address, None, "m", never)
    with pytest.raises(NotPermitted):
        await keeper.remove(address, None, "m")


def test_it_is_searched_where_its_variable_says_and_at_5000() -> None:
    """Both loopback addresses."""
    places = TextGenerationWebuiAdapter().places(MadeUp(environment={"OPENEDAI_PORT": "5005"}))
    assert [(each.host, each.port) for each in places] == [
        ("127.0.0.1", 5005), ("::1", 5005), ("127.0.0.1", 5000), ("::1", 5000),
    ]  # fmt: skip


HOME = "/home/you/text-generation-webui"
ITS_FILES = ("server.py", "modules/api/script.py")


@pytest.mark.parametrize(
    ("machine", "folder"),
    [
        (MadeUp(), None),
        (MadeUp(files={f"{HOME}/{name}": "" for name in ITS_FILES}), HOME),
        (MadeUp(files={f"{HOME}/server.py": ""}), None),
        (MadeUp(files={f"{HOME}-{version}/{name}": "" for name in ITS_FILES
                       for version in ("4.6", "4.7.3")}), f"{HOME}-4.7.3"),
        (MadeUp(files={f"/home/you/Downloads/textgen-4/{name}": "" for name in ITS_FILES}),
         "/home/you/Downloads/textgen-4"),
        (MadeUp("win32", files={
            r"C:\Users\you\text-generation-webui\server.py": "",
            r"C:\Users\you\text-generation-webui\modules\api\script.py": ""}),
         r"C:\Users\you\text-generation-webui"),
    ],
    ids=["nowhere", "at home", "another server.py", "the newest", "a download", "Windows"],
)  # fmt: skip
def test_its_folder_is_found(machine: MadeUp, folder: str | None) -> None:
    """By two files that only it has together."""
    expected = None if folder is None else Installation(program=folder)
    assert TextGenerationWebuiAdapter().installed(machine) == expected


async def test_a_dead_engine_tells_no_load(prober: HttpProber) -> None:
    """Nor does one that lives: it has no numbers."""
    with FakeEngine({}) as fake:
        assert await TextGenerationWebuiAdapter().load(prober, fake.address, None) is None
