"""Events in: judged one by one, nameless, on disk before the answer, written once."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from artifacts.lake import Lake
from ingestion.landing.event_log import collect
from serving.http.admission import Limits
from tests.fakes import MemoryStore
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


#: A change of a good event -> the contract's reason for which the door rejects it, as the night would.
REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "1970": ({"event_time": "1970-01-01T00:00:00Z"}, "event_time_too_old"),
    "a bell": ({"kind": "search", "query": "oak\u0007 lamp"}, "bad_query"),
    "a NUL": ({"kind": "search", "query": "oak\u0000lamp"}, "bad_query"),
    "half a character": ({"kind": "search", "query": "\ud800"}, "bad_query"),
    "true for money": ({"value": True}, "bad_value"),
    "a comma for money": ({"value": "9,50"}, "bad_value"),
    "true for a place": ({"position": True}, "bad_position"),
    "a day and month": ({"event_time": "05/01/2026 12:00"}, "bad_event_time"),
    "no time": ({"event_time": None}, "missing_event_time"),
    "a guest": ({"user_id": "guest"}, "nobody"),
    "an object": ({"user_id": "[object Object]"}, "nobody"),
    "no shopper": ({"user_id": ""}, "missing_user_id"),
    "a rounded item": ({"item_id": 7.5}, "bad_item_id"),
    "a shortened item": ({"item_id": "1.23457E+12"}, "bad_item_id"),
    "no item": ({"item_id": "undefined"}, "missing_item_id"),
    "a list": ({"item_id": ["i-1"]}, "nested_value"),
    "another kind": ({"kind": "View"}, "unknown_kind"),
}
#: A change of a good event -> what the log has of it.
TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a comma": ({"event_time": "2026-01-05T12:00:00,5Z"}, {"event_time": "2026-01-05T12:00:00.500000Z"}),
    "no zone": ({"event_time": "2026-01-05T12:00:00"}, {"event_time": "2026-01-05T12:00:00.000000Z"}),
    "an hour's offset": ({"event_time": "2026-01-05T12:00:00+02"}, {"event_time": "2026-01-05T10:00:00.000000Z"}),
    "a week": ({"event_time": "2026-W02-1T12:00:00Z"}, {"event_time": "2026-01-05T12:00:00.000000Z"}),
    "BigQuery's": ({"event_time": "2026-01-05 12:00:00 UTC"}, {"event_time": "2026-01-05T12:00:00.000000Z"}),
    "JavaScript's": ({"event_time": 1_767_614_400_000}, {"event_time": "2026-01-05T12:00:00.000000Z"}),
    "a number's item": ({"item_id": 7}, {"item_id": "7"}),
    "a float's item": ({"item_id": 7.0}, {"item_id": "7"}),
    "zeros": ({"item_id": "00120"}, {"item_id": "00120"}),
    "money as text": ({"value": " 9.5 "}, {"value": 9.5}),
    "no money": ({"value": "NaN"}, {"value": None}),
    "an address": ({"kind": "search", "query": "to jörg＠müller.example"}, {"query": "to [email]"}),
    "many addresses": ({"kind": "search", "query": "a@b.co " * 36}, {"query": ("[email] " * 36)[:256]}),
    "bread": ({"kind": "search", "query": "nan"}, {"query": "nan"}),
}


async def test_the_door_judges_as_the_night_does(tmp_path: Path, bundle: Path) -> None:
    events = [event(n, **change) for n, (change, _) in enumerate([*REJECTED.values(), *TAKEN.values()])]
    with parts_of(tmp_path) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            body = json.dumps({"events": [*events, event(99, value=float("nan"))]})
            answer = (await http.post("/events", content=body, headers={"content-type": "application/json"})).json()
    reasons = [v.get("reason", "").partition(":")[0] for v in answer["verdicts"]]
    assert reasons == [reason for _, reason in REJECTED.values()] + [""] * (len(TAKEN) + 1)
    lines = [orjson.loads(line) for line in logged(tmp_path)]
    for line, (name, (_, expected)) in zip(lines, TAKEN.items(), strict=False):
        assert {column: line[column] for column in expected} == expected, name
    assert lines[-1]["value"] is None
    where = Lake(MemoryStore(), "shop", tmp_path / "cache")
    assert [(r.kept, r.quarantined) for r in collect(where, tmp_path / "event-log")] == [(len(lines), {})]
