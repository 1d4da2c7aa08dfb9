"""Claude Code's requests, sent as it sends them: 2.1.197 and its documents on gateways (2026-11).

Its program itself is not free to be installed here, so its loop is played: the same path, header
fields, beta names and blocks; what the test adds is only the running of the tool.
"""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clients_engines import ActingEngine
from clients_house import House
from clients_stage import NOTE, TEXT

MESSAGES = "/v1/messages?beta=true"
COUNT = "/v1/messages/count_tokens?beta=true"
BETAS = (
    "claude-code-20250219,context-1m-2025-08-07,interleaved-thinking-2025-05-14,"
    "thinking-token-count-2026-05-13,context-management-2025-06-27,"
    "prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,effort-2025-11-24"
)
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": "claude-cli/2.1.197 (external, sdk-cli)",
    "x-claude-code-session-id": "af95aaeb-04fd-4037-b77a-8c0f25857d96",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
    "x-app": "cli",
    "anthropic-beta": BETAS,
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "accept-encoding": "gzip, deflate, br, zstd",
}
SYSTEM: list[dict[str, Any]] = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197; cc_entrypoint=cli;"},
    {"type": "text", "text": "You are an agent.", **EPHEMERAL},
    {"type": "text", "text": "You work in a shell.", **EPHEMERAL},
]


def _tool(name: str, *fields: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Uses {name}.",
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {field: {"type": "string"} for field in fields},
            "required": list(fields[:1]),
            "additionalProperties": False,
        },
    }


TOOLS = [
    _tool("Agent", "prompt", "description"),
    _tool("Bash", "command", "description"),
    *(_tool(name, "file_path", "content") for name in ("Read", "Write", "Edit")),
    *(_tool(f"mcp__server__tool_{number}", "text") for number in range(100)),
]
"""Its own, and those of a large MCP server."""

QUESTION: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "<system-reminder>\nToday is Saturday.\n</system-reminder>\n"},
            {"type": "text", "text": "Write a note", **EPHEMERAL},
        ],
    },
    {"role": "system", "content": "Available agent types for the Agent tool: none."},
]


class Said(NamedTuple):
    """An answer. ``events`` of a stream; ``body`` of any other."""

    status: int
    headers: dict[str, str]
    events: list[dict[str, Any]]
    body: Any

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The blocks of the message, put together from its events."""
        found: dict[int, dict[str, Any]] = {}
        for event in self.events:
            if event["type"] == "content_block_start":
                found[event["index"]] = {**event["content_block"], "pieces": ""}
            if event["type"] == "content_block_delta":
                delta = event["delta"]
                piece = delta.get("text") or delta.get("partial_json") or delta.get("thinking")
                found[event["index"]]["pieces"] += piece or ""
        return [_whole(block) for block in found.values()]


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    pieces = block.pop("pieces")
    if block["type"] == "tool_use":
        return {**block, "input": json.loads(pieces)}
    return {**block, block["type"]: pieces}


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The events; each names its type twice, and both are the same."""
    name = ""
    for line in lines:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        if field == "data":
            event = json.loads(value)
            assert event["type"] == name
            yield event


class ClaudeCode:
    """What asks as Claude Code does, by a Bearer token (`ANTHROPIC_AUTH_TOKEN`)."""

    def __init__(self, house: House) -> None:
        self._port = house.served.port
        self._key = house.key

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """One request."""
        fields = headers or {"authorization": f"Bearer {self._key}"}
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(method, path, data, {**HEADERS, **fields})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            if "event-stream" in told.get("content-type", ""):
                return Said(answer.status, told, list(_events(iter(answer))), None)
            read = answer.read()
            json_ = told.get("content-type") == "application/json" and read
            return Said(answer.status, told, [], json.loads(read) if json_ else read)

    def turn(self, messages: list[dict[str, Any]], **more: Any) -> Said:
        """A turn of its loop."""
        body = {
            "model": "claude-opus-4-8",
            "messages": messages,
            "system": SYSTEM,
            "tools": TOOLS,
            "metadata": {"user_id": '{"device_id":"89cc","account_uuid":"","session_id":"af95"}'},
            "max_tokens": 64_000,
            "thinking": {"type": "adaptive"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "high"},
            "stream": True,
            **more,
        }
        return self.send("POST", MESSAGES, {k: v for k, v in body.items() if v is not None})


@pytest.fixture
def claude(house: House) -> ClaudeCode:
    """Claude Code, pointed at the house."""
    return ClaudeCode(house)


@pytest.fixture(params=["openai", "ollama"])
def behind(request: pytest.FixtureRequest, house: House) -> Iterator[ActingEngine]:
    """The engine that `claude-*` leads to."""
    engine: ActingEngine = getattr(house, request.param)
    house.flm.tell("api", "update", "claude-*", "--model", house.name(engine, "coder"))
    yield engine
    house.flm.tell("api", "update", "claude-*", "--model", "stage/coder")


def test_a_whole_loop(claude: ClaudeCode, behind: ActingEngine, tmp_path: Path) -> None:
    """A tool is called in a stream, its result goes back, the answer comes; under a name that is
    Anthropic's.
    """
    first = claude.turn(QUESTION)
    text, call = first.blocks
    assert (first.status, text) == (200, {"type": "text", "text": "I write a note."})
    assert (call["type"], call["name"]) == ("tool_use", "Bash")
    assert first.events[0]["message"]["model"] == "claude-opus-4-8"
    assert first.events[-2]["delta"]["stop_reason"] == "tool_use"
    ran = subprocess.run(
        ["bash", "-c", call["input"]["command"]], cwd=tmp_path, capture_output=True, check=True
    )
    result = {
        "tool_use_id": call["id"],
        "type": "tool_result",
        "content": ran.stdout.decode(),
        "is_error": False,
        **EPHEMERAL,
    }
    last = claude.turn(
        [
            *QUESTION,
            {"role": "assistant", "content": [text, call]},
            {"role": "user", "content": [result]},
        ]
    )
    assert last.blocks == [{"type": "text", "text": f"Wrote the note, and heard: {NOTE}"}]
    assert last.events[-2]["delta"]["stop_reason"] == "end_turn"
    assert (tmp_path / "note.txt").read_text() == NOTE


