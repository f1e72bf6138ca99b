"""Takes the consistency point: one WAL position at which our own tables had exactly these rows.

For a few milliseconds our tables accept no writes; meanwhile they are hashed and the position is read. A restore to
that position must give the same hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from artifacts.registry import DIGEST_TAG
from artifacts.tables import fence
from contracts.errors import RecoveryError
from contracts.release import SERVABLE
from contracts.settings import Settings
from recovery.shipping.wal import connect, lsn
from recovery.vault.manifest import Table


@dataclass(frozen=True, kw_only=True)
class ConsistencyPoint:
    """The WAL position, our tables there, the epoch, and the releases that rows name.

    `signed` are those of the releases that must have a signature, because engines serve them or may serve them again.
    """

    position: int
    tables: tuple[Table, ...]
    epoch: int
    releases: frozenset[str]
    signed: frozenset[str]


def our_tables(cursor: Any) -> list[str]:
    """Return the names of all tables in our own database, Alembic's included.

    Except for the fence, which is about a region and its time.
    """
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [name for (name,) in cursor.fetchall() if name != fence.name]


def hash_tables(cursor: Any, names: Sequence[str]) -> tuple[Table, ...]:
    """Return the row count and hash of each table.

    Rows are taken in the order of their text, whatever order they are stored in.
    """
    from psycopg2 import sql

    found = []
    for name in names:
        # PostgreSQL sorts bytes (the databases have no locale), so the hash is the same on every machine
        cursor.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name)))
        rows, digest = 0, hashlib.sha256()
        for (row,) in cursor:
            digest.update(row.encode() + b"\n")
            rows += 1
        found.append(Table(name=name, rows=rows, sha256=digest.hexdigest()))
    return tuple(found)


def take_consistency_point(s: Settings) -> ConsistencyPoint:
    """Take the consistency point. Raises RecoveryError when another session keeps our tables locked for ten seconds."""
    import psycopg2
    from psycopg2 import sql

    with closing(connect(s, database="caravan")) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        connection.autocommit = False
        try:
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            names = our_tables(cursor)
            for name in names:
                cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(name)))
            tables = hash_tables(cursor, names)
            cursor.execute("SELECT pg_current_wal_insert_lsn()")
            position = lsn(cursor.fetchone()[0])
            # something to commit, so that all before it is on disk and sent
            cursor.execute("SELECT pg_logical_emit_message(true, 'caravan', 'cut')")
            states, epoch = [], 0
            if "release_states" in names:
                cursor.execute("SELECT digest, state, epoch FROM release_states")
                states = cursor.fetchall()
                cursor.execute("SELECT to_regclass('region_fence') IS NOT NULL")
                if cursor.fetchone()[0]:
                    cursor.execute("SELECT epoch FROM region_fence")
                    epoch = int((cursor.fetchone() or (0,))[0])
            connection.commit()
        except psycopg2.Error as error:
            raise RecoveryError(
                f"the tables could not be hashed: {str(error).strip()}", remedy="see `caravan logs postgres`"
            ) from error
    registered = registered_digests(s)
    return ConsistencyPoint(
        position=position,
        tables=tables,
        epoch=max([epoch, *(int(moved_in) for _, _, moved_in in states)]),
        releases=frozenset([digest for digest, _, _ in states]) | registered,
        signed=frozenset(digest for digest, state, _ in states if state in SERVABLE),
    )


def registered_digests(s: Settings) -> frozenset[str]:
    """Return the digests that versions of the model registry stand for."""
    with closing(connect(s, database="mlflow")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('model_version_tags') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return frozenset()
        cursor.execute(
            "SELECT t.value FROM model_version_tags t JOIN model_versions v USING (workspace, name, version) "
            "WHERE t.key = %s AND v.current_stage <> 'Deleted_Internal'",
            (DIGEST_TAG,),
        )
        return frozenset(value for (value,) in cursor.fetchall() if value)


def differences(expected: Iterable[Table], found: Iterable[Table]) -> list[str]:
    """Return what differs from the tables at the consistency point, one sentence per table."""
    present = {table.name: table for table in found}
    wrong = []
    for table in expected:
        now = present.get(table.name)
        if now is None:
            wrong.append(f"the table {table.name} is missing")
        elif now != table:
            wrong.append(f"{table.name} has {now.rows} rows, not the {table.rows} rows of the cut, or other ones")
    return wrong
