"""LM Studio downloads, loads and unloads, and refuses to delete."""

from __future__ import annotations

import pytest

from flm.engines.lmstudio.keeper import STALLED_POLLS, LmStudioKeeper
from flm.errors import NotFound, NotPermitted, UserError
from flm.ports.engines import Step
from support.fakes.base import as_json, asked_for, instead
from support.fakes.lmstudio import LmStudioFake, job

OSS = "openai/gpt-oss-20b"
GEMMA = "google/gemma-3-4b"


class Pauses:
    """Counts the pauses instead of making them."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """A pause that takes no time."""
        self.taken.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    """None was taken yet."""
    return Pauses()


@pytest.fixture
def keeper(pauses: Pauses) -> LmStudioKeeper:
    """A keeper that does not really wait."""
    return LmStudioKeeper(pause=pauses)


def ignore(step: Step) -> None:
    """Who watches no progress."""


async def test_a_download_is_watched_to_its_end(keeper: LmStudioKeeper, pauses: Pauses) -> None:
    """It is begun once and asked about once a second."""
    steps: list[Step] = []
    with LmStudioFake() as fake:
        await keeper.pull(fake.address, None, "qwen/qwen3-4b-2507", steps.append)
    assert [(step.doing, step.done, step.total) for step in steps] == [
        ("Fetching {model}", 948, 4000),
        ("Fetching {model}", 2000, 4000),
    ]
    assert pauses.taken == [1.0, 1.0]
    assert [seen.method for seen in fake.seen] == ["POST", "GET", "GET"]
    assert asked_for(fake.seen[0]) == {"model": "qwen/qwen3-4b-2507"}


async def test_a_quantization_is_asked_for_with_a_hugging_face_url(keeper: LmStudioKeeper) -> None:
    """Its API takes one for such URLs only."""
    url = "https://huggingface.co/lmstudio-community/gpt-oss-20b-GGUF"
    with LmStudioFake() as fake:
        await keeper.pull(fake.address, None, f"{url}@Q4_K_M", ignore)
    assert asked_for(fake.seen[0]) == {"model": url, "quantization": "Q4_K_M"}


async def test_what_is_there_already_is_not_fetched_again(
    keeper: LmStudioKeeper, pauses: Pauses
) -> None:
    """`already_downloaded` has neither a job nor a size."""
    with LmStudioFake() as fake:
        fake.jobs = [{"status": "already_downloaded"}]
        await keeper.pull(fake.address, None, GEMMA, ignore)
    assert pauses.taken == []


async def test_a_download_that_its_user_paused_is_shown_as_such(keeper: LmStudioKeeper) -> None:
    """And goes on when he lets it."""
    steps: list[Step] = []
    with LmStudioFake() as fake:
        fake.jobs = [job("downloading", 10), job("paused", 20), job("completed", 4000)]
        await keeper.pull(fake.address, None, "qwen/qwen3-4b", steps.append)
    assert [step.doing for step in steps] == [
        "Fetching {model}",
        "Fetching {model}: paused in LM Studio",
    ]


@pytest.mark.parametrize(
    "jobs", [[job("downloading", 10), job("failed")], [job("downloading", 10)]]
)
async def test_a_download_that_fails_or_stands_still_ends(
    keeper: LmStudioKeeper, pauses: Pauses, jobs: list[dict[str, object]]
) -> None:
    """Nobody waits for ever, and the remedy says how to go on."""
    with LmStudioFake() as fake:
        fake.jobs = jobs
        with pytest.raises(UserError) as caught:
            await keeper.pull(fake.address, None, "qwen/qwen3-4b", ignore)
    assert caught.value.code == "pull_failed"
    assert len(pauses.taken) <= STALLED_POLLS + 1


async def test_a_model_is_loaded_with_a_context(keeper: LmStudioKeeper) -> None:
    """The context is LM Studio's own choice unless one is asked for."""
    with LmStudioFake() as fake:
        await keeper.load(fake.address, None, GEMMA, 8192, ignore)
        (asked,) = fake.asked("/api/v1/models/load")
        assert asked_for(asked) == {"model": GEMMA, "context_length": 8192}
        assert len(fake.models[GEMMA]["loaded_instances"]) == 1  # type: ignore[arg-type] # a list


