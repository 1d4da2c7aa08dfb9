"""Engines anywhere and of every kind; the ids of engines that were found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "config_2"
down_revision: str | None = "config_1"


def upgrade() -> None:
    """HTTPS, remembered ids; what was seen before is looked at anew."""
    op.add_column("engines", sa.Column("tls", sa.Integer, nullable=False, server_default="0"))
    op.add_column("engines", sa.Column("ca_file", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE engines SET kind = 'custom' WHERE kind = 'openai'")
    op.create_table(
        "known_engines",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary),
    )
    op.drop_table("engine_cache")
    op.create_table(
        "engines_cache",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
    )
