"""What is brought over from a region that was lost: whole objects only, and nothing of erased shoppers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from artifacts.publish import manifest_key
from contracts.errors import StoreUnavailable
from recovery.erasure.rows import ErasureSubject
from recovery.failback import reconcile
from recovery.failback.reconcile import bring_objects, unknown
from tests.fakes import MemoryStore
from tests.recovery.vaults import SmallRegion, settings

ERASED, OTHER = "u_" + "ab" * 16, "u_" + "cd" * 16


def test_whole_objects_go_over_once(tmp_path: Path) -> None:
    region, active = SmallRegion(tmp_path), MemoryStore()
    digest = region.publish("serving/primary/champion", a="one", b="two")
    told: list[str] = []
    assert bring_objects(region.store, active, told.append) == 3
    assert manifest_key(digest) in active.objects
    assert not [key for key in active.objects if key.startswith("refs/")]
    assert bring_objects(region.store, active, told.append) == 0
    assert told == []


def test_a_damaged_object_stays_behind_with_the_manifest_that_names_it(tmp_path: Path) -> None:
    region, active = SmallRegion(tmp_path), MemoryStore()
    digest = region.publish("serving/primary/champion", a="one", b="two")
    blob = next(key for key in region.store.objects if key.startswith("blobs/"))
    region.store.objects[blob] = b"a byte changed at rest"
    told: list[str] = []
    assert bring_objects(region.store, active, told.append) == 1
    assert blob not in active.objects
    assert manifest_key(digest) not in active.objects
    assert "is damaged" in told[0]
    assert "stays behind" in told[1]


def test_events_of_erased_shoppers_do_not_come_back(tmp_path: Path) -> None:
    former = settings().model_copy(update={"home": tmp_path, "region": "primary"})
    active = former.of_region("standby")
    folder = former.paths.event_log / "2026-03-01"
    folder.mkdir(parents=True)
    rows = [
        {"event_id": f"{number}", "event_time": "2026-03-01T12:00:00+00:00", "user_id": user, "source": "shop"}
        for number, user in enumerate([ERASED, OTHER])
    ]
    (folder / "champion-000000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    days, fresh, count = unknown(former, active, ErasureSubject({ERASED: datetime(2026, 3, 2, tzinfo=UTC)}))
    assert count == 1
    assert [event["event_id"] for event in fresh["shop"]] == ["1"]
    assert ERASED.encode() not in b"".join(days["2026-03-01"])


def test_a_new_database_has_no_rows_and_one_that_does_not_answer_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s = settings()
    monkeypatch.setattr(reconcile, "region_database", lambda _s: create_engine("sqlite://"))
    assert reconcile._rows(s, s, "a test") == 0
    nobody = create_engine("postgresql+psycopg2://caravan@127.0.0.1:1/caravan")
    monkeypatch.setattr(reconcile, "region_database", lambda _s: nobody)
    with pytest.raises(StoreUnavailable):
        reconcile._rows(s, s, "a test")
