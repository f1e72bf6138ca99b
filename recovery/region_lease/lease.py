"""Decides which region is active: a lease with a time to live and an epoch, kept by the control group.

One row, moved by compare-and-set under the clock of control's database. The active region's lease daemon renews it.
Whoever takes over first denies it further renewals, then waits until it has expired, and only then begins the next
epoch. So at no moment do two regions hold it, whatever sleeps or wakes up. (Gray and Cheriton, Leases, SOSP 1989.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import Conflict, StoreUnavailable
from contracts.settings import Settings

_TABLE = """
CREATE TABLE IF NOT EXISTS active_region (
    id integer PRIMARY KEY CHECK (id = 1), region text NOT NULL, epoch bigint NOT NULL,
    valid_until timestamptz NOT NULL, renewable boolean NOT NULL, draining boolean NOT NULL,
    since timestamptz NOT NULL, actor text NOT NULL, reason text NOT NULL
);
CREATE TABLE IF NOT EXISTS active_region_history (
    epoch bigint PRIMARY KEY, region text NOT NULL, since timestamptz NOT NULL,
    actor text NOT NULL, reason text NOT NULL
)
"""
_COLUMNS = (
    "region, epoch, valid_until, renewable, draining, since, actor, reason, "
    "EXTRACT(EPOCH FROM valid_until - clock_timestamp())::float8 AS left_s"
)
_CLAIM = f"""
INSERT INTO active_region
VALUES (1, :region, :epoch, clock_timestamp() + make_interval(secs => :seconds), true, false, now(), :actor, :reason)
ON CONFLICT (id) DO UPDATE SET region = excluded.region, epoch = excluded.epoch, valid_until = excluded.valid_until,
    renewable = true, draining = false, since = excluded.since, actor = excluded.actor, reason = excluded.reason
WHERE active_region.epoch < excluded.epoch AND (:now OR active_region.valid_until < clock_timestamp())
RETURNING {_COLUMNS}
"""  # noqa: S608
_RENEW = f"""
UPDATE active_region SET valid_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE region = :region AND epoch = :epoch AND renewable RETURNING {_COLUMNS}
"""  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who holds the region lease; `left` in seconds by control's clock, negative once it has expired."""

    region: str
    epoch: int
    left: float
    renewable: bool
    draining: bool
    since: datetime
    actor: str
    reason: str


