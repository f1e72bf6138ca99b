"""A region that may not write is refused, by the file its engines ask and by its database itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from artifacts import fence
from artifacts.fence import Fence, RegionStanding, Right
from artifacts.ledger import Ledger
from contracts.errors import Fenced
from contracts.settings import Settings
from tests.releases.own_ledger import move_release, own_database, walk

A = "a" * 64


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def given(s: Settings, standing: RegionStanding = "active", *, until: float = 1025.0, boot: str = "") -> None:
    fence.write_right(s, Right(region=s.region, epoch=1, standing=standing, until=until, boot=boot or fence.boot()))


def test_a_region_that_never_had_a_lease_may_write(s: Settings) -> None:
    Fence(s).demand()
    assert Fence(s).answers()


def test_a_region_that_wakes_up_too_late_is_refused(s: Settings) -> None:
    given(s)
    clock = Clock()
    door = Fence(s, clock)
    door.demand()
    clock.now = 1025.0  # it slept in between: nobody told it anything
    with pytest.raises(Fenced, match="ran out"):
        door.demand()
    assert not door.answers()


@pytest.mark.parametrize(("standing", "answers"), [("draining", True), ("passive", False)])
def test_only_the_active_region_takes_writes(s: Settings, standing: RegionStanding, answers: bool) -> None:
    given(s, standing)
    door = Fence(s, Clock())
    with pytest.raises(Fenced, match=standing):
        door.demand()
    assert door.answers() == answers


def test_a_right_of_before_the_machine_started_anew_has_ended(s: Settings) -> None:
    given(s, boot="another")
    with pytest.raises(Fenced):
        Fence(s, Clock()).demand()


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"region": "primary"})])
def test_a_broken_file_gives_no_right(s: Settings, content: str) -> None:
    given(s)
    fence.path(s).write_text(content)
    with pytest.raises(Fenced):
        Fence(s, Clock()).demand()


@pytest.fixture
def database(stack: Settings) -> Iterator[Engine]:
    with own_database(stack) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.mark.stack
def test_the_database_refuses_what_comes_too_late(database: Engine) -> None:
    ledger = Ledger(database, "primary")
    walk(ledger, A, "built")
    fence.stamp(database, "primary", 1, 60)
    assert move_release(ledger, "shop", A, to="gated", expected="built", actor="x", reason="in time").epoch == 1
    fence.stamp(database, "primary", 1, 0)
    with pytest.raises(Fenced, match="lease of epoch 1 ran out"):
        move_release(ledger, "shop", A, to="approved", expected="gated", actor="x", reason="too late")
    with pytest.raises(Fenced):
        ledger.note("shop", A, "asked", actor="x", reason="too late")
    assert ledger.state("shop", A) == "gated"
    assert ledger.verify() == 2


@pytest.mark.stack
def test_the_database_refuses_an_epoch_that_is_over(database: Engine) -> None:
    ledger = Ledger(database, "standby")
    fence.stamp(database, "standby", 2, 60)
    with pytest.raises(Fenced, match="epoch 1 is over"):
        move_release(ledger, "shop", A, to="built", expected=None, actor="x", reason="woke up", epoch=1)
    assert move_release(ledger, "shop", A, to="built", expected=None, actor="x", reason="now").epoch == 2


@pytest.mark.stack
def test_a_database_that_hears_late_that_it_may_write_may_not_any_more(database: Engine) -> None:
    ledger = Ledger(database, "primary")
    walk(ledger, A, "built")
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            connection.execute(text("LOCK TABLE region_fence IN ACCESS EXCLUSIVE MODE"))
            told = pool.submit(fence.stamp, database, "primary", 1, 0.5)
            time.sleep(1.0)  # longer than the half second for which it may
        told.result()
    with pytest.raises(Fenced, match="ran out"):
        ledger.note("shop", A, "asked", actor="x", reason="too late")


@pytest.mark.stack
def test_what_is_told_of_an_epoch_that_is_over_changes_nothing(database: Engine) -> None:
    ledger = Ledger(database, "primary")
    fence.stamp(database, "primary", 3, 60)
    fence.stamp(database, "primary", 2, 0)  # a keeper that has not heard of the third
    ledger.note("", "", "asked", actor="test", reason="still open")
    fence.stamp(database, "primary", 3, 0)
    with pytest.raises(Fenced):
        ledger.note("", "", "asked", actor="test", reason="closed")


@pytest.mark.stack
def test_who_is_paused_inside_a_transaction_is_refused_at_its_end(database: Engine) -> None:
    ledger = Ledger(database, "primary")
    walk(ledger, A, "built")
    fence.stamp(database, "primary", 1, 0.5)
    connection = database.connect()
    transaction = connection.begin()
    connection.execute(
        text(
            "INSERT INTO release_moves SELECT sequence + 1, at, source, digest, version, from_state, to_state, actor, "
            "reason, evidence, region, 1, hash, 'x' FROM release_moves"
        )
    )
    time.sleep(0.6)  # the pause
    with pytest.raises(Exception, match="ran out"):
        transaction.commit()
    connection.close()
    assert ledger.verify() == 1
