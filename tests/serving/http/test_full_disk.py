"""A disk that fills: events are refused before the database starves, people are told, and it recovers by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import pytest

from contracts.errors import Fenced
from contracts.settings import read_settings
from monitoring.alerts import read_alerts
from releases.disk_watch import DiskWatch
from serving.events.disk_room import DiskFull, DiskRoom
from serving.events.side_effects import Impressions
from serving.http.app import create_app
from serving.http.parts import Parts
from tests.serving.parts import load, logged, parts_of

pytestmark = pytest.mark.anyio

MB = 1 << 20


class Disk:
    """A disk of which the test says how much is free, and a clock."""

    def __init__(self) -> None:
        self.free, self.now = 1000 * MB, 0.0

    def room(self, reserve_mb: int = 100) -> DiskRoom:
        return DiskRoom(Path("/"), reserve_mb, free=lambda _folder: self.free, clock=self._clock)

    def _clock(self) -> float:
        self.now += 2.0
        return self.now


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def parts(tmp_path: Path, bundle: Path, disk: Disk) -> Iterator[Parts]:
    with parts_of(tmp_path, room=disk.room()) as parts:
        load(parts, bundle)
        yield parts


def event(number: int) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    return {"event_id": f"e-{number}", "event_time": now, "user_id": "anna", "kind": "view", "item_id": "i-00005"}


async def test_events_are_refused_below_the_reserve_and_taken_again_above_it(
    parts: Parts, disk: Disk, tmp_path: Path
) -> None:
    transport = httpx.ASGITransport(app=create_app(parts))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
        assert (await http.post("/events", json={"events": [event(1)]})).status_code == 200
        disk.free = 99 * MB
        answer = await http.post("/events", json={"events": [event(2)]})
        assert (answer.status_code, answer.headers["retry-after"]) == (507, "30")
        assert answer.json().keys() >= {"error", "remedy", "request_id"}
        before = len(logged(tmp_path))
        assert (await http.post("/recommend", json={"user_id": "anna", "k": 3})).status_code == 200  # answers go on
        disk.free = 110 * MB
        assert (await http.post("/events", json={"events": [event(2)]})).status_code == 507  # not yet
        disk.free = 126 * MB
        assert (await http.post("/events", json={"events": [event(2)]})).json()["accepted"] == 1
    parts.impressions.log.append(b"").result(timeout=5)
    kinds = [orjson.loads(line)["kind"] for line in logged(tmp_path)[before:]]
    assert kinds == ["view"]
    assert parts.impressions.shed == 1


def test_people_are_told_once_and_again_when_it_is_over(tmp_path: Path, disk: Disk) -> None:
    s = read_settings(home=tmp_path)
    s.paths.home.mkdir(parents=True, exist_ok=True)
    watch = DiskWatch(s, disk.room(s.disk_reserve_mb))
    for free in (1000, 400, 300, 600, 900, 900):
        disk.free = free * MB
        watch.look(now=datetime.now(UTC))
    first, last = read_alerts(s)
    assert (first.severity, last.severity) == ("critical", "info")
    assert "400 MB" in first.text
    assert "caravan sweep" in first.text


def test_no_reserve_refuses_nothing(disk: Disk) -> None:
    disk.free = 0
    disk.room(0).demand()


def test_a_region_that_may_not_write_logs_no_impression(parts: Parts) -> None:
    now = [0.0]

    def fenced() -> None:
        raise Fenced("another region is the active one", remedy="ask there")

    shown = Impressions(parts.impressions.log, fenced, clock=lambda: now[0])
    assert [shown.allowed(), shown.allowed()] == [False, False]
    assert shown.shed == 2


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_file_system_fills_sheds_and_recovers(small: Path) -> None:
    now = [0.0]
    room = DiskRoom(small, 4, clock=lambda: now[0])
    room.demand()
    (small / "filling").write_bytes(bytes(5 * MB))
    now[0] = 2.0
    with pytest.raises(DiskFull):
        room.demand()
    (small / "filling").unlink()
    now[0] = 4.0
    room.demand()
