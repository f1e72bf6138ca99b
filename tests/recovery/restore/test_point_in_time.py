"""The state at a moment: a table that was dropped by mistake at T is back as of T minus one second."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from artifacts.object_store import ObjectStore
from caravan.stack.machine import EmbeddedMachine
from caravan.stack.services.object_store import store_administrator
from contracts.errors import ArtifactError, RestoreRefused
from contracts.region import other
from contracts.settings import Settings
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point, log_end
from recovery.restore.restore import plan_restore, restore
from recovery.shipping import wal
from recovery.snapshots import retention
from recovery.snapshots.create import create
from recovery.vault.bucket import LockedBucket
from recovery.vault.vault import Vault
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

#: The primary is still up in these tests.
ALIVE = RestoreOptions(reason="a mistake", although_alive=True)


def sql(s: Settings, *statements: str) -> list[Any]:
    with closing(wal.connect(s, database="caravan")) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def test_a_dropped_table_is_back(two_regions: Settings) -> None:
    s = two_regions
    standby, machine = s.of_region("standby"), EmbeddedMachine(s)
    sql(s, "DROP TABLE IF EXISTS counted", "CREATE TABLE counted (number int)", "INSERT INTO counted VALUES (1)")
    snapshot = create(s, machine).snapshot
    sql(s, "INSERT INTO counted VALUES (2)")
    time.sleep(3)  # so that a second before the drop is well after this row
    dropped_at = datetime.now(UTC)
    sql(s, "DROP TABLE counted")
    _, _, written = wal.identify(s)
    until(lambda: log_end(Vault.of(s), snapshot) >= written, 60, every=0.5, otherwise="the feed does not bring the log")
    target = EmbeddedMachine(standby)
    with pytest.raises(RestoreRefused, match="looks alive"):
        restore(standby, target, Point.parse("newest"), RestoreOptions(reason="a mistake"))
    moment = (dropped_at - timedelta(seconds=1)).isoformat()
    assert plan_restore(standby, target, Point.parse(moment), ALIVE)["target"] == "standby"
    restore(standby, target, Point.parse(moment), ALIVE)
    assert sql(standby, "SELECT number FROM counted ORDER BY 1") == [(1,), (2,)]
    # a moment after the last write there is: all of the log leads to it
    later = Point.parse(datetime.now(UTC).isoformat())
    with pytest.raises(RestoreRefused, match="is the active region"):
        restore(standby, target, later, ALIVE)
    restore(standby, target, later, replace(ALIVE, although_active=True, through="database"))
    assert sql(standby, "SELECT to_regclass('counted') IS NULL") == [(True,)]


def test_the_writer_can_not_take_away_what_it_wrote(two_regions: Settings) -> None:
    s = two_regions
    writer, name = LockedBucket.writer(s), f"objects/zz/{time.time()}"
    writer.put(name, b"written once")
    with pytest.raises(ArtifactError):
        writer.delete(name)
    with pytest.raises(ArtifactError):
        writer.remove(name)
    with pytest.raises(ArtifactError):
        retention.prune(s, Vault(writer, Vault.of(s).sealer), keep=1)
    away = s.of_region(other(s.region))
    services = LockedBucket(ObjectStore.of(away)._client, s.snapshot_bucket)
    for refused in (lambda: services.remove(name), lambda: services.delete(name), lambda: services.put(name, b"mine")):
        with pytest.raises(ArtifactError):  # what the region's own services hold passes no lock
            refused()
    assert list(writer.versions(name)) == [b"written once"]
    LockedBucket.administrator(s, *store_administrator(away)).remove(name)
    assert list(writer.versions(name)) == []
