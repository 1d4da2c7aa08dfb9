"""Engine definitions, and the cache of what was seen of engines, in config.db."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from flm.domain.engines import Address, Engine, EngineDefinition, EngineId, KnownEngine
from flm.domain.models import Model
from flm.errors import N_, Conflict
from flm.store.database import Database, insert_new, insert_or_ignore
from flm.store.tables import engines, engines_cache, known_engines, settings

OVERTAKEN_SECONDS = 10.0
"""What is newer by more than a look can take was written by a clock that was put back."""


class _Seen(msgspec.Struct, frozen=True):
    """One row of the cache."""

    engine: Engine
    models: list[Model]


class SqlEngines:
    """`EngineRepository` over config.db."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(_Seen)

    def definitions(self) -> list[EngineDefinition]:
        """The engines the user added, by id."""
        with self._database.read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> list[EngineDefinition]:
        """The same inside a transaction that is open already."""
        return [_definition(row) for row in connection.execute(select(engines).order_by("id"))]

    def add(self, definition: EngineDefinition) -> None:
        """Raises `Conflict` when the id is taken."""
        at = definition.address
        row = (
            definition.id, definition.kind, at.host, at.port, at.prefix, definition.sealed_key,
            int(at.tls), at.ca_file,
        )  # fmt: skip
        taken = Conflict(
            N_("There is an engine called {name} already."),
            remedy=N_("Choose another name, or remove it with `flm engines remove {name}`."),
            name=definition.id,
        )
        with self._database.write() as connection:
            insert_new(connection, engines, row, taken)

    def remove(self, engine: EngineId) -> bool:
        """Forget a definition and what was seen of that engine; False when there is none."""
        if not any(known.id == engine for known in self.definitions()):
            return False
        with self._database.write() as connection:
            removed = connection.execute(delete(engines).where(engines.c.id == engine)).rowcount
            connection.execute(delete(engines_cache).where(engines_cache.c.engine == engine))
        return removed == 1

    def set_key(self, engine: EngineId, sealed: bytes | None) -> bool:
        """The engine's own key, of an added one or one that was found; False for neither."""
        with self._database.write() as connection:
            changed = 0
            for table in (engines, known_engines):
                changed += connection.execute(
                    update(table).where(table.c.id == engine).values(sealed_key=sealed)
                ).rowcount
            return changed > 0

    def known(self) -> list[KnownEngine]:
        """The engines that were ever found, by id."""
        with self._database.read() as connection:
            return self.read_known(connection)

    def read_known(self, connection: Connection) -> list[KnownEngine]:
        """The same inside a transaction that is open already."""
        rows = connection.execute(select(known_engines).order_by("id"))
        return [
            KnownEngine(
                id=EngineId(row.id),
                kind=row.kind,
                address=Address(row.host, row.port, row.prefix),
                sealed_key=row.sealed_key,
            )
            for row in rows
        ]

    def note(self, found: Sequence[KnownEngine]) -> None:
        """Remember ids; a known id keeps its place and key. No change of the user's."""
        rows = [
            (each.id, each.kind, at.host, at.port, at.prefix, each.sealed_key)
            for each in found
            for at in (each.address,)
        ]
        with self._database.write(bump=False) as connection:
            if rows:
                insert_or_ignore(connection, known_engines, rows)

    def rename(
        self,
        old: EngineId,
        new: EngineId,
        moved: Mapping[str, str],
        sealed: bytes | None = None,
    ) -> bool:
        """Give an engine another id; False when `old` is unknown.

        ``moved``: the settings that go with it, old name → new name; ``sealed``: its key, sealed
        anew for its new id. Raises `Conflict` when `new` is taken.
        """
        with self._database.write() as connection:
            for table in (engines, known_engines):
                if connection.execute(select(table.c.id).where(table.c.id == new)).first():
                    raise Conflict(
                        N_("There is an engine called {name} already."),
                        remedy=N_("Choose another name."),
                        name=new,
                    )
            changed = 0
            for table in (engines, known_engines):
                changed += connection.execute(
                    update(table).where(table.c.id == old).values(id=new, sealed_key=sealed)
                ).rowcount
            if not changed:
                return False
            connection.execute(delete(engines_cache).where(engines_cache.c.engine == old))
            for before, after in moved.items():
                connection.execute(delete(settings).where(settings.c.name == after))
                connection.execute(
                    update(settings).where(settings.c.name == before).values(name=after)
                )
            return True

    def cached(self) -> list[tuple[Engine, list[Model]]]:
        """What was last seen, in the order in which it was given.

        A row that this version cannot read (another one wrote it) is as if it were not there.
        """
        with self._database.read() as connection:
            texts = connection.execute(
                select(engines_cache.c.seen).order_by(engines_cache.c.position)
            ).scalars()
            return [(seen.engine, seen.models) for text in texts for seen in self._decoded(text)]

    def _decoded(self, text: str) -> list[_Seen]:
        try:
            return [self._decoder.decode(text)]
        except msgspec.DecodeError:
            return []

    def cache(self, seen: Sequence[tuple[Engine, Sequence[Model]]]) -> None:
        """Replace the cache, unless what is there was seen by a look that ended later: two
        processes may look at once. Does not bump the revision: it is no change of the user's."""
        rows = [
            {
                "position": position,
                "engine": engine.id,
                "seen": self._encoder.encode(_Seen(engine, list(models))).decode(),
            }
            for position, (engine, models) in enumerate(seen)
        ]
        seen_at = max((engine.checked_at for engine, _ in seen), default=0.0)
        with self._database.write(bump=False) as connection:
            texts = connection.execute(select(engines_cache.c.seen)).scalars()
            there = [each.engine.checked_at for text in texts for each in self._decoded(text)]
            if seen and 0 < max(there, default=0.0) - seen_at < OVERTAKEN_SECONDS:
                return
            connection.execute(delete(engines_cache))
            if rows:
                connection.execute(insert(engines_cache), rows)


def _definition(row: Row[Any]) -> EngineDefinition:
    return EngineDefinition(
        id=EngineId(row.id),
        kind=row.kind,
        address=Address(row.host, row.port, row.prefix, bool(row.tls), row.ca_file),
        sealed_key=row.sealed_key,
    )
