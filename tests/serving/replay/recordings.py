"""Makes recorded sessions and events for tests of the replay, and runs them against a fake edge."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import aiohttp
import pyarrow as pa

from contracts.events import EVENTS
from serving.replay.plan import ReplayPlan
from serving.replay.report import ReplayRecord, ReplayReport, ReportRow
from serving.replay.requests import EdgeClient
from serving.replay.sessions import Session, Step
from serving.replay.shopper import Shopper
from tests.serving.replay.fake_edge import RELEASE, FakeEdge


def views(user: str, *items: str) -> Session:
    return Session(user, tuple(Step("view", item) for item in items))


def crowd_of(count: int, *items: str) -> list[Session]:
    return [views(f"shopper-{n}", *items) for n in range(count)]


def plan(edge: FakeEdge, **more: Any) -> ReplayPlan:
    return ReplayPlan(**{"url": edge.url, "rate": 100.0, "duration": 0.6, **more})


def row(report: ReplayReport, route: str, release: str = RELEASE) -> ReportRow:
    (found,) = [row for row in report.rows if (row.route, row.release) == (route, release)]
    return found


def walk(edge: FakeEdge, *sessions: Session, chance: float = 0.5, **more: Any) -> ReplayReport:
    """Take all steps of one shopper, one after the other, with chance out of the way."""

    async def steps() -> ReplayReport:
        record, chosen = ReplayRecord(), plan(edge, **more)
        shopper = Shopper(sessions[0].user_id, sessions, chosen)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=chosen.timeout)) as http:
            while not shopper.done:
                turn = shopper.begin_turn(chance, chance)
                await shopper.take(turn, EdgeClient(http, edge.url, record), perf_counter())
        return record.make_report(asked_rate=1, seconds=1, shoppers=1, passes=1)

    return asyncio.run(steps())


def told(edge: FakeEdge) -> list[tuple[str, str]]:
    return [(event["kind"], event["item_id"]) for event in edge.events()]


NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def table(*rows: tuple[float, str, str | None, str, str | None]) -> pa.Table:
    """Make a table of events from rows: minute, shopper, session, kind, item or query."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": f"e-{number}",
                "event_time": NOON + timedelta(minutes=minute),
                "user_id": user,
                "session_id": session,
                "kind": kind,
                "query" if kind == "search" else "item_id": about,
            }
            for number, (minute, user, session, kind, about) in enumerate(rows)
        ],
        schema=EVENTS,
    )
