"""Makes the fence: a region that may not write any more is refused by its own database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "003"
down_revision = "002"

ASK = """
CREATE FUNCTION ask_fence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fence region_fence%ROWTYPE;
BEGIN
    SELECT * INTO fence FROM region_fence;
    IF FOUND AND fence.valid_until <= clock_timestamp() THEN
        RAISE EXCEPTION 'the region % takes no writes: its lease of epoch % ran out', fence.region, fence.epoch
            USING ERRCODE = 'CF001';
    END IF;
    IF FOUND AND NEW.epoch < fence.epoch THEN
        RAISE EXCEPTION 'epoch % is over; the present one is %', NEW.epoch, fence.epoch USING ERRCODE = 'CF001';
    END IF;
    RETURN NULL;
END $$;
-- asked at the commit: whoever was paused in the middle of a transaction finds out too
CREATE CONSTRAINT TRIGGER release_moves_ask_the_fence AFTER INSERT ON release_moves
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ask_fence();
"""


def upgrade() -> None:
    op.create_table(
        "region_fence",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("id = 1", name="there_is_one_fence"),
    )
    op.execute(ASK)


def downgrade() -> None:
    op.execute("DROP TRIGGER release_moves_ask_the_fence ON release_moves")
    op.execute("DROP FUNCTION ask_fence")
    op.drop_table("region_fence")
