"""Replayed traffic: open loop, honest about time, and a fair judge of who answers better."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from time import perf_counter, sleep

import pytest
from aiohttp import web

from serving.replay.open_loop import run_replay
from serving.replay.plan import ReplayPlan
from serving.replay.report import NO_RELEASE, ReplayReport
from serving.replay.sessions import Session, Step
from tests.serving.live import engine
from tests.serving.replay.fake_edge import RELEASE, FakeEdge, Seen, serving
from tests.serving.replay.recordings import crowd_of, plan, row, told, views
from tests.waiting import until


def test_the_rate_is_held_and_arrivals_do_not_depend_on_answers() -> None:
    with serving(FakeEdge()) as edge:
        report = run_replay(plan(edge, rate=150, duration=2), crowd_of(60, "a", "b", "c"))
    assert 230 < report.arrivals < 370  # Poisson: 300, give or take 17
    assert report.unsent == 0
    assert report.errors == {}
    assert 60 < report.achieved_rate < 190
    assert len(edge.on("/recommend")) == row(report, "recommend").requests == report.arrivals
    assert row(report, "events").requests == report.arrivals  # a miss is followed by its view
    assert report.answers == report.requests == 2 * report.arrivals
    assert report.lateness_ms.p50 is not None


def test_a_stalled_server_gets_the_same_arrivals_and_shows_in_the_quantiles() -> None:
    waiting = 60  # a closed loop of 30 shoppers would wait with 30
    held: list[float] = []
    enough = asyncio.Event()

    async def stall(_: int, __: web.Request) -> None:
        if not enough.is_set():
            held.append(perf_counter())
            if len(held) == waiting:
                enough.set()
            await asyncio.wait_for(enough.wait(), 30)

    with serving(FakeEdge(disturb=stall)) as edge:
        report = run_replay(plan(edge, duration=2.5, timeout=30.0), crowd_of(30, "a", "b", "c"))
    assert 180 < report.arrivals < 330
    assert report.errors == {}
    stalled_ms = (held[-1] - held[0]) * 1000
    latency = row(report, "recommend").latency_ms
    assert latency.p95 is not None
    assert latency.p95 > stalled_ms / 2  # a quarter of all waited, the first of them for the whole of it
    assert latency.max is not None
    assert latency.max >= stalled_ms


def test_a_generator_that_is_late_says_so_and_counts_it() -> None:
    stalls: list[ReplayReport] = []

    def hold(report: ReplayReport) -> None:
        if not stalls:
            stalls.append(report)
            sleep(0.5)

    with serving(FakeEdge()) as edge:
        report = run_replay(plan(edge, duration=1.2, progress_every=0.3), crowd_of(60, "a"), progress=hold)
    assert stalls[0].arrivals < report.arrivals
    assert not report.held
    assert report.lateness_ms.max is not None
    assert report.lateness_ms.max > 400
    latency = row(report, "recommend").latency_ms
    assert latency.max is not None
    assert latency.max > 400  # the wait before leaving is part of it


def test_failures_are_counted_and_end_nothing() -> None:
    async def fail(number: int, request: web.Request) -> web.Response | None:
        way = number % 6
        if way == 0:
            return web.json_response({"error": "x", "remedy": "y"}, status=503)
        if way == 1:
            return web.Response(status=404, text="<html>")
        if way == 2:
            await asyncio.sleep(1.0)
        if way == 3:
            assert request.transport is not None
            request.transport.abort()
        if way == 4:
            return web.Response(text='{"release": "' + RELEASE + '", "items": [{}]}')
        return None

    with serving(FakeEdge(items=lambda *_: [], disturb=fail)) as edge:
        report = run_replay(plan(edge, rate=60, duration=1.5, timeout=0.4), crowd_of(40, "?", "b", "c", "d"))
    assert set(report.errors) == {"5xx", "4xx", "timeout", "connection", "unreadable"}
    assert set(row(report, "recommend", NO_RELEASE).errors) == {"5xx", "4xx", "timeout", "connection"}
    assert row(report, "recommend").errors == {"unreadable": report.errors["unreadable"]}
    waited = row(report, "recommend", NO_RELEASE).latency_ms
    assert waited.p50 is not None
    assert waited.p50 >= 390  # only timeouts: a fast refusal is no fast answer
    assert row(report, "recommend").empty == row(report, "recommend").trials > 0
    assert report.events_rejected == sum(item == "?" for _, item in told(edge)) > 0
    assert report.answers == report.requests - sum(report.errors.values())


def test_nobody_listens() -> None:
    edge = FakeEdge(url="http://127.0.0.1:9")
    report = run_replay(plan(edge, rate=50, duration=0.4), crowd_of(5, "a"))
    assert report.answers == 0
    assert report.errors == {"connection": report.requests}


def test_releases_are_told_apart() -> None:
    better, worse = "b" * 64, "c" * 64

    def shows(seen: Seen, release: str) -> list[str]:
        wanted = ["a", "b", "c", "d"][len(seen.body["context"]["items"])]
        return ["x", wanted] if release == better or wanted == "c" else ["x"]

    def arm(shopper: str) -> str:
        return better if int(shopper.split("-")[1]) % 2 else worse

    shopping = [
        Session(f"s-{n}", (*views("", "a", "b", "c").steps, Step("add_to_cart", "a"), Step("purchase", "a")))
        for n in range(60)
    ]
    with serving(FakeEdge(items=shows, release_of=arm)) as edge:
        report = run_replay(plan(edge, rate=200, duration=1.2, shoppers=60), shopping)
    good, bad = row(report, "recommend", better), row(report, "recommend", worse)
    assert good.share + bad.share == pytest.approx(1)
    assert good.hit_rate == 1.0
    assert bad.hit_rate is not None
    assert 0 < bad.hit_rate < 0.6
    assert good.events["click"] == good.hits
    assert good.events["add_to_cart"] > 0
    assert "add_to_cart" not in bad.events
    assert "purchase" not in bad.events
    assert {report.shoppers, report.passes} <= set(range(1, 61))


def test_each_pass_may_be_other_shoppers() -> None:
    with serving(FakeEdge()) as edge:
        same = run_replay(plan(edge, rate=100, duration=0.5), crowd_of(4, "a"))
        asked = Counter(seen.body["user_id"] for seen in edge.on("/recommend"))
        edge.seen.clear()
        fresh = run_replay(plan(edge, rate=100, duration=0.5, fresh_shoppers=True), crowd_of(4, "a"))
        names = {seen.body["user_id"] for seen in edge.on("/recommend")}
    assert set(asked) == {f"shopper-{n}" for n in range(4)}
    assert same.shoppers == 4
    assert same.passes > 3
    assert len(names) == fresh.shoppers == fresh.arrivals
    assert not names & set(asked)


def test_too_many_under_way_are_not_sent_and_reported() -> None:
    async def hang(_: int, __: web.Request) -> None:
        await asyncio.sleep(30)

    with serving(FakeEdge(disturb=hang)) as edge:
        report = run_replay(plan(edge, duration=0.5, timeout=2.0, in_flight=5), crowd_of(40, "a"))
    assert report.arrivals == 5
    assert report.unsent > 10
    assert not report.held
    assert report.errors == {"timeout": 5}


def test_a_replay_in_a_thread_can_be_stopped() -> None:
    stop, reports, progress = threading.Event(), [], []
    with serving(FakeEdge()) as edge:
        chosen = plan(edge, rate=50, duration=600, progress_every=0.1)
        thread = threading.Thread(
            target=lambda: reports.append(
                run_replay(chosen, crowd_of(9, "a", "b"), progress=progress.append, stop=stop)
            )
        )
        thread.start()
        until(lambda: len(edge.seen) >= 10 and progress, 20)
        stop.set()
        thread.join(20)
    (report,) = reports
    assert report.arrivals >= 5
    assert report.seconds < 60
    assert len(progress) > 0


def test_a_real_engine_takes_everything(tmp_path: Path, bundle: Path) -> None:
    def session(number: int) -> Session:
        steps = (Step("search", "lamp"), Step("view", f"i-{number:05d}"), Step("view", f"i-{number + 1:05d}"))
        return Session(f"anna {number}@example.org", (*steps, Step("purchase", f"i-{number:05d}", 3.0)))

    with engine(tmp_path, bundle) as live:
        chosen = ReplayPlan(url=live.url, rate=30, duration=2, shoppers=10, similar=0.3)
        report = run_replay(chosen, [session(number) for number in range(20)])
        lines = [json.loads(line) for line in live.event_lines()]
    assert report.errors == {}
    assert report.events_rejected == 0
    assert {found.route for found in report.rows} == {"recommend", "search", "similar", "events"}
    sent = Counter(line["kind"] for line in lines if line["kind"] != "impression")
    assert sent == sum((Counter(found.events) for found in report.rows), Counter())
