"""A `multipart/form-data` body on its way to an engine: written anew as it is read.

Part by part, in the client's order, the values byte for byte but for that of `model`. Only what
RFC 7578 knows of a part's head goes on (name, file name, type), so that judge and engine cannot
read it in two ways: no preamble, no epilogue, no second spelling of a name. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import unquote_to_bytes

import multipart

from flm.errors import Refusal

MAX_PARTS = 100
MAX_VALUE = 4096
"""Bytes of a value that is judged; others are as long as they like."""

MAX_NAME = 200

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046 section 5.1.1."""

_LONG_NAME = re.compile(r";\s*filename\*\s*=\s*[\w!#$&+^`{}~-]*'[^']*'([^;\s]+)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class FormRules(Protocol):
    """What a form is judged by. Both raise `Refusal`."""

    def part(self, name: str, is_file: bool) -> bool | None:
        """A part comes. None: it is not passed on; True: its value is judged."""
        ...

    def value(self, name: str, value: bytes) -> None:
        """The value of a part that is judged, at most `MAX_VALUE` bytes."""
        ...


def boundary_of(content_type: bytes) -> bytes:
    """What stands between the parts. Raises `Refusal` 400 `invalid_form` when there is none."""
    kind, options = multipart.parse_options_header(content_type.decode("latin-1"))
    boundary = str(options.get("boundary", ""))
    if kind != "multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
        raise broken("its content type names no boundary")
    return boundary.encode("latin-1")


def broken(why: str) -> Refusal:
    """The refusal of a form that cannot be read."""
    return Refusal(400, "invalid_form", f"The form cannot be read: {why}.")


class MultipartForm:
    """One form. ``model``: the client's value of that field, None until it was read.

    `feed` gives what goes on to the engine. Before `begin`, which is given the model's names,
    that is nothing: it is kept, ``kept`` bytes of it.
    """

    def __init__(self, boundary: bytes, rules: FormRules) -> None:
        self._parser = multipart.PushMultipartParser(
            boundary, max_segment_count=MAX_PARTS, header_charset="latin-1"
        )
        self._boundary = boundary
        self._rules = rules
        self._name = ""
        self._value: bytearray | None = None
        self._dropping = False
        self._theirs: str | None = None
        self._ours = ""
        self._before = bytearray()
        self._after = bytearray()
        self.model: str | None = None

    @property
    def kept(self) -> int:
        """Bytes that wait for `begin`."""
        return len(self._before) + len(self._after)

    def begin(self, theirs: str, ours: str) -> bytes:
        """What was kept, with the engine's name for the model, which the client calls `ours`."""
        self._theirs, self._ours = theirs, ours
        kept = bytes(self._before)
        if self.model is not None:
            kept += theirs.encode() + bytes(self._after)
        self._before.clear()
        self._after.clear()
        return kept

    def feed(self, data: bytes) -> bytes:
        """What of it goes on now, if anything does.

        Raises `Refusal` 400 `invalid_form` when it is no form, and what the rules refuse.
        """
        out: list[bytes] = []
        try:
            for event in self._parser.parse(data):
                if event is None:
                    self._complete(out)
                elif isinstance(event, bytes | bytearray):
                    self._more(bytes(event), out)
                else:
                    self._start(event, out)
        except multipart.MultipartError as error:
            raise broken(_why(error)) from error
        return self._pass(out)

    def end(self) -> bytes:
        """What goes on last. Raises `Refusal` 400 when the form is not complete."""
        try:
            self._parser.close()
        except multipart.MultipartError as error:
            raise broken("it ends in the middle") from error
        if self.model is None:
            name = "model"
            raise Refusal(
                400,
                "missing_required_parameter",
                f"Missing required parameter: '{name}'.",
                param=name,
            )
        return self._pass([b"--" + self._boundary + b"--\r\n"])

    def _pass(self, out: list[bytes]) -> bytes:
        data = b"".join(out)
        if self._theirs is not None:
            return data
        (self._before if self.model is None else self._after).extend(data)
        return b""

    def _start(self, segment: multipart.MultipartSegment, out: list[bytes]) -> None:
        name = segment.name or ""
        if not name or len(name) > MAX_NAME or _CONTROL.search(name):
            raise broken("a part has no name, or one that is none")
        filename = segment.filename if segment.filename is not None else _long_name(segment)
        judged = self._rules.part(name, filename is not None)
        self._name = name
        self._dropping = judged is None
        self._value = bytearray() if judged or name == "model" else None
        if not self._dropping:
            out.extend(self._head(name, filename, segment.headerlist))

    def _head(
        self, name: str, filename: str | None, headers: list[tuple[str, str]]
    ) -> Iterator[bytes]:
        quote = multipart.content_disposition_quote
        line = f"Content-Disposition: form-data; name={quote(name)}"
        if filename is not None:
            line += f"; filename={quote(_CONTROL.sub('_', filename))}"
        yield b"--%b\r\n%b\r\n" % (self._boundary, line.encode("latin-1"))
        for field, value in headers:
            if field == "Content-Type" and not _CONTROL.search(value):
                yield f"Content-Type: {value}\r\n".encode("latin-1")
        yield b"\r\n"

    def _more(self, data: bytes, out: list[bytes]) -> None:
        value = self._value
        if value is not None:
            value += data
            if len(value) > MAX_VALUE:
                raise Refusal(
                    400, "invalid_value", f"The value of '{self._name}' is too long.",
                    param=self._name,
                )  # fmt: skip
        elif not self._dropping:
            out.append(data)

    def _complete(self, out: list[bytes]) -> None:
        value = self._value
        self._value = None
        if self._dropping:
            return
        if value is None:
            out.append(b"\r\n")
        elif self._name != "model":
            self._rules.value(self._name, bytes(value))
            out.append(bytes(value) + b"\r\n")
        else:
            self._named(bytes(value), out)

    def _named(self, value: bytes, out: list[bytes]) -> None:
        """The model's name is there: it stands where the engine's will."""
        if self.model is not None:
            raise broken("it names two models")
        self._rules.value("model", value)
        try:
            name = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise broken("the model's name is not UTF-8") from error
        if self._theirs is None:
            self._pass(out)
            out.clear()
        elif name == self._ours:
            out.append(self._theirs.encode())
        else:
            raise Refusal(
                400,
                "model_named_late",
                "The form names its model behind the file, and another one than was taken for it."
                " Send the field 'model' in front of the file.",
                param="model",
            )
        self.model = name
        out.append(b"\r\n")


def _long_name(segment: multipart.MultipartSegment) -> str | None:
    """The file's name where it has only the spelling of RFC 5987, as latin-1 of its bytes."""
    for field, value in segment.headerlist:
        found = _LONG_NAME.search(value) if field == "Content-Disposition" else None
        if found is not None:
            return unquote_to_bytes(found[1]).decode("latin-1")
    return None


def _why(error: multipart.MultipartError) -> str:
    said = str(error)
    return said[:1].lower() + said[1:200]
