"""Records tell cached and thought tokens, guesses, the publication, and what is rarely there;
what was used is summed by hour and by day.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_3"
down_revision: str | None = "telemetry_2"

_NEWEST = ("time", "status", "error", "model", "key_id", "engine", "api")
_GROUPS = ("time", "model", "engine", "api", "key_id")
_SUMS = (
    *("requests", "errors", "tokens_in", "tokens_out", "cached_tokens", "reasoning_tokens"),
    *("estimated", "untold", "latency_us", "first_tokens", "first_token_us"),
    *("generated", "generated_us"),
)


def upgrade() -> None:
    """Five columns, of which records from before have none, and the sums of those records."""
    op.add_column("records", sa.Column("cached_tokens", sa.Integer))
    op.add_column("records", sa.Column("reasoning_tokens", sa.Integer))
    for name, kind, default in (
        ("estimated", sa.Integer, "0"),
        ("api", sa.Text, ""),
        ("details", sa.Text, ""),
    ):
        op.add_column("records", sa.Column(name, kind, nullable=False, server_default=default))
    op.drop_index("records_newest", "records")
    op.create_index("records_newest", "records", list(_NEWEST))
    for table, seconds in (("usage_hours", 3_600), ("usage_days", 86_400)):
        op.create_table(
            table,
            sa.Column("time", sa.Integer, primary_key=True, autoincrement=False),
            *(sa.Column(name, sa.Text, primary_key=True) for name in _GROUPS[1:]),
            *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
            sqlite_with_rowid=False,
        )
        op.execute(sa.text(_SUMMED.format(table=table)).bindparams(seconds=seconds))


# What `flm.domain.usage: tallied` does, for the records there are already.
_SUMMED = """
INSERT INTO {table}
SELECT
    CAST(time AS INTEGER) / :seconds * :seconds AS began,
    CASE WHEN engine = '' THEN '' ELSE model END AS named, engine, api, key_id,
    count(*), sum(failed), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0),
    coalesce(sum(cached_tokens), 0), coalesce(sum(reasoning_tokens), 0), sum(estimated),
    sum(engine != '' AND tokens_in IS NULL AND tokens_out IS NULL
        AND (status < 400 OR status = 499)),
    sum(CASE WHEN failed THEN 0 ELSE CAST(latency_ms * 1000 AS INTEGER) END),
    count(first_token_ms), coalesce(sum(CAST(first_token_ms * 1000 AS INTEGER)), 0),
    sum(CASE WHEN made > 0 AND made_ms > 0 THEN made ELSE 0 END),
    sum(CASE WHEN made > 0 AND made_ms > 0 THEN CAST(made_ms * 1000 AS INTEGER) ELSE 0 END)
FROM (
    SELECT *, status >= 400 OR error != '' AS failed,
        coalesce(tokens_out, 0) - (first_token_ms IS NOT NULL) AS made,
        latency_ms - coalesce(first_token_ms, 0) AS made_ms
    FROM records
)
GROUP BY began, named, engine, api, key_id
"""
