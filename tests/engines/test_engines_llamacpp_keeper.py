"""The keeper of llama.cpp's router: pulling, removing, loading, unloading."""

from __future__ import annotations

import asyncio

import pytest

from flm.engines.llamacpp.keeper import LlamaCppKeeper
from flm.errors import NotFound, NotPermitted, UserError
from flm.ports.engines import Step
from support.fakes.base import EVERYWHERE, Fault, empty, instead
from support.fakes.llamacpp import (
    GEMMA,
    LOCKED,
    NO_ROUTE,
    QWEN,
    LlamaCppFake,
    RouterFake,
    end_event,
    progress_event,
    status_event,
)

NEW = "ggml-org/new-GGUF:Q8_0"


class Pauses:
    """Waits no time; counts, and does what the test says after so many."""

    def __init__(self) -> None:
        self.count = 0
        self.then: dict[int, tuple[RouterFake, str, str | None]] = {}

    async def __call__(self, seconds: float) -> None:
        """One pause."""
        self.count += 1
        assert self.count < 50
        if self.count in self.then:
            router, name, value = self.then[self.count]
            router.after_events = {}
            router.status.pop(name, None)
            if value is not None:
                router.status[name] = value
        await asyncio.sleep(0)


def never(step: Step) -> None:
    """Progress that nobody looks at."""


async def test_a_model_is_fetched_with_its_progress() -> None:
    """The bytes of all its files, told by events; a name with a slash and a colon."""
    steps: list[Step] = []
    with RouterFake() as router:
        router.events = [
            progress_event("other", 1, 2),
            progress_event(NEW, 1000, 4000),
            progress_event(NEW, 3000, 4000, wrapped=True),
            end_event(NEW, "download_finished"),
        ]
        router.after_events = {NEW: "unloaded"}
        await LlamaCppKeeper(pause=Pauses()).pull(router.address, "k", NEW, steps.append)
    assert [(step.done, step.total) for step in steps] == [(0, 0), (1000, 4000), (3000, 4000)]
    assert {step.values["model"] for step in steps} == {NEW}
    assert {seen.headers["authorization"] for seen in router.seen} == {"Bearer k"}


async def test_a_download_that_fails_is_said() -> None:
    """It is gone from the list."""
    with RouterFake() as router:
        router.events = [end_event(NEW, "download_failed")]
        router.after_events = {NEW: None}
        with pytest.raises(UserError) as caught:
            await LlamaCppKeeper(pause=Pauses()).pull(router.address, None, NEW, never)
    assert caught.value.code == "pull_failed"


async def test_a_model_nobody_publishes_is_not_found() -> None:
    """The router looks before it fetches."""
    with RouterFake() as router, pytest.raises(NotFound) as caught:
        await LlamaCppKeeper(pause=Pauses()).pull(router.address, None, "no/such", never)
    assert "model validation failed" in caught.value.message


async def test_a_model_that_is_there_is_not_fetched_again() -> None:
    """That is no error."""
    with RouterFake() as router:
        await LlamaCppKeeper(pause=Pauses()).pull(router.address, None, GEMMA, never)
    assert router.asked("/models/sse") == []


async def test_a_repository_without_a_quantisation_is_known_by_what_comes() -> None:
    """Asked for `user/model`, the router lists `user/model:Q4_K_M`."""
    pauses = Pauses()
    with RouterFake() as router:
        router.existing = {"user/model"}
        router.events = [end_event("user/model", "download_finished")]
        router.after_events = {"user/model": None, "user/model:Q4_K_M": "unloaded"}
        await LlamaCppKeeper(pause=pauses).pull(router.address, None, "user/model", never)
    assert pauses.count == 0


async def test_a_router_without_events_is_asked_again_and_again() -> None:
    """Older ones have only their list."""
    pauses = Pauses()
    with RouterFake() as router:
        router.fault("/models/sse", instead(NO_ROUTE))
        pauses.then = {3: (router, NEW, "unloaded")}
        await LlamaCppKeeper(pause=pauses).pull(router.address, None, NEW, never)
    assert pauses.count == 3


async def test_an_end_that_was_missed_is_found_among_events_of_others() -> None:
    """The list is looked at now and then, however much goes on."""
    pauses = Pauses()
    with RouterFake() as router:
        router.events = [progress_event("other", at, 500) for at in range(500)]
        router.after_events = {NEW: "unloaded"}
        await LlamaCppKeeper(pause=pauses).pull(router.address, None, NEW, never)
    assert pauses.count == 0
    assert len(router.asked("/models/sse")) == 1


async def test_a_name_with_signs_of_a_query_arrives_whole() -> None:
    """Ampersands and pluses are part of it."""
    with RouterFake() as router:
        router.status["a&b+c%20d"] = "unloaded"
        router.removable.add("a&b+c%20d")
        await LlamaCppKeeper(pause=Pauses()).remove(router.address, None, "a&b+c%20d")
    assert "a&b+c%20d" not in router.status


async def test_a_fetched_model_is_waited_for_until_it_is_listed() -> None:
    """`downloaded` is said of those that failed, too: the next list tells."""
    pauses = Pauses()
    with RouterFake() as router:
        router.events = [end_event(NEW, "download_finished")]
        router.after_events = {NEW: "downloaded"}
        pauses.then = {2: (router, NEW, None)}
        with pytest.raises(UserError) as caught:
            await LlamaCppKeeper(pause=pauses).pull(router.address, None, NEW, never)
    assert caught.value.code == "pull_failed"


