"""The event log: lines share a flush, segments change, and what can wait does not wait long."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.events.event_log import EventLog


def test_waiting_lines_share_one_flush(tmp_path: Path) -> None:
    flushes: list[int] = []

    def slow(handle: int) -> None:
        flushes.append(handle)
        time.sleep(0.02)

    log = EventLog(tmp_path, "e", sync=slow)
    done = [log.append(b"%d\n" % number) for number in range(200)]
    for future in done:
        future.result(timeout=5)
    assert len(flushes) < 20
    assert log.lag == 0.0
    log.close()
    lines = b"".join(path.read_bytes() for path in tmp_path.rglob("*.jsonl")).split()
    assert lines == [b"%d" % number for number in range(200)]


def test_segments_change_with_the_day_and_the_size_and_are_never_reopened(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 5, 23, 59, tzinfo=UTC)]
    log = EventLog(tmp_path, "e", segment_bytes=10, clock=lambda: now[0])
    for line in (b"12345\n", b"12345\n", b"12345\n"):
        log.append(line).result(timeout=5)
    now[0] += timedelta(minutes=2)
    log.append(b"next day\n").result(timeout=5)
    log.close()
    restarted = EventLog(tmp_path, "e", clock=lambda: now[0])
    restarted.append(b"after a restart\n").result(timeout=5)
    restarted.close()
    found = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*.jsonl")}
    assert found == {
        "2026-01-05/e-235900000000-00.jsonl": b"12345\n12345\n",
        "2026-01-05/e-235900000000-01.jsonl": b"12345\n",
        "2026-01-06/e-000100000000-00.jsonl": b"next day\n",
        "2026-01-06/e-000100000000-01.jsonl": b"after a restart\n",
    }


def test_lines_nobody_waits_for_are_written_soon(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "e")
    done = log.append(b"impression\n", urgent=False)
    assert log.lag >= 0.0
    done.result(timeout=2)
    log.close()
    with pytest.raises(Exception, match="closed"):
        log.append(b"too late\n").result(timeout=1)
