"""The demo model: random weights of a fixed seed, written in well under a second.

Its words are gibberish and the path they take is real: the file is a llama like any other to
llama.cpp, with a chat template, a context of 2,048 tokens and embeddings.
"""

from __future__ import annotations

from pathlib import Path

from flm.engines.embedded.gguf_writer import (
    END,
    FIRST_PIECE,
    PRINTABLE,
    Shape,
    tensor_names,
    vocabulary,
    write_llama,
)

DEMO_NAME = "flm-demo"
SHAPE = Shape(width=64, blocks=2, heads=4, feed_forward=128, context=2048)

_SEED = 20_261_121
_SPREAD = 0.12
_ANCHOR = 1.0
_NEVER, _SELDOM, _LETTER, _SPACE = -100.0, 1.3, 1.0, 1.6


def write_demo(path: Path) -> None:
    """Write the demo model to `path` (about 520 kB, the same bytes every time).

    One channel of the embeddings is the same for every token and is changed by no block. The
    output matrix uses it to keep specials and bare bytes from being said and to favour lower-case
    letters, so that the gibberish can be read out, and to let `</s>` come now and then, so that it
    ends (after some 50 tokens with llama.cpp's default sampling).
    """
    import numpy as np

    random = np.random.default_rng(_SEED)
    words = vocabulary()
    tensors = {}
    for name, size in tensor_names(SHAPE, len(words.tokens)).items():
        if name.endswith("norm.weight"):
            tensors[name] = np.ones(size, dtype=np.float32)
        else:
            tensors[name] = (random.standard_normal(size) * _SPREAD).astype(np.float32)
        if name.endswith(("attn_output.weight", "ffn_down.weight")):
            tensors[name][0, :] = 0.0
    tensors["token_embd.weight"][:, 0] = _ANCHOR
    output = tensors["output.weight"]
    output[:FIRST_PIECE, 1:] = 0.0
    output[:, 0] = 0.0
    output[:FIRST_PIECE, 0] = _NEVER
    output[END, 0] = _SELDOM
    for position, character in enumerate(PRINTABLE, start=FIRST_PIECE):
        if character.islower():
            output[position, 0] = _LETTER
    output[FIRST_PIECE, 0] = _SPACE
    write_llama(path, name=DEMO_NAME, words=words, shape=SHAPE, tensors=tensors, embeddings=True)
