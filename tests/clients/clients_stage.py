"""What the acting engines say: one play, given by engines of two APIs.

Each model is a role. What it says follows from what it was asked, so that a client's whole loop
(question, call, result, answer) needs no script beside the client's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

ROLES: Mapping[str, tuple[str, ...]] = {
    "actor": ("completion", "tools", "vision"),
    "thinker": ("completion", "tools", "thinking"),
    "refuser": ("completion",),
    "breaker": ("completion",),
    "coder": ("completion", "tools"),
}
"""The models, each with what Ollama's list says it can."""

PIECES = ("Grüße", " aus", " 東京", " 😀.")
TEXT = "".join(PIECES)
THOUGHTS = ("Six times", " 七。")
THOUGHT = "".join(THOUGHTS)
REFUSAL = "I will not say that."
THING = '{"name": "灯台", "height": 31}'
"""What it says when a JSON schema is asked for."""

PROMPT_TOKENS, COMPLETION_TOKENS = 9, 4


class Call(NamedTuple):
    """A tool call. ``arguments`` as an object."""

    id: str
    name: str
    arguments: dict[str, Any]

    @property
    def text(self) -> str:
        """The arguments as OpenAI spells them."""
        return json.dumps(self.arguments, ensure_ascii=False)


class Said(NamedTuple):
    """An answer, in the pieces it comes in."""

    pieces: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    refusal: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


class Asked(NamedTuple):
    """A request, as far as a role looks at it; the same for every API.

    ``tools``: the names on offer; ``results``: what came back from the tools of the last turn;
    ``question``: the last text of a person; ``images``: how many pictures the last turn holds;
    ``schema``: whether JSON of a schema is asked for.
    """

    model: str
    question: str
    tools: tuple[str, ...]
    results: tuple[str, ...]
    images: int
    schema: bool


def answer(asked: Asked) -> Said:
    """What that role says."""
    if asked.model == "refuser":
        return Said(refusal=REFUSAL)
    if asked.model == "thinker" and not asked.tools:
        return Said(("42", "."), THOUGHTS)
    if asked.model == "coder" or MEANS.keys() & set(asked.tools):
        return _coded(asked)
    if asked.results:
        return Said(("It is ", f"{' and '.join(asked.results)}."))
    if asked.tools:
        thoughts = THOUGHTS if asked.model == "thinker" else ()
        return Said(thoughts=thoughts, calls=_calls(asked))
    if asked.schema:
        return Said((THING[:10], THING[10:]))
    if asked.images:
        return Said((f"{asked.images} picture.",))
    return Said(PIECES)


def _calls(asked: Asked) -> tuple[Call, ...]:
    """The first tool on offer, once for every city that the question names; where that is `json`,
    by which the Vercel AI SDK asks for an object, the object.
    """
    if asked.tools == ("json",):
        return (Call("call_1", "json", json.loads(THING)),)
    cities = [city for city in ("東京", "Köln") if city in asked.question] or ["東京"]
    return tuple(
        Call(f"call_{number}", asked.tools[0], {"city": city})
        for number, city in enumerate(cities, start=1)
    )


NOTE = "日本語の note 😀"
WRITE = f"printf '%s' '{NOTE}' > note.txt && cat note.txt"
"""The shell line by which the coder leaves a file."""

MEANS: Mapping[str, Mapping[str, Any]] = {
    "functions__exec": {
        "input": f"const ran = await tools.exec_command({{cmd: {json.dumps(WRITE)}}});\n"
        "text(ran.output);"
    },
    "apply_patch": {"input": f"*** Begin Patch\n*** Add File: note.txt\n+{NOTE}\n*** End Patch\n"},
    "exec_command": {"cmd": WRITE},
    "Bash": {"command": WRITE, "description": "Write a note"},
}
"""The tools by which coding agents change files, the one a coder likes best first, with what such
a call looks like: Codex's code mode, its patches, its shell; Claude Code's shell."""


def _coded(asked: Asked) -> Said:
    """Leaves a note by the means that are on offer, then says what it heard of it."""
    if asked.results:
        return Said(("Wrote the note, and heard: ", asked.results[-1].rpartition("\n")[2]))
    name = next((name for name in MEANS if name in asked.tools), None)
    if name is None:
        return Said(PIECES)
    thoughts = THOUGHTS if asked.model == "thinker" else ()
    return Said(("I write a note.",), thoughts, (Call("call_1", name, dict(MEANS[name])),))
