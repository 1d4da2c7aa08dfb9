"""Publications, prompt templates by version, model profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "config_3"
down_revision: str | None = "config_2"


def upgrade() -> None:
    """Three new tables; the lists and maps in them are JSON."""
    op.create_table(
        "publications",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("allow_remote", sa.Integer, nullable=False),
        sa.Column("keys", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("variables", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "prompt_templates",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("variables", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("removed", sa.Integer, nullable=False),
    )
    op.create_table(
        "model_profiles",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("defaults", sa.Text, nullable=False),
        sa.Column("caps", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
    )
