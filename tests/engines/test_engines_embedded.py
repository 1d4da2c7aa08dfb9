"""The embedded engine with the real llama.cpp: children, words, ends, failures."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

pytest.importorskip("xllamacpp", reason="pip install '.[embedded]'")
pytest.importorskip("gguf", reason="pip install '.[embedded]'")

import aiohttp

from flm.domain.engines import EngineId, Healthy
from flm.domain.models import GgufFile
from flm.engines.embedded.adapter import EmbeddedAdapter
from flm.engines.embedded.device import ON_CPU, ON_CPU_MAC, Device, sentence
from flm.engines.embedded.process import EmbeddedLauncher, EmbeddedServer
from flm.engines.prober import HttpProber
from flm.errors import EngineError, InvalidValue
from flm.ports.clock import SystemClock
from flm.ports.engines import Wishes
from flm.ports.processes import Child, current
from support.gguf_models import pieces_of, write_demo, write_scripted

pytestmark = pytest.mark.needs_embedded

SENTENCE = (
    "The quick fox says: the quick 日本語のテスト、こんにちは世界。日本語 and 😀 too 🎉 the end."
)
CHAT = "/v1/chat/completions"


class Watched:
    """The platform's processes, with a note of every child that is started."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.spawned = asyncio.Event()

    async def spawn(self, *arguments: Any, **more: Any) -> Child:
        """Start it and note it."""
        child = await current().spawn(*arguments, **more)
        self.children.append(child)
        self.spawned.set()
        return child


class Bench:
    """A launcher whose children end with the test, and a way to ask them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = Watched()
        numbers = itertools.count(1)
        self.launcher = EmbeddedLauncher(
            self.processes, HttpProber(SystemClock()), folder, lambda: f"token{next(numbers)}"
        )
        self.servers: list[EmbeddedServer] = []

    async def start(self, path: Path, name: str = "m", **wanted: int) -> EmbeddedServer:
        """A child that serves the file."""
        server = await self.launcher.launch(
            GgufFile(name=name, path=str(path), added_at=0.0),
            context_length=wanted.get("context_length", 0),
            parallel=wanted.get("parallel", 1),
            threads=1,
            seconds=60,
        )
        assert isinstance(server, EmbeddedServer)
        self.servers.append(server)
        return server

    async def scripted(self, text: str = SENTENCE) -> EmbeddedServer:
        """A child that says `text`."""
        return await self.start(write_scripted(self.folder / "scripted.gguf", text))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Children started in the test are gone after it."""
    made = Bench(tmp_path)
    yield made
    for server in made.servers:
        await server.stop()


async def post(
    server: EmbeddedServer, path: str, key: str | None = None, **body: object
) -> tuple[int, bytes]:
    """Status and body of a POST with the child's key, or another."""
    headers = {"Authorization": f"Bearer {server.key if key is None else key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.address.url + path, json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def said(server: EmbeddedServer, **more: object) -> tuple[str, str, int]:
    """Words, finish reason and how many tokens were said to a chat."""
    status, body = await post(
        server, CHAT, messages=[{"role": "user", "content": "こんにちは 😀"}], **more
    )
    assert status == 200, body
    answer = msgspec.json.decode(body)
    (choice,) = answer["choices"]
    return (
        choice["message"]["content"],
        choice["finish_reason"],
        answer["usage"]["completion_tokens"],
    )


async def test_a_scripted_model_says_its_sentence_and_stops(bench: Bench) -> None:
    """Word for word, Japanese and emoji included, then `</s>`: finish reason stop."""
    server = await bench.scripted()
    assert await said(server) == (SENTENCE, "stop", len(pieces_of(SENTENCE)) + 1)


async def test_no_temperature_changes_a_scripted_sentence(bench: Bench) -> None:
    """The logits lie too far apart."""
    server = await bench.scripted()
    assert (await said(server, temperature=2.0, seed=7))[0] == SENTENCE


async def test_max_tokens_cuts_the_sentence_with_length(bench: Bench) -> None:
    """Three tokens of it, and the reason says why it ends."""
    server = await bench.scripted()
    assert await said(server, max_tokens=3) == ("The quick fox ", "length", 3)


async def test_a_stop_string_ends_the_sentence_before_it(bench: Bench) -> None:
    """The stop string itself is not said."""
    server = await bench.scripted()
    assert (await said(server, stop=["says"]))[:2] == ("The quick fox ", "stop")


async def test_a_stream_says_the_same_sentence_whole_characters_only(bench: Bench) -> None:
    """An emoji made of byte tokens waits until it is whole; the end is [DONE]."""
    server = await bench.scripted()
    _, body = await post(
        server, CHAT, messages=[{"role": "user", "content": "hi"}], stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    chunks = [msgspec.json.decode(event) for event in events[:-1]]
    deltas = [
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    ]
    assert "".join(deltas) == SENTENCE
    assert "😀" in deltas
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]][-1] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == len(pieces_of(SENTENCE)) + 1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a b a b", ["a ", "b ", "a b"]),
        ("x 😀 y 😀", ["x ", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", " y ", "😀"]),
        ("日本日本日本", ["日本", "日本日本"]),
        ("ok", ["ok"]),
    ],
)
async def test_repeated_words_become_unique_tokens(
    bench: Bench, text: str, pieces: list[str]
) -> None:
    """Each token has one successor, so a word that comes twice grows."""
    assert pieces_of(text) == pieces
    assert (await said(await bench.scripted(text)))[0] == text


