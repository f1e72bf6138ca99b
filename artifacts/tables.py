"""Defines our tables in the database `caravan` of a region; artifacts.migrations alone makes and changes them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    text,
)

metadata = MetaData()

#: One row per move of a release, never changed or deleted (a trigger refuses it), chained by hash.
moves = Table(
    "release_moves",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("source", String(41), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("version", Integer),
    Column("from_state", String(16)),
    Column("to_state", String(16), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", String(2000), nullable=False),
    # JSON, not JSONB: the text comes back as it was written, and so does its hash
    Column("evidence", JSON, nullable=False),
    Column("region", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    CheckConstraint("sequence > 0", name="sequence_is_positive"),
    Index("release_moves_by_source", "source", "sequence"),
)

#: Where each release is now: derived from the moves, kept beside them for compare-and-set.
states = Table(
    "release_states",
    metadata,
    Column("source", String(41), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # the database itself refuses a second champion
    Index("one_champion_per_source", "source", unique=True, postgresql_where=text("state = 'champion'")),
)

#: Until when this region's rows may be written, and in which epoch; a trigger on the moves asks. No row: no end.
fence = Table(
    "region_fence",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("region", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("valid_until", DateTime(timezone=True), nullable=False),
    # when its right to write was last renewed: a heartbeat, which shows how far behind a restored database is
    Column("told_at", DateTime(timezone=True)),
    CheckConstraint("id = 1", name="there_is_one_fence"),
)

#: What a running canary remembers between two looks: its policy, evidence and the time its logs are read from.
canaries = Table(
    "release_canaries",
    metadata,
    Column("source", String(41), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("policy", String(40), nullable=False),
    Column("champion", String(64), nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("state", JSON, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)
