"""API keys, and the policy with its defaults."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "security_1"
down_revision: str | None = None

DEFAULT_POLICY = '{"version":1,"unknown_parameters":"forward","allow_chat_template_kwargs":false}'


def upgrade() -> None:
    """Make the tables of the first version and the default policy."""
    number = op.create_table(
        "revision",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.bulk_insert(number, [{"id": 1, "number": 0}])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("rotated_to", sa.Text),
    )
    policy = op.create_table(
        "policy",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.bulk_insert(policy, [{"id": 1, "document": DEFAULT_POLICY}])