async def test_a_chat_model_without_pooling_refuses_embeddings_clearly(bench: Bench) -> None:
    """501 with llama.cpp's own words; nothing made up."""
    status, body = await post(await bench.scripted(), "/v1/embeddings", input="a")
    assert status == 501
    assert b"does not support embeddings" in body


async def test_the_demo_model_chats_in_letters_and_embeds(bench: Bench) -> None:
    """Gibberish of printable ASCII, and 64 numbers for each input."""
    write_demo(bench.folder / "demo.gguf")
    server = await bench.start(bench.folder / "demo.gguf", "flm-demo", parallel=2)
    words, _, _ = await said(server, max_tokens=40, seed=1)
    assert re.fullmatch(r"[ -~]*", words)
    status, body = await post(server, "/v1/embeddings", input=["a", "b"])
    vectors = [item["embedding"] for item in msgspec.json.decode(body)["data"]]
    assert status == 200
    assert [len(vector) for vector in vectors] == [64, 64]
    assert vectors[0] != vectors[1]


async def test_chat_is_exact_with_embeddings_on_and_long_inputs_embed(bench: Bench) -> None:
    """Both at once take nothing from each other; an input longer than llama.cpp's usual batch of
    512 tokens is embedded."""
    path = write_scripted(bench.folder / "both.gguf", SENTENCE, embeddings=True)
    server = await bench.start(path)
    assert (await said(server))[0] == SENTENCE
    status, _ = await post(server, "/v1/embeddings", input="a" * 1500)
    assert status == 200