@pytest.mark.parametrize("context", [None, 16_384])
async def test_a_model_that_is_loaded_is_not_loaded_twice(
    keeper: LmStudioKeeper, context: int | None
) -> None:
    """Asked again, LM Studio would hold a second copy in memory."""
    with LmStudioFake() as fake:
        await keeper.load(fake.address, None, OSS, context, ignore)
    assert fake.asked("/api/v1/models/load") == []


async def test_another_context_takes_the_place_of_the_old_one(keeper: LmStudioKeeper) -> None:
    """Unloaded first, because both might not fit."""
    with LmStudioFake() as fake:
        await keeper.load(fake.address, None, OSS, 4096, ignore)
        assert fake.models[OSS]["loaded_instances"] == [
            {"id": OSS, "config": {"context_length": 4096, "parallel": 4}}
        ]
    posts = [seen.path for seen in fake.seen if seen.method == "POST"]
    assert posts == ["/api/v1/models/unload", "/api/v1/models/load"]


async def test_every_copy_of_a_model_is_unloaded(keeper: LmStudioKeeper) -> None:
    """Each by the name of its copy; where none is loaded nothing has to be done."""
    with LmStudioFake() as fake:
        fake.models[OSS]["loaded_instances"] = [
            {"id": OSS, "config": {}},
            {"id": f"{OSS}:2", "config": {}},
        ]
        await keeper.unload(fake.address, None, OSS)
        await keeper.unload(fake.address, None, OSS)
        assert fake.models[OSS]["loaded_instances"] == []
    assert [asked_for(seen) for seen in fake.asked("/api/v1/models/unload")] == [
        {"instance_id": OSS},
        {"instance_id": f"{OSS}:2"},
    ]


async def test_a_model_it_does_not_have_is_named(keeper: LmStudioKeeper) -> None:
    """It would load another one in silence."""
    with LmStudioFake() as fake, pytest.raises(NotFound) as caught:
        await keeper.load(fake.address, None, "no/such", None, ignore)
    assert caught.value.message == "The engine has no model no/such."
    assert fake.asked("/api/v1/models/load") == []


async def test_nothing_is_deleted(keeper: LmStudioKeeper) -> None:
    """Its API has no way, and it is not even asked."""
    with LmStudioFake() as fake, pytest.raises(NotPermitted) as caught:
        await keeper.remove(fake.address, None, GEMMA)
    assert caught.value.remedy == "Delete google/gemma-3-4b in LM Studio, under My Models."
    assert fake.seen == []


async def test_versions_before_0_4_say_200_and_mean_no(keeper: LmStudioKeeper) -> None:
    """Their answer to an endpoint they do not have is no success."""
    with LmStudioFake(apis=("/api/v0",)) as fake:
        for asked in (
            keeper.pull(fake.address, None, GEMMA, ignore),
            keeper.load(fake.address, None, GEMMA, None, ignore),
            keeper.unload(fake.address, None, GEMMA),
        ):
            with pytest.raises(NotPermitted) as caught:
                await asked
            assert caught.value.message == "This LM Studio is too old to be told that."


async def test_its_errors_keep_their_words(keeper: LmStudioKeeper) -> None:
    """A model that does not fit, and a token that it wants."""
    said = {"error": {"type": "model_load_failed", "message": "Failed to load model: OOM"}}
    with LmStudioFake(token="sk-lm-1") as fake:
        with pytest.raises(UserError) as locked:
            await keeper.unload(fake.address, None, OSS)
        fake.fault("/api/v1/models/load", instead(as_json(said, "500 Internal Server Error")))
        with pytest.raises(Exception, match="The engine answered: Failed to load model: OOM"):
            await keeper.load(fake.address, "sk-lm-1", GEMMA, None, ignore)
    assert locked.value.code == "needs_key"
