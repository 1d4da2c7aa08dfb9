"""Reading Zstandard, from the standard library where it has that (Python 3.14)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

if sys.version_info >= (3, 14):
    from compression import zstd as library
else:
    from backports import zstd as library

DAMAGED: tuple[type[Exception], ...] = (library.ZstdError, EOFError)
"""What reading raises for something that is no Zstandard, or ends too early."""

_WINDOW = 27
"""The largest window (2^27 bytes, what `zstd --ultra -22` makes) that is held in memory."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked bytes of the file at `path`."""
    options: dict[int, int] = {library.DecompressionParameter.window_log_max: _WINDOW}
    with library.ZstdFile(path, options=options) as plain:
        yield cast("IO[bytes]", plain)
