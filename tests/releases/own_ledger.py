"""A ledger in a database of its own, so that no controller follows what a test writes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, text

from artifacts.database import migrate
from artifacts.ledger import Ledger, Move, PlannedMove
from contracts.release import State
from contracts.settings import Settings
from tests.releases.fake_region import drop_database

#: The shortest road from the gate to all shoppers.
ROAD: tuple[State, ...] = ("built", "gated", "approved", "champion")


@contextmanager
def own_database(s: Settings) -> Iterator[str]:
    """The address of an empty one, dropped at the end."""
    name = f"ledger_{uuid.uuid4().hex[:8]}"
    admin = create_engine(s.database_url("caravan"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        engine = create_engine(s.database_url(name))
        migrate(engine)
        engine.dispose()
        yield s.database_url(name)
    finally:
        drop_database(admin, name)
        admin.dispose()


@contextmanager
def own_ledger(s: Settings) -> Iterator[Ledger]:
    """An empty ledger, dropped at the end."""
    with own_database(s) as url:
        engine = create_engine(url, pool_size=8, max_overflow=8)
        try:
            yield Ledger(engine, "primary")
        finally:
            engine.dispose()


def let_serve(ledger: Ledger, source: str) -> None:
    """Let the region serve this shop from now on, as `caravan region serve` would: tests have many in one region."""
    last = ledger.newest("serves")
    if last is None or last.source != source:
        ledger.note(source, "", "serves", actor="test", reason="a shop of its own")


def move_release(ledger: Ledger, source: str, digest: str, **about: Any) -> Move:
    """Move one release, as a `PlannedMove` of `about` says."""
    return ledger.move(PlannedMove(source=source, digest=digest, **about))


def walk(ledger: Ledger, digest: str, *road: State, source: str = "shop") -> None:
    """Take a release along `road`, from wherever it is."""
    for to in road:
        present = ledger.state(source, digest)
        move_release(ledger, source, digest, to=to, expected=present, actor="test", reason=f"to {to}", version=1)