async def test_whoever_leaves_ends_the_download() -> None:
    """The router would go on fetching for nobody."""
    with RouterFake() as router:
        router.fault("/models/sse", instead(NO_ROUTE))
        waiting = asyncio.Event()

        async def pause(seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        task = asyncio.get_running_loop().create_task(
            LlamaCppKeeper(pause=pause).pull(router.address, None, NEW, never)
        )
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [seen.body for seen in router.asked("/models/unload")] == [
            b'{"model":"ggml-org/new-GGUF:Q8_0"}'
        ]


async def test_a_model_is_loaded_and_waited_for() -> None:
    """Until the router says that it is."""
    steps: list[Step] = []
    with RouterFake() as router:
        router.events = [
            status_event(QWEN, "loading"),
            status_event(QWEN, "loading", progress={"stages": ["text_model"], "value": 0.5}),
            status_event(QWEN, "loaded"),
        ]
        router.after_events = {QWEN: "loaded"}
        await LlamaCppKeeper(pause=Pauses()).load(router.address, None, QWEN, 8192, steps.append)
        (asked,) = router.asked("/models/load")
    assert asked.body == b'{"model":"/srv/models/qwen3.gguf"}'
    assert steps == [Step("Loading {model}", {"model": QWEN})]


async def test_a_model_that_is_loaded_is_loaded() -> None:
    """400 `model is already running` is no error to who wants it running."""
    with RouterFake() as router:
        await LlamaCppKeeper(pause=Pauses()).load(router.address, None, GEMMA, None, never)


async def test_a_model_that_cannot_be_loaded_is_said() -> None:
    """Its child ended."""
    with RouterFake() as router:
        router.events = [status_event(QWEN, "unloaded", exit_code=1)]
        router.after_events = {QWEN: "unloaded"}
        router.failed = {QWEN}
        with pytest.raises(UserError) as caught:
            await LlamaCppKeeper(pause=Pauses()).load(router.address, None, QWEN, None, never)
    assert caught.value.code == "model_load_failed"


async def test_a_model_is_unloaded() -> None:
    """And one that is not loaded is unloaded already."""
    with RouterFake() as router:
        await LlamaCppKeeper(pause=Pauses()).unload(router.address, None, GEMMA)
        await LlamaCppKeeper(pause=Pauses()).unload(router.address, None, QWEN)
    assert router.status == {GEMMA: "unloaded", QWEN: "unloaded"}


async def test_a_fetched_model_is_removed() -> None:
    """Its name is written as a query must be."""
    with RouterFake() as router:
        await LlamaCppKeeper(pause=Pauses()).remove(router.address, None, GEMMA)
    assert list(router.status) == [QWEN]
    assert router.seen[-1].path == "/models?model=ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"


async def test_a_model_of_a_folder_is_not_removed() -> None:
    """Its file is the user's."""
    with RouterFake() as router, pytest.raises(NotPermitted):
        await LlamaCppKeeper(pause=Pauses()).remove(router.address, None, QWEN)


@pytest.mark.parametrize("verb", ["remove", "unload"])
async def test_a_model_it_does_not_have_is_not_found(verb: str) -> None:
    """However the router words that: 400, 404 or 500."""
    keeper = LlamaCppKeeper(pause=Pauses())
    with RouterFake() as router, pytest.raises(NotFound):
        await getattr(keeper, verb)(router.address, None, "gone")


async def test_a_model_it_does_not_have_is_not_loaded() -> None:
    """404 `model is not found`."""
    with RouterFake() as router, pytest.raises(NotFound):
        await LlamaCppKeeper(pause=Pauses()).load(router.address, None, "gone", None, never)


async def test_a_server_with_one_model_keeps_it() -> None:
    """It says so, and how to have a router."""
    keeper = LlamaCppKeeper(pause=Pauses())
    with LlamaCppFake() as fake:
        for attempt in (
            keeper.pull(fake.address, None, NEW, never),
            keeper.remove(fake.address, None, "tiny-llama"),
            keeper.load(fake.address, None, "tiny-llama", None, never),
            keeper.unload(fake.address, None, "tiny-llama"),
        ):
            with pytest.raises(NotPermitted) as caught:
                await attempt
            assert "without a model" in caught.value.remedy
    assert [seen.method for seen in fake.seen] == ["GET"] * 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [(instead(LOCKED), "needs_key"), (empty, "engine_unreachable")],
    ids=["locked", "gone"],
)
async def test_an_engine_that_does_not_obey_is_said(fault: Fault, code: str) -> None:
    """With the reason."""
    with RouterFake() as router:
        router.fault(EVERYWHERE, fault)
        with pytest.raises(UserError) as caught:
            await LlamaCppKeeper(pause=Pauses()).load(router.address, None, GEMMA, None, never)
    assert caught.value.code == code


async def test_a_router_that_cannot_fetch_says_so() -> None:
    """Older ones have no such route."""
    with RouterFake() as router:
        router.routes["POST", "/models"] = NO_ROUTE
        with pytest.raises(NotPermitted) as caught:
            await LlamaCppKeeper(pause=Pauses()).pull(router.address, None, NEW, never)
    assert "too old" in caught.value.message
