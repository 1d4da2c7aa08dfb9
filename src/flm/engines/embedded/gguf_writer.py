"""Writes tiny GGUF files of llama's architecture that the real llama.cpp server loads.

The demo model is made with it, and so are the models the tests speak to. The `gguf` package (and
numpy with it) is imported when a file is written and at no other time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

UNKNOWN, BEGIN, END = 0, 1, 2
"""The ids of `<unk>`, `<s>` and `</s>`."""

FIRST_BYTE = 3
"""The id of the token for byte 0; the other 255 follow."""

FIRST_PIECE = FIRST_BYTE + 256
"""The id of the first token that is text."""

PRINTABLE = tuple(chr(code) for code in range(0x20, 0x7F))
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama.cpp's llama_token_attr, GGUF's numbers


class Vocabulary(NamedTuple):
    """A SentencePiece vocabulary: three specials, 256 byte tokens, then pieces of text.

    Spaces are written as U+2581. Scores are all alike, but pieces of more than one character
    rank lowest so that a prompt is never read as a piece by accident of its score.
    """

    tokens: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]


def vocabulary(pieces: Sequence[str] = ()) -> Vocabulary:
    """Bytes, printable ASCII and `pieces`, which must be unique and longer than one character
    or outside ASCII. The id of ``pieces[0]`` is ``FIRST_PIECE + len(PRINTABLE)``."""
    texts = [*PRINTABLE, *pieces]
    if len(set(texts)) != len(texts):
        raise ValueError("a piece is there twice: llama.cpp needs each token's text once")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [text.replace(" ", "\u2581") for text in texts]
    scores = [0.0] * FIRST_BYTE + [-1.0] * (256 + len(PRINTABLE)) + [-1000.0] * len(pieces)
    types = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256 + [_NORMAL] * len(texts)
    return Vocabulary(tuple(tokens), tuple(scores), tuple(types))


class Shape(NamedTuple):
    """The sizes of a llama model; ``width`` is a multiple of 32 times ``heads``."""

    width: int
    blocks: int
    heads: int
    feed_forward: int
    context: int


def tensor_names(shape: Shape, tokens: int) -> dict[str, tuple[int, ...]]:
    """Every tensor llama.cpp asks for, with its shape as rows and columns."""
    width, inner = shape.width, shape.feed_forward
    names: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, width),
        "output_norm.weight": (width,),
        "output.weight": (tokens, width),
    }
    for block in range(shape.blocks):
        names |= {
            f"blk.{block}.attn_norm.weight": (width,),
            f"blk.{block}.attn_q.weight": (width, width),
            f"blk.{block}.attn_k.weight": (width, width),
            f"blk.{block}.attn_v.weight": (width, width),
            f"blk.{block}.attn_output.weight": (width, width),
            f"blk.{block}.ffn_norm.weight": (width,),
            f"blk.{block}.ffn_gate.weight": (inner, width),
            f"blk.{block}.ffn_up.weight": (inner, width),
            f"blk.{block}.ffn_down.weight": (width, inner),
        }
    return names


def write_llama(
    path: Path,
    *,
    name: str,
    words: Vocabulary,
    shape: Shape,
    tensors: Mapping[str, Matrix],
    template: str | None = TEMPLATE,
    embeddings: bool = False,
) -> None:
    """Write the model to `path`, whole or not at all.

    ``template`` None: no chat template, so no chat. ``embeddings``: the file says that the mean
    of its last states is an embedding (`llama.pooling_type`).
    """
    import gguf

    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    writer = gguf.GGUFWriter(str(part), "llama")
    writer.add_name(name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(len(words.tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if embeddings:
        writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(words.tokens))
    writer.add_token_scores(list(words.scores))
    writer.add_token_types(list(words.types))
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_space_prefix(False)
    if template is not None:
        writer.add_chat_template(template)
    for tensor, values in tensors.items():
        writer.add_tensor(tensor, values)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