def test_what_the_engine_reads(claude: ClaudeCode, behind: ActingEngine) -> None:
    """All tools, one system message without the line for Anthropic's books, and what was said
    later by the system among it.
    """
    answer = claude.turn(QUESTION)
    asked = behind.chats[-1]
    system, *others = asked["messages"]
    assert [tool["function"]["name"] for tool in asked["tools"]] == [each["name"] for each in TOOLS]
    assert system["role"] == "system"
    for said in ("You are an agent.", "You work in a shell.", "Available agent types"):
        assert said in str(system["content"])
    assert "billing" not in str(system["content"])
    assert [message["role"] for message in others] == ["user"]
    assert answer.headers["x-flm-dropped"].split(", ")[:2] == [
        "cache_control",
        "context_management",
    ]


def test_thoughts_of_before_go_back_with_the_history(
    claude: ClaudeCode, behind: ActingEngine
) -> None:
    """Those that are sealed mean nothing to any engine, and stop nothing."""
    thinking = [
        {"type": "thinking", "thinking": "I think 七.", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "c2VhbGVk"},
        {"type": "text", "text": "So it is."},
    ]
    history = [*QUESTION, {"role": "assistant", "content": thinking}, *QUESTION[:1]]
    answer = claude.turn(history)
    assert answer.status == 200
    assert "So it is." in str(behind.chats[-1]["messages"])
    assert "c2VhbGVk" not in str(behind.chats[-1]["messages"])


def test_its_small_model_answers_at_once(claude: ClaudeCode) -> None:
    """Titles and summaries: no stream, no tools, no thoughts."""
    answer = claude.turn(
        [{"role": "user", "content": "A title, please."}],
        model="claude-haiku-4-5-20251001",
        tools=[],
        thinking=None,
        stream=None,
        max_tokens=512,
        temperature=0,
        output_config=None,
        context_management=None,
    )
    assert answer.status == 200
    assert answer.body["model"] == "claude-haiku-4-5-20251001"
    assert answer.body["content"] == [{"type": "text", "text": TEXT}]


def test_tokens_are_counted(claude: ClaudeCode) -> None:
    """For `/context`: of all there is, and of the tools alone."""
    common = {"model": "claude-opus-4-8", "messages": QUESTION[:1]}
    bare = claude.send("POST", COUNT, common)
    full = claude.send("POST", COUNT, {**common, "system": SYSTEM, "tools": TOOLS})
    assert (bare.status, full.status) == (200, 200)
    assert 0 < bare.body["input_tokens"] < full.body["input_tokens"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "{key}"},
        {"x-api-key": "{key}", "authorization": "Bearer {key}"},
        {"x-api-key": "sk-ant-api03-of-its-own", "authorization": "Bearer {key}"},
    ],
    ids=["alone", "twice", "beside"],
)
def test_the_other_ways_to_show_a_key(
    claude: ClaudeCode, house: House, headers: dict[str, str]
) -> None:
    """`ANTHROPIC_API_KEY` alone; the same key in both fields; Anthropic's own key beside FLM's."""
    fields = {name: value.format(key=house.key) for name, value in headers.items()}
    body = {"model": "claude-opus-4-8", "messages": QUESTION[:1], "max_tokens": 64}
    assert claude.send("POST", MESSAGES, body, **fields).status == 200


def test_two_different_keys_of_flm_are_none(claude: ClaudeCode, house: House) -> None:
    """Nobody can say whose request it is."""
    _, other = house.flm.key("another")
    keys = {"x-api-key": other, "authorization": f"Bearer {house.key}"}
    body = {"model": "claude-opus-4-8", "messages": QUESTION[:1], "max_tokens": 64}
    answer = claude.send("POST", MESSAGES, body, **keys)
    assert (answer.status, answer.body["type"]) == (401, "error")
    assert answer.body["error"]["type"] == "authentication_error"


def test_it_finds_the_gateway_and_its_models(claude: ClaudeCode) -> None:
    """The look at the base URL, and the list in Anthropic's shape."""
    assert claude.send("HEAD", "/").status == 200
    listed = claude.send("GET", "/v1/models?limit=1000").body
    assert listed["has_more"] is False
    assert {"type", "id", "display_name", "created_at"} <= set(listed["data"][0])


def test_a_prompt_too_long_is_told_in_the_words_it_knows(claude: ClaudeCode) -> None:
    """It reads both numbers out of them, and shortens the conversation; it does not retry."""
    long = {"role": "user", "content": "word " * 4000}
    answer = claude.turn([long], model="words", thinking=None)
    message = answer.body["error"]["message"]
    counts, _, _ = message.partition(" maximum")
    assert answer.status == 400
    assert counts.startswith("prompt is too long: ")
    assert counts.endswith(" tokens > 2048")
    assert answer.headers["x-should-retry"] == "false"


def test_a_model_that_is_not_there(claude: ClaudeCode) -> None:
    """404, and no stream is begun."""
    answer = claude.turn(QUESTION, model="nobody")
    assert (answer.status, answer.body["error"]["type"]) == (404, "not_found_error")
