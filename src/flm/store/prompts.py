"""Prompt templates by name and version, in config.db."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from flm.domain.publications import PromptTemplate
from flm.store.database import Database
from flm.store.tables import prompt_templates

_values = msgspec.json.Decoder(dict[str, str]).decode


class SqlPrompts:
    """`PromptRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[PromptTemplate]:
        """Every version, by name, the oldest first."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[PromptTemplate]:
        """The same inside a transaction that is open already."""
        table = prompt_templates.c
        rows = connection.execute(
            select(prompt_templates).where(table.removed == 0).order_by(table.name, table.version)
        )
        return [_template(row) for row in rows]

    def add(self, template: PromptTemplate) -> PromptTemplate:
        """Keep it as the next version of its name; numbers of removed ones are not used again."""
        newest = select(func.max(prompt_templates.c.version)).where(
            prompt_templates.c.name == template.name
        )
        with self._database.write() as connection:
            before = connection.execute(newest).scalar_one()
            kept = msgspec.structs.replace(template, version=(before or 0) + 1)
            connection.execute(insert(prompt_templates).values(**_row(kept)))
            return kept

    def remove(self, name: str, version: int | None = None) -> int:
        """One version, or all of them; how many went. Their texts are gone, not their numbers."""
        table = prompt_templates.c
        which = [table.name == name, table.removed == 0]
        if version is not None:
            which.append(table.version == version)
        empty = {"system": "", "user": "", "variables": "{}", "removed": 1}
        with self._database.write() as connection:
            done = connection.execute(update(prompt_templates).where(*which).values(**empty))
            return done.rowcount


def _row(template: PromptTemplate) -> dict[str, Any]:
    return {
        "name": template.name,
        "version": template.version,
        "system": template.system,
        "user": template.user,
        "variables": msgspec.json.encode(template.variables).decode(),
        "created_at": template.created_at,
        "removed": 0,
    }


def _template(row: Row[Any]) -> PromptTemplate:
    return PromptTemplate(
        name=row.name,
        version=row.version,
        system=row.system,
        user=row.user,
        variables=_values(row.variables),
        created_at=row.created_at,
    )
