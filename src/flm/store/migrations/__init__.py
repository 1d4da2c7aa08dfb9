"""Alembic migrations, one package per database.

Expand-only between minor versions: add tables, columns with defaults and indexes; rename or drop
nothing, so that an older FLM beside this one goes on working. A migration names its tables
itself and imports nothing of `flm.store.tables`, which moves on. A new one gets the next number
as its `revision`, the last as its `down_revision`, and its place in `flm.store.migrate.HEADS`.
"""