async def test_the_context_is_the_one_of_each_request(bench: Bench) -> None:
    """Three slots of 512 tokens: a prompt of 700 is refused with both numbers."""
    path = write_scripted(bench.folder / "s.gguf", "ok")
    server = await bench.start(path, context_length=512, parallel=3)
    assert server.context_length == 512
    status, body = await post(server, CHAT, messages=[{"role": "user", "content": "a" * 700}])
    assert status == 400
    error = msgspec.json.decode(body)["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 512)


async def test_the_engine_reports_the_files_name_and_not_its_path(bench: Bench) -> None:
    """The model's id is the name it was given."""
    path = write_scripted(bench.folder / "s.gguf", "ok")
    server = await bench.start(path, "my-model")
    sighting = await EmbeddedAdapter().describe(
        HttpProber(SystemClock()), EngineId("embedded"), server.address, server.key, Wishes()
    )
    assert isinstance(sighting.engine.state, Healthy)
    assert [(model.name, model.context_length) for model in sighting.models] == [("my-model", 2048)]


async def test_nobody_without_the_key_is_served_and_the_key_is_not_to_be_seen(bench: Bench) -> None:
    """Other users of this machine reach the port, and read command lines."""
    server = await bench.scripted("ok")
    status, _ = await post(server, CHAT, key="wrong", messages=[])
    process = psutil.Process(server.pid)
    assert status == 401
    assert server.key not in " ".join([*process.cmdline(), *process.environ().values()])


async def test_stop_ends_the_child_and_may_be_said_twice(bench: Bench) -> None:
    """`exited` tells its end."""
    server = await bench.scripted("ok")
    await server.stop()
    await server.stop()
    assert await server.exited() == -9
    assert not psutil.pid_exists(server.pid)


async def test_a_child_that_is_killed_is_seen_to_end(bench: Bench) -> None:
    """Whoever waits for it learns it."""
    server = await bench.scripted("ok")
    waiting = asyncio.ensure_future(server.exited())
    psutil.Process(server.pid).kill()
    assert await asyncio.wait_for(waiting, 10) == -9


async def test_a_damaged_model_fails_with_the_engines_own_words(bench: Bench) -> None:
    """503 `model_load_failed`, the cause first, no folder of this machine in it, no retry."""
    path = bench.folder / "cut.gguf"
    write_demo(path)
    path.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(EngineError) as caught:
        await bench.start(path, "cut")
    error = caught.value
    assert (error.status, error.code, error.should_retry) == (503, "model_load_failed", False)
    assert "model is corrupted or incomplete" in error.message
    assert str(bench.folder) not in error.message
    assert sorted(bench.folder.iterdir()) == [path, bench.folder / "embedded-cut.log"]


async def test_the_words_of_an_earlier_failure_are_not_told_again(bench: Bench) -> None:
    """The log is kept; only what this start added is quoted."""
    path = bench.folder / "cut.gguf"
    write_demo(path)
    path.write_bytes(path.read_bytes()[:300_000])
    (bench.folder / "embedded-cut.log").write_text("0.00.1 E an old story\n")
    with pytest.raises(EngineError) as caught:
        await bench.start(path, "cut")
    assert "old story" not in caught.value.message


async def test_what_is_no_model_is_refused_before_a_child_is_started(bench: Bench) -> None:
    """`InvalidValue`, and no log."""
    (bench.folder / "x.gguf").write_bytes(b"no")
    with pytest.raises(InvalidValue):
        await bench.start(bench.folder / "x.gguf")
    assert [path.name for path in bench.folder.iterdir()] == ["x.gguf"]


async def test_a_model_that_takes_too_long_is_given_up(bench: Bench) -> None:
    """The child is ended, and the message says how long was waited."""
    path = write_scripted(bench.folder / "s.gguf", "ok")
    file = GgufFile(name="slow", path=str(path), added_at=0.0)
    with pytest.raises(EngineError, match="not ready within 0 s"):
        await bench.launcher.launch(file, context_length=0, parallel=1, threads=1, seconds=0)
    (child,) = bench.processes.children
    assert await asyncio.wait_for(child.wait(), 10) == -9


async def test_a_cancelled_start_leaves_no_child(bench: Bench) -> None:
    """Cancellation is passed on."""
    path = write_scripted(bench.folder / "s.gguf", "ok")
    starting = asyncio.ensure_future(bench.start(path))
    await bench.processes.spawned.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    (child,) = bench.processes.children
    assert await asyncio.wait_for(child.wait(), 10) == -9


def test_a_child_never_survives_its_parent(tmp_path: Path) -> None:
    """The parent is killed with -9; the child's end of stdin, and the kernel, tell it."""
    write_scripted(tmp_path / "s.gguf", "ok")
    code = (
        "import asyncio, os, pathlib, signal, sys\n"
        "from flm.engines.embedded.process import EmbeddedLauncher\n"
        "from flm.engines.prober import HttpProber\n"
        "from flm.ports.clock import SystemClock\n"
        "from flm.ports.processes import current\n"
        "from flm.domain.models import GgufFile\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "async def main():\n"
        "    prober = HttpProber(SystemClock())\n"
        "    launcher = EmbeddedLauncher(current(), prober, folder, lambda: 't')\n"
        "    file = GgufFile(name='s', path=str(folder / 's.gguf'), added_at=0.0)\n"
        "    server = await launcher.launch(\n"
        "        file, context_length=0, parallel=1, threads=1, seconds=60)\n"
        "    print(server.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    pid = int(parent.stdout)
    assert parent.returncode == -9
    _, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 5)
    assert alive == []


def test_a_child_whose_parent_is_another_leaves_at_once(tmp_path: Path) -> None:
    """The pid on its command line is no longer its parent's: nobody would end it."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "flm.engines.embedded.child", str(os.getpid() + 1)],
        stdin=subprocess.PIPE, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1


def test_the_device_is_told_with_the_way_to_another_wheel(tmp_path: Path) -> None:
    """Asked of a child: this process never holds the library."""
    code = (
        "import sys, pathlib\n"
        "from flm.engines.embedded.process import EmbeddedLauncher\n"
        "launcher = EmbeddedLauncher(None, None, pathlib.Path('.'), str)\n"
        "print(launcher.device()); print(launcher.missing()); print('xllamacpp' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    device, missing, loaded = told.stdout.decode().splitlines()
    assert device.startswith("runs on the ")
    assert (missing, loaded) == ("None", "False")


@pytest.mark.parametrize(
    ("devices", "platform", "expected"),
    [
        ([Device("CPU", "x")], "linux", ON_CPU),
        ([Device("CPU", "x")], "darwin", ON_CPU_MAC),
        ([Device("GPU", "RTX 4090"), Device("CPU", "x")], "linux", "runs on the GPU (RTX 4090)"),
        ([Device("IGPU", "Radeon 780M")], "win32", "runs on the GPU (Radeon 780M)"),
    ],
)
def test_the_sentence_on_the_device(devices: list[Device], platform: str, expected: str) -> None:
    """CPU or GPU by what llama.cpp lists."""
    assert sentence(devices, platform) == expected
