"""From where requests without a key count as a key's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "security_3"
down_revision: str | None = "security_2"


def upgrade() -> None:
    """One column; '' of keys that must be named, as all before it."""
    op.add_column("api_keys", sa.Column("keyless_from", sa.Text, nullable=False, server_default=""))
