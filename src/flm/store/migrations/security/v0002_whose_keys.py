"""Under which pepper a key was made, so that a pepper that was changed is noticed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "security_2"
down_revision: str | None = "security_1"


def upgrade() -> None:
    """The name of the FLM that made a key; '' of those that were made before."""
    op.add_column("api_keys", sa.Column("instance", sa.Text, nullable=False, server_default=""))
