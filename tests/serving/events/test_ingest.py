"""Events in: judged one by one, nameless, on disk before the answer, written once."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.http.admission import Limits
from tests.serving.parts import FakeOnline, client, load, logged, parts_of

pytestmark = pytest.mark.anyio


def event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e-{number}",
        "event_time": "2026-01-05T12:00:00.123456+01:00",
        "user_id": "anna@example.org",
        "session_id": "visit-1",
        "kind": "view",
        "item_id": "i-00001",
    } | more


async def test_each_event_has_its_own_verdict(tmp_path: Path, bundle: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    events = [
        event(1),
        event(2, kind="bought"),
        event(3, event_time="11/05/2026 12:00"),
        event(4, event_time=ahead),
        event(5, item_id=None),
        event(6, kind="search", item_id=None, query=" "),
        event(7, value=float(-1)),
        event(1),
        "not an event",
        event(8, kind="search", item_id=None, query="lamp for bob@example.org"),
        event(9, event_time="0001-01-01T00:00:00+10:00"),
        event(10, surprise=1),
    ]
    online = FakeOnline()
    with parts_of(tmp_path, online=online) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            response = await http.post("/events", json={"events": events})
        answer = response.json()
    assert response.status_code == 200
    verdicts = [v["status"] for v in answer["verdicts"]]
    assert verdicts == ["accepted"] + ["rejected"] * 6 + ["duplicate", "rejected", "accepted", "rejected", "accepted"]
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (3, 1, 8)
    assert all(v["reason"] for v in answer["verdicts"] if v["status"] == "rejected")
    assert answer["online"] is True
    rows = [orjson.loads(line) for line in logged(tmp_path)]
    assert [row["event_id"] for row in rows] == ["e-1", "e-8", "e-10"]
    assert answer["verdicts"][-1]["left_out"] == ["surprise"]
    assert rows[0]["event_time"] == "2026-01-05T11:00:00.123456Z"
    assert rows[0]["source"] == "shop"
    assert rows[1]["query"] == "lamp for [email]"
    assert b"example.org" not in b"".join(logged(tmp_path))
    assert b"visit-1" not in b"".join(logged(tmp_path))
    assert [pushed["event_id"] for pushed in online.pushed] == ["e-1", "e-10"]  # a search is no interaction
    assert online.pushed[0]["user_id"].startswith("u_")


async def test_only_bad_events_are_a_422(tmp_path: Path, bundle: Path) -> None:
    with parts_of(tmp_path) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            response = await http.post("/events", json={"events": [event(1, kind="?")]})
    assert response.status_code == 422
    assert response.json()["verdicts"][0]["reason"].startswith("unknown_kind: ")
    assert response.json()["remedy"]


async def test_a_store_that_is_down_delays_nothing_and_is_said(tmp_path: Path, bundle: Path) -> None:
    online = FakeOnline(error=ConnectionError("refused"))
    with parts_of(tmp_path, online=online) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            answer = (await http.post("/events", json={"events": [event(1)]})).json()
    assert (answer["accepted"], answer["online"], answer["fallback_reason"]) == (1, False, "not-online-yet")
    assert len(logged(tmp_path)) == 1


async def test_a_repeated_delivery_is_written_once(tmp_path: Path, bundle: Path) -> None:
    with parts_of(tmp_path) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            many = await asyncio.gather(*[http.post("/events", json={"events": [event(1)]}) for _ in range(20)])
    statuses = [response.json()["verdicts"][0]["status"] for response in many]
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 19
    assert len(logged(tmp_path)) == 1


async def test_events_that_could_not_be_written_may_come_again(tmp_path: Path, bundle: Path) -> None:
    full = [True]

    def sync(handle: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)

    with parts_of(tmp_path, sync=sync) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            refused = await http.post("/events", json={"events": [event(1)]})
            assert refused.status_code == 503
            assert "No space left" in refused.json()["error"]
            full[0] = False
            answer = (await http.post("/events", json={"events": [event(1)]})).json()
    assert answer["verdicts"][0]["status"] == "accepted"
    assert orjson.loads(logged(tmp_path)[-1])["event_id"] == "e-1"


async def test_a_caller_who_gives_up_does_not_stop_the_log(tmp_path: Path, bundle: Path) -> None:
    def slow(handle: int) -> None:
        time.sleep(0.3)
        os.fsync(handle)

    with parts_of(tmp_path, limits=Limits(deadline=0.1), sync=slow) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            late = await http.post("/events", json={"events": [event(1)]})
            assert late.status_code == 503
            await asyncio.sleep(0.4)
            again = await http.post("/events", json={"events": [event(1)]})
            assert again.json()["verdicts"][0]["status"] == "duplicate"
    assert len(logged(tmp_path)) == 1