class RegionLease:
    """The region lease. Every method raises StoreUnavailable when control's database does not answer."""

    def __init__(self, engine: Engine, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._engine = engine
        self._seconds = seconds
        self._sleep = sleep
        self._made = False

    @classmethod
    def of(cls, s: Settings) -> RegionLease:
        options = {"connect_timeout": 3, "options": "-c statement_timeout=5000"}
        engine = create_engine(
            s.control_database_url, pool_size=1, max_overflow=1, pool_pre_ping=True, connect_args=options
        )
        return cls(engine, s.lease_seconds)

    def close(self) -> None:
        self._engine.dispose()

    def look(self) -> Lease | None:
        """Return who holds it; None before the first claim."""
        with self._speaking() as connection:
            row = connection.execute(text(f"SELECT {_COLUMNS} FROM active_region")).mappings().one_or_none()  # noqa: S608
        return _held(row)

    def history(self) -> list[dict[str, Any]]:
        """Return every epoch: region, since, actor, reason; oldest first."""
        with self._speaking() as connection:
            rows = connection.execute(text("SELECT * FROM active_region_history ORDER BY epoch")).mappings()
            return [dict(row) for row in rows]

    def claim(self, region: str, epoch: int, *, actor: str, reason: str, now: bool = False) -> Lease | None:
        """Begin `epoch`; return the lease, or None when it could not begin.

        That is when this or a later epoch has begun, or when the present lease still lasts (with `now`: even then it
        begins).
        """
        with self._speaking() as connection:
            values = {"region": region, "epoch": epoch, "seconds": self._seconds, "now": now}
            about = {"actor": actor[:128], "reason": reason[:2000]}
            row = connection.execute(text(_CLAIM), values | about).mappings().one_or_none()
            if row is not None:
                told = "INSERT INTO active_region_history VALUES (:epoch, :region, now(), :actor, :reason)"
                connection.execute(text(told + " ON CONFLICT DO NOTHING"), values | about)
        return _held(row)

    def renew(self, region: str, epoch: int) -> Lease | None:
        """Extend the lease by its full time; return None when another holds it or renewals were denied."""
        with self._speaking() as connection:
            values = {"region": region, "epoch": epoch, "seconds": self._seconds}
            row = connection.execute(text(_RENEW), values).mappings().one_or_none()
        return _held(row)

    def drain(self, region: str, epoch: int, *, draining: bool = True) -> None:
        """Make the region answer shoppers but accept no more writes; its lease is still renewed.

        With `draining` False it accepts writes again. Raises Conflict when the epoch is over.
        """
        with self._speaking() as connection:
            change = "UPDATE active_region SET draining = :draining WHERE region = :region AND epoch = :epoch"
            if not connection.execute(text(change), {"region": region, "epoch": epoch, "draining": draining}).rowcount:
                raise Conflict(
                    f"epoch {epoch} of {region} is over", remedy="look at `caravan region`, and decide again"
                )

    def hand_over(self, of: str, to: str, epoch: int, *, actor: str, reason: str) -> Lease:
        """Make `to` the active region in the epoch after `epoch`, at once: `of` was drained and takes no writes.

        Raises Conflict when `of` is not draining in that epoch, or when the epoch ended meanwhile.
        """
        held = self.look()
        if held is not None and (held.region, held.epoch) == (to, epoch + 1):
            return held
        if held is None or (held.region, held.epoch, held.draining) != (of, epoch, True):
            raise Conflict(f"{of} is not draining in epoch {epoch}", remedy="look at `caravan region`, and begin again")
        taken = self.claim(to, epoch + 1, actor=actor, reason=reason, now=True)
        if taken is None:
            raise Conflict(f"epoch {epoch} ended meanwhile", remedy="look at `caravan region`, and begin again")
        return taken

    def take_over(
        self, region: str, *, actor: str, reason: str, tell: Callable[[str], None] = lambda _text: None
    ) -> Lease:
        """Make `region` the active one in a new epoch, once the present holder can no longer write.

        The holder's present lease expires first (after at most its time to live). A region that holds it keeps its
        epoch.
        """
        while True:
            held = self.look()
            if held is None:
                taken = self.claim(region, 1, actor=actor, reason=reason)
            elif held.region == region and held.renewable:
                return held
            else:
                self._deny(held.epoch)
                if held.left > 0:
                    tell(f"{held.region} may write for another {held.left:.0f} s at most; waiting")
                    self._sleep(min(held.left + 0.05, 1.0))
                    continue
                taken = self.claim(region, held.epoch + 1, actor=actor, reason=reason)
            if taken is not None:
                return taken

    def _deny(self, epoch: int) -> None:
        with self._speaking() as connection:
            connection.execute(text("UPDATE active_region SET renewable = false WHERE epoch = :e"), {"e": epoch})

    @contextmanager
    def _speaking(self) -> Iterator[Any]:
        try:
            with self._engine.begin() as connection:
                if not self._made:
                    connection.execute(text(_TABLE))
                yield connection
            self._made = True
        except SQLAlchemyError as error:
            raise StoreUnavailable(
                "the control group's database does not answer",
                remedy="`caravan status` shows it; `caravan up` starts it",
            ) from error


def _held(row: Any) -> Lease | None:
    if row is None:
        return None
    names = ("region", "epoch", "renewable", "draining", "since", "actor", "reason")
    return Lease(left=float(row["left_s"]), **{name: row[name] for name in names})
