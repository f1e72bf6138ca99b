"""The feed goes on with what it can send while something else is away."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import RecoveryError
from recovery.shipping import event_log
from recovery.shipping import replicator as feeding
from tests.recovery.vaults import SmallRegion


def test_events_leave_while_the_database_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = SmallRegion(tmp_path)
    s = region.s.model_copy(update={"home": tmp_path})
    path = s.paths.event_log / "2026-03-01" / "champion-000000.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\n")
    monkeypatch.setattr(feeding.Vault, "of", lambda _s: region.vault)
    monkeypatch.setattr(feeding.wal, "identify", lambda _s: ("7", 1, 0))
    feed = feeding.Feed(s)
    feed._events(threading.Event())

    def down(_s: Any) -> Any:
        raise RecoveryError("the database of primary does not answer")

    monkeypatch.setattr(feeding.wal, "identify", down)
    path.write_bytes(b"one\ntwo\n")
    feed._events(threading.Event())
    assert event_log.list_segments(region.vault, "7")[-1].end == 8
