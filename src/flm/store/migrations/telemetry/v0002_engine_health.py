"""The history of the engines' states."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_2"
down_revision: str | None = "telemetry_1"


def upgrade() -> None:
    """One row for each change, and one a minute in between."""
    op.create_table(
        "engine_health",
        sa.Column("engine", sa.Text, primary_key=True),
        sa.Column("time", sa.Double, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("latency_ms", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
