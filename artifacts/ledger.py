"""Keeps the ledger: the append-only, hash-chained history of every release.

Each row's hash covers the row and the hash before it, so `verify` finds a row that was changed, removed or inserted.
A move is compare-and-set on (release, state, epoch): of two that race, one wins and the other raises Conflict. A
region that may not write any more is refused by the database itself (see artifacts/fence.py). Only the ledger counts;
registry aliases and traffic follow it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, RowMapping, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from artifacts.database import answering, migrate
from artifacts.database import engine as region_engine
from artifacts.tables import fence, moves, states
from contracts.errors import ChainBroken, Conflict, IllegalMove
from contracts.release import MOVES, NOTES, Note, State
from contracts.settings import Settings

GENESIS = "0" * 64
#: Advisory lock that puts appends in one order; a chain has one end.
_APPENDING = 7_240_002


@dataclass(frozen=True, kw_only=True)
class Move:
    """One row: who moved which release from where to where, why, and on what evidence."""

    sequence: int
    at: datetime
    source: str
    digest: str
    version: int | None
    from_state: State | None
    to_state: State | Note
    actor: str
    reason: str
    evidence: dict[str, Any]
    region: str
    epoch: int
    previous_hash: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class PlannedMove:
    """A move to make. It is refused unless the release is in `expected`; None: it is not in the ledger yet.

    `epoch` and `at` are the present ones unless they are given. When a release becomes champion, the present champion
    becomes `former` in the same transaction: `retired`, or `rolled_back` when this is a rollback.
    """

    source: str
    digest: str
    expected: State | None
    to: State
    actor: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    version: int | None = None
    former: State = "retired"
    epoch: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row before it has its place in the chain."""

    at: datetime
    source: str
    digest: str
    version: int | None = None
    from_state: State | None = None
    to_state: State | Note
    actor: str
    reason: str
    evidence: dict[str, Any]
    epoch: int


@dataclass(frozen=True, kw_only=True)
class CurrentRelease:
    """Where one release is now; `sequence` is that of the move which brought it there."""

    source: str
    digest: str
    state: State
    sequence: int


