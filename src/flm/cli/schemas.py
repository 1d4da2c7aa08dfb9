"""JSON Schemas of the Structs that requests are judged by, so that no document says otherwise.

`msgspec.json.schema` knows no `Raw`; here it is any value. A field that may be null may also be
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

Schema = dict[str, Any]

_PLAIN: Mapping[type[inspect.Type], str] = {
    inspect.BoolType: "boolean",
    inspect.NoneType: "null",
}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
           "multiple_of": "multipleOf"}  # fmt: skip
_LENGTHS = {"min_length": ("minLength", "minItems", "minProperties"),
            "max_length": ("maxLength", "maxItems", "maxProperties")}  # fmt: skip


class Components:
    """Schemas by name; one Struct within another becomes a reference to it."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def add(self, struct: type[msgspec.Struct], name: str = "") -> str:
        """The name under which `struct` stands among `schemas`."""
        found = inspect.type_info(struct)
        assert isinstance(found, inspect.StructType)
        return self._struct(found, name)

    def _struct(self, struct: inspect.StructType, name: str = "") -> str:
        name = name or _name_of(struct.cls)
        if name in self.schemas:
            return name
        schema: Schema = {"type": "object"}
        self.schemas[name] = schema  # first, so that a Struct may hold itself
        about = (struct.cls.__doc__ or "").partition("\n")[0]
        if about:
            schema["description"] = about
        fields = {field.encode_name: field for field in struct.fields}
        schema["properties"] = {each: self.of(fields[each].type) for each in fields}
        required = [each for each, field in fields.items() if field.required]
        if required:
            schema["required"] = required
        return name

    def of(self, kind: inspect.Type) -> Schema:
        """The schema of a type."""
        if isinstance(kind, inspect.Metadata):
            return self.of(kind.type)
        if isinstance(kind, inspect.StructType):
            return {"$ref": f"#/components/schemas/{self._struct(kind)}"}
        if isinstance(kind, inspect.IntType | inspect.FloatType):
            number = "integer" if isinstance(kind, inspect.IntType) else "number"
            return {"type": number, **_bounds(kind)}
        if isinstance(kind, inspect.StrType):
            pattern = {} if kind.pattern is None else {"pattern": kind.pattern}
            return {"type": "string", **_lengths(kind, 0), **pattern}
        if isinstance(kind, inspect.ListType | inspect.VarTupleType):
            return {"type": "array", "items": self.of(kind.item_type), **_lengths(kind, 1)}
        if isinstance(kind, inspect.DictType):
            schema: Schema = {"type": "object", **_lengths(kind, 2)}
            values = self.of(kind.value_type)
            return {**schema, "additionalProperties": values} if values else schema
        if isinstance(kind, inspect.LiteralType):
            return {"enum": list(kind.values)}
        if isinstance(kind, inspect.UnionType):
            return {"anyOf": [self.of(each) for each in kind.types]}
        plain = _PLAIN.get(type(kind))
        return {} if plain is None else {"type": plain}


def _name_of(struct: type) -> str:
    """The Struct's name behind that of its package: several dialects have a `Message`."""
    room = struct.__module__.rpartition(".dialects.")[2].partition(".")[0]
    words = room.removeprefix("client_").removeprefix("openai_").split("_")
    return "".join(word.capitalize() for word in words) + struct.__name__.lstrip("_")


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Schema:
    found = {theirs: getattr(kind, ours) for ours, theirs in _BOUNDS.items()}
    return {name: value for name, value in found.items() if value is not None}


def _lengths(
    kind: inspect.StrType | inspect.ListType | inspect.VarTupleType | inspect.DictType, place: int
) -> Schema:
    found = {names[place]: getattr(kind, ours) for ours, names in _LENGTHS.items()}
    return {name: value for name, value in found.items() if value is not None}
