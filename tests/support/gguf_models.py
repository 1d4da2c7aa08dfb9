"""Models the tests speak to: one that says one fixed sentence, and the demo model.

A scripted model is a llama of one block whose attention and feed-forward are zero, so that the
last token alone decides the next one: the embeddings tell the tokens of the sentence apart, and
the output matrix maps each to its successor, the last to `</s>`, and every other token (so any
prompt) to the first. The logits lie so far apart that no temperature matters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flm.engines.embedded.demo import write_demo
from flm.engines.embedded.gguf_writer import (
    END,
    PRINTABLE,
    TEMPLATE,
    Shape,
    tensor_names,
    vocabulary,
    write_llama,
)

__all__ = ["pieces_of", "write_demo", "write_scripted"]

_CERTAIN = 20.0
_PARTS = re.compile(
    r"[!-~]+ ?| |[\n\t]|[\U00010000-\U0010ffff]|[^\x00-\x7f\U00010000-\U0010ffff]{1,2}"
)


def pieces_of(sentence: str) -> list[str]:
    """`sentence` cut into pieces that are unique, so that each has one successor.

    A piece that was there before, or is a single ASCII character (which could end a prompt),
    grows by what follows until it is new; a rest that never gets new joins the last piece. An
    emoji whose bytes were not said before becomes byte tokens (`<0xF0>`), so that a stream has
    to wait in the middle of a character, as real models make it.
    """
    pieces: list[str] = []
    current = ""
    for part in _PARTS.findall(sentence):
        current += part
        spelled = _spelled(current)
        if len(spelled) > 1 and not set(spelled) & set(pieces):
            pieces += spelled
            current = ""
        elif current not in pieces and current not in PRINTABLE:
            pieces.append(current)
            current = ""
    if current and pieces and not _is_byte(pieces[-1]):
        pieces[-1] += current
    elif current:
        pieces.append(current)
    return pieces


def write_scripted(
    path: Path,
    sentence: str,
    *,
    pieces: Sequence[str] | None = None,
    name: str = "scripted",
    template: str | None = TEMPLATE,
    context: int = 2048,
    embeddings: bool = False,
) -> Path:
    """Write a model that says `sentence` to every chat and ends with `</s>`; its path.

    ``pieces``: the tokens it says, `<0xNN>` for a byte, each at most once; else `pieces_of`.
    ``embeddings``: it declares mean pooling as well, so that it can embed.
    """
    said = list(pieces) if pieces is not None else pieces_of(sentence)
    texts = [piece for piece in said if not _is_byte(piece) and piece not in PRINTABLE]
    words = vocabulary(texts)
    script = [words.tokens.index(piece.replace(" ", "\u2581")) for piece in said]
    assert len(set(script)) == len(script), "each token of a script has one successor"
    width = 64 * math.ceil((len(script) + 1) / 64)
    shape = Shape(width=width, blocks=1, heads=2, feed_forward=32, context=context)
    tensors = {
        tensor: (np.ones if tensor.endswith("norm.weight") else np.zeros)(size, dtype=np.float32)
        for tensor, size in tensor_names(shape, len(words.tokens)).items()
    }
    place, output = tensors["token_embd.weight"], tensors["output.weight"]
    place[:, 0] = 1.0
    for position, token in enumerate(script, start=1):
        place[token, 0], place[token, position] = 0.0, 1.0
    for position, token in enumerate([*script, END]):
        output[token, position] = _CERTAIN
    write_llama(
        path,
        name=name,
        words=words,
        shape=shape,
        tensors=tensors,
        template=template,
        embeddings=embeddings,
    )
    return path


def _spelled(text: str) -> list[str]:
    """The byte tokens of `text` when it is one emoji, else nothing."""
    if len(text) == 1 and ord(text) > 0xFFFF:
        return [f"<0x{byte:02X}>" for byte in text.encode()]
    return []


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x")
