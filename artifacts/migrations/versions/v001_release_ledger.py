"""Makes the ledger: moves that cannot be changed, and the state that follows from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = None

REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER release_moves_are_append_only BEFORE UPDATE OR DELETE ON release_moves
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER release_moves_are_not_emptied BEFORE TRUNCATE ON release_moves
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.create_table(
        "release_moves",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(41), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("from_state", sa.String(16)),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.CheckConstraint("sequence > 0", name="sequence_is_positive"),
    )
    op.create_index("release_moves_by_source", "release_moves", ["source", "sequence"])
    op.create_table(
        "release_states",
        sa.Column("source", sa.String(41), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "one_champion_per_source",
        "release_states",
        ["source"],
        unique=True,
        postgresql_where=sa.text("state = 'champion'"),
    )
    op.execute(REFUSE)


def downgrade() -> None:
    op.drop_table("release_states")
    op.drop_table("release_moves")
    op.execute("DROP FUNCTION refuse_change")
