"""Makes the table of what a running canary remembers, so that another controller goes on from there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002"
down_revision = "001"


def upgrade() -> None:
    op.create_table(
        "release_canaries",
        sa.Column("source", sa.String(41), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("policy", sa.String(40), nullable=False),
        sa.Column("champion", sa.String(64), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("release_canaries")
