"""Reads what a GGUF file says about itself, without loading it and without numpy.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Versions 2 and 3, little
endian. Only the keys are read; the file is mapped, so that skipping a vocabulary of 150,000
tokens touches no more than its pages.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from flm.errors import N_, InvalidValue

Value = int | float | bool | str
MAGIC = b"GGUF"

_STRING, _ARRAY = 8, 9
_FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_KEYS_AT_MOST = 1 << 16
_NESTED_AT_MOST = 4


class Damaged(Exception):
    """The bytes are no GGUF, or not all of one."""


def read_header(path: Path) -> dict[str, Value]:
    """The scalar keys of the file at `path`; arrays are left out.

    Raises `InvalidValue` when there is no such file, it cannot be read, or it is no GGUF.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _Reader(view).header()
    except OSError as error:
        raise InvalidValue(
            N_("The file {path} cannot be read: {why}."),
            remedy=N_("Give the path of a GGUF file that you may read."),
            path=str(path),
            why=error.strerror or type(error).__name__,
        ) from error
    except (Damaged, ValueError) as error:  # ValueError: mmap refuses an empty file
        raise InvalidValue(
            N_("The file {path} is no GGUF model, or not a whole one."),
            remedy=N_("Download it again, or give another file that ends with .gguf."),
            path=str(path),
        ) from error


class _Reader:
    """A position in the mapped file. Everything it takes lies inside it, or it is damaged."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self._size = len(view)
        self._at = 0

    def header(self) -> dict[str, Value]:
        if self._take(4) != MAGIC:
            raise Damaged("no magic")
        version = self._number("I")
        if version not in (2, 3):
            raise Damaged(f"version {version}")
        self._number("Q")  # how many tensors
        keys = self._number("Q")
        if keys > _KEYS_AT_MOST:
            raise Damaged(f"{keys} keys")
        found: dict[str, Value] = {}
        for _ in range(keys):
            key = self._string()
            value = self._value(self._number("I"), 0)
            if value is not None:
                found[key] = value
        return found

    def _value(self, kind: int, depth: int) -> Value | None:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._skip_array(depth)
            return None
        return self._scalar(kind)

    def _skip_array(self, depth: int) -> None:
        kind, count = self._number("I"), self._number("Q")
        if kind in _FORMATS:
            self._skip(struct.calcsize("<" + _FORMATS[kind]) * count)
            return
        if count > self._size or depth > _NESTED_AT_MOST:
            raise Damaged("an array larger than the file")
        skip: Callable[[], None] = (
            self._skip_string if kind == _STRING else lambda: self._skip_array(depth + 1)
        )
        if kind not in (_STRING, _ARRAY):
            raise Damaged(f"an array of kind {kind}")
        for _ in range(count):
            skip()

    def _scalar(self, kind: int) -> Value:
        if kind not in _FORMATS:
            raise Damaged(f"a value of kind {kind}")
        form = "<" + _FORMATS[kind]
        (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
        assert isinstance(value, int | float | bool)
        return value

    def _number(self, form: str) -> int:
        return int.from_bytes(self._take(struct.calcsize("<" + form)), "little")

    def _string(self) -> str:
        return self._take(self._number("Q")).decode("utf-8", "replace")

    def _skip_string(self) -> None:
        self._skip(self._number("Q"))

    def _skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise Damaged("it ends too early")
        self._at += count

    def _take(self, count: int) -> bytes:
        start = self._at
        self._skip(count)
        return self._view[start : self._at]
