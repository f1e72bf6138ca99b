"""The ledger on the real database: legal moves only, one winner, and no change goes unseen."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from artifacts.database import migrate
from artifacts.ledger import Ledger
from contracts.errors import ChainBroken, Conflict, IllegalMove
from contracts.release import MOVES, State
from contracts.settings import Settings
from tests.releases.fake_region import drop_database
from tests.releases.own_ledger import move_release

pytestmark = pytest.mark.stack
START = datetime(2026, 1, 1, tzinfo=UTC)
ROAD: tuple[State, ...] = (
    "built",
    "gated",
    "approved",
    "shadow",
    "canary_1",
    "canary_5",
    "canary_25",
    "canary_50",
    "champion",
)


@pytest.fixture
def engine(stack: Settings) -> Iterator[Engine]:
    """A database of its own, so that a broken chain breaks nobody else's test."""
    name = f"ledger_{uuid.uuid4().hex[:8]}"
    admin = create_engine(stack.database_url("caravan"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(stack.database_url(name))
    migrate(engine)
    yield engine
    engine.dispose()
    drop_database(admin, name)
    admin.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine, "primary")


def walk(ledger: Ledger, digest: str, *, until: State = "champion", start: datetime = START) -> None:
    before: State | None = None
    for hours, state in enumerate(ROAD):
        move_release(
            ledger,
            "shop",
            digest,
            to=state,
            expected=before,
            actor="nightly",
            reason="test",
            evidence={"share": 0.1 + hours, "large": 1e22},
            at=start + timedelta(hours=hours),
        )
        if state == until:
            return
        before = state


def test_it_tells_what_served_when_and_who_let_it(ledger: Ledger) -> None:
    first, second = "a" * 64, "b" * 64
    walk(ledger, first)
    walk(ledger, second, start=START + timedelta(days=1))
    move_release(
        ledger,
        "shop",
        first,
        to="champion",
        expected="retired",
        former="rolled_back",
        actor="oncall",
        reason="carts fell",
        at=START + timedelta(days=3),
    )

    def served(after: timedelta) -> str | None:
        move = ledger.champion("shop", START + after)
        return move.digest if move else None

    assert served(timedelta(hours=1)) is None
    assert served(timedelta(hours=9)) == first
    assert served(timedelta(days=2)) == second
    now = ledger.champion("shop")
    assert now is not None
    assert (now.digest, now.actor, now.reason) == (first, "oncall", "carts fell")
    assert ledger.state("shop", second) == "rolled_back"
    assert ledger.verify() == 2 * len(ROAD) + 3  # two roads, one retirement, one rollback of two rows


def test_every_step_that_is_not_on_the_road_is_refused(ledger: Ledger) -> None:
    walk(ledger, "a" * 64, until="gated")
    for state in {s for reachable in MOVES.values() for s in reachable} - MOVES["gated"]:
        with pytest.raises(IllegalMove):
            move_release(ledger, "shop", "a" * 64, to=state, expected="gated", actor="x", reason="x")
    assert ledger.state("shop", "a" * 64) == "gated"


def test_of_racing_promoters_one_wins_and_there_is_one_champion(ledger: Ledger, engine: Engine) -> None:
    digests = [f"{n:064x}" for n in range(6)]
    for digest in digests:
        walk(ledger, digest, until="canary_50")

    def promote(digest: str) -> int:
        won = 0
        for _ in range(2):
            try:
                move_release(
                    ledger, "shop", digest, to="champion", expected="canary_50", actor=digest[-1], reason="race"
                )
                won += 1
            except Conflict:
                pass
        return won

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(promote, digests)) == [1] * 6
    with engine.connect() as connection:
        champions = connection.execute(text("SELECT count(*) FROM release_states WHERE state = 'champion'")).scalar()
    assert champions == 1
    ledger.verify()


def test_an_old_epoch_is_refused(ledger: Ledger) -> None:
    walk(ledger, "a" * 64, until="gated")
    move_release(ledger, "shop", "a" * 64, to="approved", expected="gated", actor="x", reason="after failover", epoch=1)
    with pytest.raises(Conflict, match="epoch"):
        move_release(ledger, "shop", "a" * 64, to="shadow", expected="approved", actor="x", reason="woke up", epoch=0)


@pytest.mark.parametrize("change", ["UPDATE release_moves SET actor = 'nobody'", "DELETE FROM release_moves"])
def test_rows_can_not_be_changed_and_a_change_behind_the_trigger_is_found(
    ledger: Ledger, engine: Engine, change: str
) -> None:
    walk(ledger, "a" * 64, until="gated")
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(f"{change} WHERE sequence = 1"))
    assert ledger.verify() == 2
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE release_moves DISABLE TRIGGER USER"))
        connection.execute(text(f"{change} WHERE sequence = 1"))
    with pytest.raises(ChainBroken, match="move 1"):
        ledger.verify()


def test_migrations_and_tables_agree(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from artifacts.tables import metadata

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert not [d for d in differences if "alembic_version" not in str(d)]
