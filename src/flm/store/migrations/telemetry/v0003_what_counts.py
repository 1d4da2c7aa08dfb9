"""Records tell cached and thought tokens, guesses, the publication, and what is rarely there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_3"
down_revision: str | None = "telemetry_2"


def upgrade() -> None:
    """Five columns; records from before them have none of it."""
    op.add_column("records", sa.Column("cached_tokens", sa.Integer))
    op.add_column("records", sa.Column("reasoning_tokens", sa.Integer))
    for name, kind, default in (
        ("estimated", sa.Integer, "0"),
        ("api", sa.Text, ""),
        ("details", sa.Text, ""),
    ):
        op.add_column("records", sa.Column(name, kind, nullable=False, server_default=default))
