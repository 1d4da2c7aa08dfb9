"""Request records, and how far each gateway's journal is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_1"
down_revision: str | None = None


def upgrade() -> None:
    """Make the tables and indexes of the first version."""
    op.create_table(
        "records",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("tokens_in", sa.Integer),
        sa.Column("tokens_out", sa.Integer),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("streamed", sa.Integer, nullable=False),
    )
    op.create_index(
        "records_newest", "records", ["time", "id", "status", "error", "model", "key_id"]
    )
    op.create_table(
        "checkpoints",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
    )
