"""A GGUF file as a model: what it can do and what context it gets."""

from __future__ import annotations

import re
from pathlib import Path

from flm.domain.engines import EMBEDDED
from flm.domain.models import Capability, Model, name_of_file
from flm.engines.embedded.header import Value, read_header
from flm.errors import N_, InvalidValue

DEFAULT_CONTEXT = 8192
"""What a model gets at most when the user set nothing: a long context costs memory at once."""

EMBEDDING_ARCHITECTURES = frozenset(
    {
        "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
        "jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5encoder",
    }
)  # fmt: skip
"""Architectures of llama.cpp that embed and cannot speak."""

QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
"""llama.cpp's `llama_ftype` in words, as `general.file_type` holds it."""

_POOLING_NONE, _POOLING_RANK = 0, 4
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def inspect(path: str) -> Model:
    """The file at `path` as a model of the embedded engine, named after the file.

    ``context_length`` is what it gets when nothing is set for it. Raises `InvalidValue` when it
    is no GGUF, or one that cannot be served by itself.
    """
    file = Path(path)
    header = read_header(file)
    _check_alone(path, header)
    architecture = str(header.get("general.architecture", ""))
    trained = _whole(header.get(f"{architecture}.context_length"))
    kind = _whole(header.get("general.file_type"))
    return Model(
        name=_PART.sub("", name_of_file(path) + ".gguf").removesuffix(".gguf"),
        engine=EMBEDDED,
        capabilities=capabilities(architecture, header),
        context_length=effective_context(trained, 0),
        trained_context=trained,
        size_bytes=sum(part.stat().st_size for part in parts(file)),
        quantization=QUANTIZATIONS.get(kind) if kind is not None else None,
        family=architecture or None,
    )


def capabilities(architecture: str, header: dict[str, Value]) -> tuple[Capability, ...]:
    """What llama.cpp can do with it: a pooling type means embeddings, a chat template chat.

    A model of neither kind gets llama.cpp's own template (ChatML) and chats as well as it can.
    Vision needs a second file (mmproj), which is not given here.
    """
    pooling = header.get(f"{architecture}.pooling_type")
    if pooling == _POOLING_RANK:
        return ()
    template = str(header.get("tokenizer.chat_template", ""))
    embeds = pooling not in (None, _POOLING_NONE) or architecture in EMBEDDING_ARCHITECTURES
    found: list[Capability] = []
    if architecture not in EMBEDDING_ARCHITECTURES and (template or not embeds):
        found.append("chat")
    if embeds:
        found.append("embeddings")
    if "chat" in found and "tools" in template:
        found.append("tools")
    if "chat" in found and ("<think>" in template or "enable_thinking" in template):
        found.append("reasoning")
    return tuple(found)


def effective_context(trained: int | None, wanted: int) -> int:
    """Tokens one request gets: what is wanted (0: at most 8,192), never more than trained."""
    asked = wanted or DEFAULT_CONTEXT
    return min(asked, trained) if trained else asked


def parts(file: Path) -> list[Path]:
    """The files of a model that was split (`-00001-of-00003.gguf`), or the one it is."""
    match = _PART.search(file.name)
    if match is None:
        return [file]
    stem, count = file.name[: match.start()], int(match[2])
    names = [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    return [part for part in (file.with_name(name) for name in names) if part.is_file()]


def _check_alone(path: str, header: dict[str, Value]) -> None:
    """Refuse what is a GGUF and no model: projectors, adapters, later parts of a split one."""
    kind = str(header.get("general.type", "model"))
    if kind in ("adapter", "mmproj") or header.get("general.architecture") == "clip":
        raise InvalidValue(
            N_("The file {path} belongs to a model and is none itself."),
            remedy=N_("Give the file of the model."),
            path=path,
        )
    if header.get("split.no", 0) != 0:
        raise InvalidValue(
            N_("The file {path} is a later part of a model that was split."),
            remedy=N_("Give the first part, which ends with -00001-of-….gguf."),
            path=path,
        )
    if "general.architecture" not in header:
        raise InvalidValue(
            N_("The file {path} does not say which architecture it is of."),
            remedy=N_("Give the file of the model."),
            path=path,
        )


def _whole(value: Value | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
