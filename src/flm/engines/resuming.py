"""Which bytes of a file are asked for, and whether those that come belong to those that came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flm.engines.part import Origin, Part, source_of
from flm.engines.web import CHANGED, LineDropped, refused
from flm.errors import UserError

if TYPE_CHECKING:
    import aiohttp

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")


def missing(part: Part, url: str, *, checked: bool) -> Mapping[str, str]:
    """The header fields that ask for what is missing of the file at `url`.

    The rest is asked for only where it can be known that it belongs to what has come: the server
    named the version, or (`checked`) a checksum will tell.
    """
    origin = part.origin
    if not part.size:
        return {}
    if origin.source == source_of(url) and origin.validator:
        return {"Range": f"bytes={part.size}-", "If-Range": origin.validator}
    if checked:
        return {"Range": f"bytes={part.size}-"}
    return {}


def match(part: Part, url: str, answer: aiohttp.ClientResponse) -> bool:
    """Make the part fit what the answer brings; False when nothing is missing.

    Raises `LineDropped` when it was asked for the rest of what is another file by now: the part
    is empty then, and the next try brings all of it.
    """
    source = source_of(url)
    start, total = _placed(answer)
    validator = _validator(answer)
    if answer.status == 416:
        if not part.size:
            raise refused(url, 416)
        if total == part.size:
            return False
    elif answer.status != 206:
        length = answer.content_length or 0
        part.restart(Origin(source=source, validator=validator, total=length))
        return True
    elif start == part.size and not _contradicts(part.origin, validator, total):
        validator = validator or part.origin.validator
        part.remember(Origin(source=source, validator=validator, total=total))
        return True
    part.restart(Origin(source=source))
    raise LineDropped(UserError(CHANGED))


def _contradicts(known: Origin, validator: str, total: int) -> bool:
    """Whether what was remembered and what is said now cannot be about one file."""
    other = known.validator and validator and known.validator != validator
    return bool(other or (known.total and total and known.total != total))


def _placed(answer: aiohttp.ClientResponse) -> tuple[int, int]:
    """First byte and total of `Content-Range`; -1 and 0 where it says nothing."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None:
        return -1, 0
    start, _, total = found.groups()
    return int(start) if start else -1, int(total) if total != "*" else 0


def _validator(answer: aiohttp.ClientResponse) -> str:
    """A strong ETag, else the date (RFC 9110, 13.1.5: If-Range takes no weak one)."""
    etag = answer.headers.get("ETag", "")
    if etag.startswith('"') and len(etag) < 1024:
        return etag
    return answer.headers.get("Last-Modified", "")[:64]
