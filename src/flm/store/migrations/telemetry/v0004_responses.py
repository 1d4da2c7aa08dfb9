"""Responses with stored state, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_4"
down_revision: str | None = "telemetry_3"


def upgrade() -> None:
    """What clients may ask for again."""
    op.create_table(
        "responses",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("responses_expiry", "responses", ["expires_at", "size"])
    op.create_index("responses_keys", "responses", ["key_id"])
