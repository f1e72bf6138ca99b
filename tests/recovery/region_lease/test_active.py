"""One region at a time holds the lease, on a real database; and its keeper tells the region."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from artifacts import fence
from artifacts.fence import Fence
from artifacts.ledger import Ledger
from contracts.errors import Conflict, Fenced, StoreUnavailable
from contracts.settings import Settings
from recovery.region_lease.lease import RegionLease
from recovery.region_lease.lease_daemon import LeaseDaemon
from tests.releases.own_ledger import own_database
from tests.waiting import until

pytestmark = pytest.mark.stack
LASTS = 1.0


@pytest.fixture
def control(stack: Settings) -> Iterator[Engine]:
    """A database of its own in the part of the control group's."""
    with own_database(stack) as url:
        engine = create_engine(url, pool_size=8)
        yield engine
        engine.dispose()


@pytest.fixture
def active(control: Engine) -> RegionLease:
    return RegionLease(control, LASTS)


def region(tmp_path: Path, name: str) -> Settings:
    return Settings(home=tmp_path, region=name, lease_seconds=3.0)


def test_the_primary_begins(active: RegionLease) -> None:
    assert active.look() is None
    held = active.claim("primary", 1, actor="keeper", reason="first")
    assert held is not None
    assert (held.region, held.epoch) == ("primary", 1)
    assert 0 < held.left <= LASTS
    assert active.claim("standby", 1, actor="keeper", reason="late") is None
    assert active.renew("standby", 1) is None
    assert active.renew("primary", 1) is not None


def test_who_takes_over_waits_until_the_holder_can_not_write(active: RegionLease) -> None:
    active.claim("primary", 1, actor="keeper", reason="first")
    ends = time.monotonic() + LASTS
    held = active.take_over("standby", actor="oncall", reason="gone")
    assert time.monotonic() >= ends - 0.1
    assert (held.region, held.epoch) == ("standby", 2)
    assert active.renew("primary", 1) is None
    assert active.take_over("standby", actor="oncall", reason="again").epoch == 2
    assert [(row["epoch"], row["region"], row["actor"]) for row in active.history()] == [
        (1, "primary", "keeper"), (2, "standby", "oncall"),
    ]  # fmt: skip


def test_a_holder_that_is_alive_can_not_renew_its_way_out(active: RegionLease) -> None:
    active.claim("primary", 1, actor="keeper", reason="first")
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(active.take_over, "standby", actor="oncall", reason="although alive")
        refused = 0
        while not taking.done():
            refused += active.renew("primary", 1) is None
            time.sleep(0.05)  # as often as a holder tries
        assert taking.result().epoch == 2
    assert refused > 5


def test_of_those_who_race_one_wins_each_epoch(active: RegionLease) -> None:
    active.claim("primary", 1, actor="keeper", reason="first")
    with ThreadPoolExecutor(6) as pool:
        wishes = [pool.submit(active.take_over, name, actor=f"p{n}", reason="race")
                  for n, name in enumerate(["standby", "primary"] * 3)]  # fmt: skip
        epochs = {(held.region, held.epoch) for held in (wish.result() for wish in wishes)}
    history = {(row["region"], row["epoch"]) for row in active.history()}
    assert epochs <= history
    assert sorted(epoch for _, epoch in history) == list(range(1, len(history) + 1))


def test_an_epoch_that_is_over_can_not_be_drained(active: RegionLease) -> None:
    active.claim("primary", 1, actor="keeper", reason="first")
    active.drain("primary", 1)
    with pytest.raises(Conflict):
        active.drain("primary", 2)


def test_the_keepers_tell_both_regions(active: RegionLease, control: Engine, tmp_path: Path) -> None:
    """Active and passive; after a failover the other way round, the database included."""
    first, second = region(tmp_path, "primary"), region(tmp_path, "standby")
    keepers = [LeaseDaemon(s, RegionLease(control, s.lease_seconds), control) for s in (first, second)]
    assert keepers[1].once() == "no region holds the lease yet"
    assert keepers[0].once() == "active, epoch 1"
    assert keepers[1].once().startswith("passive: primary")
    Fence(first).demand()
    with pytest.raises(Fenced, match="passive"):
        Fence(second).demand()

    RegionLease(control, 3.0).take_over("standby", actor="oncall", reason="gone")
    assert keepers[1].once() == "active, epoch 2"
    Fence(second).demand()
    with pytest.raises(Fenced, match="ran out"):  # it was not told anything yet
        Fence(first).demand()
    assert keepers[0].once().startswith("passive: standby")
    with pytest.raises(Fenced, match="ran out"):
        Ledger(control, "primary").note("", "", "asked", actor="x", reason="too late")


def test_a_region_whose_database_hangs_keeps_its_lease(
    active: RegionLease, control: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, comes_back = [], threading.Event()

    def hang(*_: object) -> None:
        asked.append(time.monotonic())
        comes_back.wait(20)

    monkeypatch.setattr(fence, "stamp", hang)
    monkeypatch.setattr("recovery.region_lease.lease_daemon.STAMPED", 0.05)
    keeper = LeaseDaemon(region(tmp_path, "primary"), active, control)
    began = time.monotonic()
    for _ in range(3):
        assert keeper.once() == "active, epoch 1"
    assert time.monotonic() - began < 10
    assert len(asked) == 1  # one at a time
    Fence(region(tmp_path, "primary")).demand()
    comes_back.set()


def test_without_the_control_group_the_right_runs_out(tmp_path: Path) -> None:
    s = region(tmp_path, "primary")
    nowhere = create_engine("postgresql+psycopg2://x:y@127.0.0.1:9/none", connect_args={"connect_timeout": 1})
    keeper = LeaseDaemon(s, RegionLease(nowhere, 3.0), nowhere)
    with pytest.raises(StoreUnavailable):
        keeper.once()
    Fence(s).demand()  # it never had one
    right = fence.Right(region="primary", epoch=1, standing="active", until=fence.boottime() + 0.2, boot=fence.boot())
    fence.write_right(s, right)
    until(lambda: fence.boottime() > right.until, 5)
    with pytest.raises(StoreUnavailable):
        keeper.once()
    with pytest.raises(Fenced):
        Fence(s).demand()


def test_a_region_that_went_on_without_control_keeps_its_epoch(
    active: RegionLease, control: Engine, tmp_path: Path
) -> None:
    first, second = region(tmp_path, "primary"), region(tmp_path, "standby")
    active.claim("primary", 1, actor="keeper", reason="first")
    right = fence.Right(region="standby", epoch=2, standing="active", until=fence.boottime() + 9e6, boot=fence.boot())
    fence.write_right(second, right)
    assert LeaseDaemon(second, RegionLease(control, 3.0), control).once() == "active, epoch 2"
    assert LeaseDaemon(first, RegionLease(control, 3.0), control).once().startswith("passive: standby")
