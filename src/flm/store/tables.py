"""The tables, by database. Migrations make them; a test compares the two.

Times are UTC seconds since the epoch. Each of config.db and security.db has one `revision` row
that every change of the user's moves.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

config = MetaData()
security = MetaData()
telemetry = MetaData()


def _revision(metadata: MetaData) -> Table:
    return Table(
        "revision",
        metadata,
        Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        Column("number", Integer, nullable=False),
    )


config_revision = _revision(config)
settings = Table(
    "settings",
    config,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
engines = Table(
    "engines",
    config,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("sealed_key", LargeBinary),
    Column("tls", Integer, nullable=False, server_default="0"),
    Column("ca_file", Text, nullable=False, server_default=""),
)
known_engines = Table(
    "known_engines",
    config,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("sealed_key", LargeBinary),
)
engines_cache = Table(
    "engines_cache",
    config,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("engine", Text, nullable=False),
    Column("seen", Text, nullable=False),
)
gguf_files = Table(
    "gguf_files",
    config,
    Column("name", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("added_at", Double, nullable=False),
    Column("demo", Integer, nullable=False),
)
# The lists and maps are JSON: they are read and written whole.
publications = Table(
    "publications",
    config,
    Column("name", Text, primary_key=True),
    Column("models", Text, nullable=False),
    Column("allow_remote", Integer, nullable=False),
    Column("keys", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("variables", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)
# A version that was removed keeps its number, so that no number ever means two texts.
prompt_templates = Table(
    "prompt_templates",
    config,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("variables", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("removed", Integer, nullable=False),
)
model_profiles = Table(
    "model_profiles",
    config,
    Column("name", Text, primary_key=True),
    Column("defaults", Text, nullable=False),
    Column("caps", Text, nullable=False),
    Column("options", Text, nullable=False),
)

security_revision = _revision(security)
api_keys = Table(
    "api_keys",
    security,
    Column("id", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("last4", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("rotated_to", Text),
    Column("instance", Text, nullable=False, server_default=""),
    Column("keyless_from", Text, nullable=False, server_default=""),
)
policy = Table(
    "policy",
    security,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
)

records = Table(
    "records",
    telemetry,
    Column("id", Text, primary_key=True),
    Column("time", Double, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("first_token_ms", Double),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("client", Text, nullable=False),
    Column("streamed", Integer, nullable=False),
    Column("cached_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("estimated", Integer, nullable=False, server_default="0"),
    Column("api", Text, nullable=False, server_default=""),
    Column("details", Text, nullable=False, server_default=""),
)
# One index answers every filter, newest first: what does not match is passed over inside it, a
# million records in 0.1 s (0.5 s from a cold disk), and no row is read for it. An index for each
# filter would find rare records sooner, but not those that few pairs of filters leave, and would
# cost 5 µs more for each record that is stored.
Index(
    "records_newest",
    records.c.time,
    records.c.status,
    records.c.error,
    records.c.model,
    records.c.key_id,
    records.c.engine,
    records.c.api,
)


def _usage(name: str) -> Table:
    """The sums of records (`flm.domain.usage: Tally`) by when they began and who was involved."""
    groups = ("model", "engine", "api", "key_id")
    sums = (
        *("requests", "errors", "tokens_in", "tokens_out", "cached_tokens", "reasoning_tokens"),
        *("estimated", "untold", "latency_us", "first_tokens", "first_token_us"),
        *("generated", "generated_us"),
    )
    return Table(
        name,
        telemetry,
        Column("time", Integer, primary_key=True, autoincrement=False),
        *(Column(each, Text, primary_key=True) for each in groups),
        *(Column(each, BigInteger, nullable=False) for each in sums),
        sqlite_with_rowid=False,
    )


usage_hours = _usage("usage_hours")
usage_days = _usage("usage_days")

checkpoints = Table(
    "checkpoints",
    telemetry,
    Column("instance", Text, primary_key=True),
    Column("segment", Integer, nullable=False),
    Column("position", Integer, nullable=False),
)

# What an engine was from `time` on; a row a minute at most while nothing changes.
engine_health = Table(
    "engine_health",
    telemetry,
    Column("engine", Text, primary_key=True),
    Column("time", Double, primary_key=True),
    Column("state", Text, nullable=False),
    Column("latency_ms", Double),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)

# What clients may ask for again: sealed, until it expires.
responses = Table(
    "responses",
    telemetry,
    Column("id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
# Pruning and counting read this alone, never the bodies.
Index("responses_expiry", responses.c.expires_at, responses.c.size)
Index("responses_keys", responses.c.key_id)