class Ledger:
    """Moves of all releases of a region."""

    def __init__(self, engine: Engine, region: str) -> None:
        self._engine = engine
        self._region = region

    @classmethod
    def of(cls, s: Settings) -> Ledger:
        """Open the region's ledger; its tables are made or brought up to date first."""
        engine = region_engine(s)
        with answering():
            migrate(engine)
        return cls(engine, s.region)

    def move(self, planned: PlannedMove) -> Move:
        """Append one move; Conflict when the release is elsewhere, IllegalMove when there is no such step.

        Raises Fenced in a region that may not write any more.
        """
        source, digest, expected, to = planned.source, planned.digest, planned.expected, planned.to
        if to not in MOVES[expected]:
            raise IllegalMove(
                f"a release cannot go from {expected or 'nothing'} to {to}",
                remedy=f"it can go to: {', '.join(sorted(MOVES[expected])) or 'nowhere'}",
            )
        at = planned.at or datetime.now(UTC)
        with answering(), self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPENDING})
            entry = _Entry(
                at=at, source=source, digest=digest, version=planned.version, from_state=expected, to_state=to,
                actor=planned.actor, reason=planned.reason, evidence=planned.evidence,
                epoch=_epoch(connection) if planned.epoch is None else planned.epoch,
            )  # fmt: skip
            self._compare(connection, source, digest, expected, entry.epoch)
            if to == "champion":
                ends = replace(entry, version=None, from_state="champion", to_state=planned.former)
                for present in self._champions(connection, source):
                    self._append(connection, replace(ends, digest=present))
            return self._append(connection, entry)

    def note(
        self,
        source: str,
        digest: str,
        kind: Note,
        *,
        actor: str,
        reason: str,
        evidence: dict[str, Any] | None = None,
        now: datetime | None = None,
    ) -> Move:
        """Append a row that moves nothing. `digest` is empty for what concerns no single release."""
        with answering(), self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPENDING})
            entry = _Entry(
                at=now or datetime.now(UTC), source=source, digest=digest, to_state=kind, actor=actor,
                reason=reason[:2000], evidence=evidence or {}, epoch=_epoch(connection),
            )  # fmt: skip
            return self._append(connection, entry)

    def releases(self, source: str | None = None, among: Collection[State] = ()) -> list[CurrentRelease]:
        """List releases and their present states, moved last first; only those in `among`, if it names states."""
        query = select(states.c.source, states.c.digest, states.c.state, states.c.sequence).order_by(
            states.c.sequence.desc()
        )
        if source is not None:
            query = query.where(states.c.source == source)
        if among:
            query = query.where(states.c.state.in_(among))
        with answering(), self._engine.connect() as connection:
            return [CurrentRelease(**row) for row in connection.execute(query).mappings()]

    def newest(self, *to: State | Note, source: str | None = None, digest: str | None = None) -> Move | None:
        """Return the last row that led to one of these states, or that is a note of this kind."""
        query = select(moves).where(moves.c.to_state.in_(to)).order_by(moves.c.sequence.desc()).limit(1)
        if source is not None:
            query = query.where(moves.c.source == source)
        if digest is not None:
            query = query.where(moves.c.digest == digest)
        with answering(), self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return _move(row) if row else None

    def state(self, source: str, digest: str) -> State | None:
        """Return the state that a release is in now, or None if the ledger does not know it."""
        with answering(), self._engine.connect() as connection:
            row = connection.execute(
                select(states.c.state).where(states.c.source == source, states.c.digest == digest)
            ).scalar_one_or_none()
        return cast("State | None", row)

    def history(self, source: str | None = None, digest: str | None = None) -> list[Move]:
        """Return all rows, oldest first."""
        query = select(moves).order_by(moves.c.sequence)
        if source is not None:
            query = query.where(moves.c.source == source)
        if digest is not None:
            query = query.where(moves.c.digest == digest)
        with answering(), self._engine.connect() as connection:
            return [_move(row) for row in connection.execute(query).mappings()]

    def champion(self, source: str, at: datetime | None = None) -> Move | None:
        """Return the move that made the champion of the moment `at` (default: now), or None if there was none."""
        return _crowned(self.history(source), at)

    def verify(self) -> int:
        """Recompute the whole chain and return its number of rows. Raises ChainBroken, naming the first wrong one."""
        previous, count = GENESIS, 0
        for count, move in enumerate(self.history(), start=1):
            if move.sequence != count or move.previous_hash != previous or move.hash != _hash(_body(move), previous):
                raise ChainBroken(
                    f"move {count} of the ledger was changed, removed or inserted",
                    remedy="restore the database to a moment before; see docs/runbooks",
                )
            previous = move.hash
        return count

    def _compare(self, connection: Connection, source: str, digest: str, expected: State | None, epoch: int) -> None:
        row = connection.execute(
            select(states.c.state, states.c.epoch).where(states.c.source == source, states.c.digest == digest)
        ).one_or_none()
        present = row.state if row else None
        if present != expected:
            raise Conflict(
                f"release {digest[:12]} is {present or 'not in the ledger'}, not {expected or 'new'}",
                remedy="somebody else moved it; look at `caravan release show` and decide again",
            )
        newest = connection.execute(select(states.c.epoch).order_by(states.c.epoch.desc()).limit(1)).scalar()
        if newest is not None and newest > epoch:
            raise Conflict(f"epoch {epoch} is over; the present one is {newest}", remedy="this region was failed over")

    def _champions(self, connection: Connection, source: str) -> list[str]:
        query = select(states.c.digest).where(states.c.source == source, states.c.state == "champion")
        return list(connection.execute(query).scalars())

    def _append(self, connection: Connection, entry: _Entry) -> Move:
        last = connection.execute(
            select(moves.c.sequence, moves.c.hash).order_by(moves.c.sequence.desc()).limit(1)
        ).one_or_none()
        body = {**vars(entry), "sequence": (last.sequence if last else 0) + 1, "region": self._region}
        previous = last.hash if last else GENESIS
        row = {**body, "previous_hash": previous, "hash": _hash(body, previous)}
        connection.execute(insert(moves).values(row))
        if entry.to_state in NOTES:
            return Move(**row)
        state = {"state": entry.to_state, "epoch": entry.epoch, "sequence": body["sequence"]}
        if entry.from_state is None:
            connection.execute(upsert(states).values(source=entry.source, digest=entry.digest, **state))
        else:
            of_release = states.c.source == entry.source, states.c.digest == entry.digest
            connection.execute(update(states).where(*of_release).values(**state))
        return Move(**row)


def _crowned(history: list[Move], at: datetime | None) -> Move | None:
    """Follow rows, oldest first, to the moment `at`; return the newest coronation unless that champion has left."""
    found: Move | None = None
    for move in history:
        if at is not None and move.at > at:
            break
        if move.to_state == "champion":
            found = move
        elif found and (move.source, move.digest) == (found.source, found.digest) and move.from_state == "champion":
            found = None
    return found


def _epoch(connection: Connection) -> int:
    """Read the present epoch from the fence; 0 where there never was one."""
    return int(connection.execute(select(fence.c.epoch)).scalar() or 0)


def _move(row: RowMapping) -> Move:
    return Move(**{**row, "at": row["at"].astimezone(UTC)})


def _body(move: Move) -> dict[str, Any]:
    return {name: getattr(move, name) for name in moves.c.keys() if name not in {"previous_hash", "hash"}}  # noqa: SIM118


def _hash(body: dict[str, Any], previous: str) -> str:
    canonical = {**body, "at": body["at"].astimezone(UTC).isoformat(timespec="microseconds"), "previous": previous}
    data = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(data.encode()).hexdigest()
