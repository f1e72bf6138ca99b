"""Replayed traffic: open loop, honest about time, and a fair judge of who answers better."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import aiohttp
import pyarrow as pa
import pytest
from aiohttp import web
from scipy.stats import binomtest
from typer.testing import CliRunner

from artifacts.lake import write_table
from caravan.cli import replay as replay_command
from caravan.cli.main import app
from caravan.cli.replay import newest_events
from contracts.errors import NotEnoughData, NotFound, SettingsError
from contracts.events import EVENTS, Event
from contracts.settings import read_settings
from serving.replay.plan import ReplayPlan
from serving.replay.replay import run
from serving.replay.report import NO_RELEASE, Record, Report, Row, wilson
from serving.replay.requests import Edge
from serving.replay.sessions import Session, Step, read_sessions, sessions_of
from serving.replay.shopper import Crowd, Shopper
from tests.serving.fake_edge import RELEASE, FakeEdge, Seen, serving
from tests.serving.live import engine


def views(user: str, *items: str) -> Session:
    return Session(user, tuple(Step("view", item) for item in items))


def crowd_of(count: int, *items: str) -> list[Session]:
    return [views(f"shopper-{n}", *items) for n in range(count)]


def plan(edge: FakeEdge, **more: Any) -> ReplayPlan:
    return ReplayPlan(**{"url": edge.url, "rate": 100.0, "duration": 0.6, **more})


def row(report: Report, route: str, release: str = RELEASE) -> Row:
    (found,) = [row for row in report.rows if (row.route, row.release) == (route, release)]
    return found


def walk(edge: FakeEdge, *sessions: Session, chance: float = 0.5, **more: Any) -> Report:
    """All steps of one shopper, one after the other, with chance out of the way."""

    async def steps() -> Report:
        record, chosen = Record(), plan(edge, **more)
        shopper = Shopper(sessions[0].user_id, sessions, chosen)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=chosen.timeout)) as http:
            while not shopper.done:
                await shopper.take(shopper.begin(chance, chance), Edge(http, edge.url, record), perf_counter())
        return record.report(asked_rate=1, seconds=1, shoppers=1, passes=1)

    return asyncio.run(steps())


def told(edge: FakeEdge) -> list[tuple[str, str]]:
    return [(event["kind"], event["item_id"]) for event in edge.events()]


def test_the_rate_is_held_and_arrivals_do_not_depend_on_answers() -> None:
    with serving(FakeEdge()) as edge:
        report = run(plan(edge, rate=150, duration=2), crowd_of(60, "a", "b", "c"))
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
        report = run(plan(edge, duration=2.5, timeout=30.0), crowd_of(30, "a", "b", "c"))
    assert 180 < report.arrivals < 330
    assert report.errors == {}
    stalled_ms = (held[-1] - held[0]) * 1000
    latency = row(report, "recommend").latency_ms
    assert latency.p95 is not None
    assert latency.p95 > stalled_ms / 2  # a quarter of all waited, the first of them for the whole of it
    assert latency.max is not None
    assert latency.max >= stalled_ms


def test_a_generator_that_is_late_says_so_and_counts_it() -> None:
    stalls: list[Report] = []

    def hold(report: Report) -> None:
        if not stalls:
            stalls.append(report)
            sleep(0.5)

    with serving(FakeEdge()) as edge:
        report = run(plan(edge, duration=1.2, progress_every=0.3), crowd_of(60, "a"), progress=hold)
    assert stalls[0].arrivals < report.arrivals
    assert not report.held
    assert report.lateness_ms.max is not None
    assert report.lateness_ms.max > 400
    latency = row(report, "recommend").latency_ms
    assert latency.max is not None
    assert latency.max > 400  # the wait before leaving is part of it


def test_a_hit_leads_to_a_click_with_its_position() -> None:
    session = Session(
        "anna@example.org",
        (Step("view", "i-1"), Step("view", "i-2"), Step("purchase", "i-2", 9.5), Step("view", "i-3")),
    )
    with serving(FakeEdge(items=lambda *_: ["x", "i-2", "y"])) as edge:
        report = walk(edge, session)
    sent = [(event["kind"], event.get("item_id"), event.get("position"), event.get("value")) for event in edge.events()]
    assert sent == [
        ("view", "i-1", None, None),
        ("click", "i-2", 1, None),
        ("view", "i-2", None, None),
        ("purchase", "i-2", None, 9.5),
        ("view", "i-3", None, None),
    ]
    answers = row(report, "recommend")
    assert (answers.trials, answers.hits) == (3, 1)  # buying what one looks at is no new choice
    assert answers.events == {"click": 1, "purchase": 1, "view": 3}
    assert len({seen.shopper for seen in edge.seen}) == 1
    assert re.fullmatch("[0-9a-f]{64}", edge.seen[0].shopper)  # the edge takes no "@" in its header
    asked = [seen.body for seen in edge.on("/recommend")]
    assert [body["context"]["items"] for body in asked] == [[], ["i-1"], ["i-1", "i-2"], ["i-1", "i-2"]]
    assert {body["user_id"] for body in asked} == {"anna@example.org"}
    assert {body["session_id"] for body in asked} == {event["session_id"] for event in edge.events()}
    assert len({event["event_id"] for event in edge.events()}) == 5
    for event in edge.events():
        assert abs(Event.model_validate(event).event_time - datetime.now(UTC)) < timedelta(minutes=1)


SHOPPING = Session(
    "s-1",
    (Step("click", "a"), Step("add_to_cart", "a", 5.0), Step("view", "b"), Step("purchase", "c"), Step("click", "b")),
)


def test_a_miss_brings_no_click_cart_or_purchase() -> None:
    with serving(FakeEdge(items=lambda *_: ["x"])) as edge:
        report = walk(edge, SHOPPING)
    assert told(edge) == [("view", "a"), ("view", "b"), ("view", "c"), ("view", "b")]
    assert row(report, "recommend").events == {"view": 4}


def test_without_only_hits_everything_is_sent_as_recorded() -> None:
    with serving(FakeEdge(items=lambda *_: ["x"])) as edge:
        walk(edge, SHOPPING, only_hits=False)
    assert told(edge) == [(step.kind, step.about) for step in SHOPPING.steps]


def test_a_shopper_who_does_not_follow_sends_only_what_was_shown() -> None:
    with serving(FakeEdge(items=lambda *_: ["b"])) as edge:
        walk(edge, SHOPPING, follow=0.4, chance=0.5)
    assert told(edge) == [("click", "b"), ("view", "b"), ("view", "b")]


def test_a_cart_belongs_to_the_release_that_showed_the_item() -> None:
    def shows(seen: Seen, release: str) -> list[str]:
        return ["a"] if not seen.body["context"]["items"] else ["x"]

    answers = iter(["1" * 64, "1" * 64, "2" * 64, "2" * 64, "2" * 64])
    with serving(FakeEdge(items=shows, release_of=lambda _: next(answers))) as edge:
        report = walk(edge, Session("s-1", (Step("click", "a"), Step("add_to_cart", "a"))))
    assert row(report, "recommend", "1" * 64).events == {"click": 1, "add_to_cart": 1}


def test_searches_and_similar_items() -> None:
    steps = (Step("search", "walnut lamp & more"), Step("view", "a b"), Step("view", "c/d"), Step("view", "e"))
    session = Session("s-1", steps)
    with serving(FakeEdge(items=lambda *_: ["c/d"], fallback=True)) as edge:
        report = walk(edge, session, similar=1.0)
    asked = [(seen.path, seen.query) for seen in edge.seen if seen.path != "/events"]
    assert asked == [
        ("/search", {"q": "walnut lamp & more", "k": "10", "user_id": "s-1"}),
        ("/recommend", {}),
        ("/similar/a b", {"k": "10"}),
        ("/recommend", {}),  # an item with a slash cannot be in a path
    ]
    assert edge.events()[0]["query"] == "walnut lamp & more"
    assert row(report, "search").events == {"search": 1}
    assert row(report, "similar").hits == 1
    assert {found.fallbacks for found in report.rows if found.route != "events"} == {1, 2}


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
        report = run(plan(edge, rate=60, duration=1.5, timeout=0.4), crowd_of(40, "?", "b", "c", "d"))
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
    report = run(plan(edge, rate=50, duration=0.4), crowd_of(5, "a"))
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
        report = run(plan(edge, rate=200, duration=1.2, shoppers=60), shopping)
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


def test_one_seed_is_one_order() -> None:
    def order(seed: int) -> list[tuple[str, str]]:
        crowd = Crowd(ReplayPlan(url="http://x", seed=seed, shoppers=5), crowd_of(20, "a", "b", "c"))
        taken = []
        for _ in range(100):
            shopper, turn = crowd.begin()
            shopper.waiting = False  # answered
            taken.append((shopper.user_id, turn.step.about))
        return taken

    assert order(7) == order(7)
    assert order(7) != order(8)
    first_pass = order(7)[:55]
    for user, _ in first_pass:
        mine = [item for name, item in first_pass if name == user]
        assert mine == ["a", "b", "c"][: len(mine)]
    assert len({user for user, _ in first_pass[:10]}) > 2  # interleaved


def test_who_waits_for_an_answer_is_passed_over() -> None:
    crowd = Crowd(ReplayPlan(url="http://x", shoppers=3), crowd_of(3, "a", "b"))
    busy = [crowd.begin()[0] for _ in range(6)]
    assert len(set(map(id, busy))) == 6  # more come in than usual
    busy[0].waiting = False
    assert crowd.begin()[0] is busy[0]


def test_each_pass_may_be_other_shoppers() -> None:
    with serving(FakeEdge()) as edge:
        same = run(plan(edge, rate=100, duration=0.5), crowd_of(4, "a"))
        asked = Counter(seen.body["user_id"] for seen in edge.on("/recommend"))
        edge.seen.clear()
        fresh = run(plan(edge, rate=100, duration=0.5, fresh_shoppers=True), crowd_of(4, "a"))
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
        report = run(plan(edge, duration=0.5, timeout=2.0, in_flight=5), crowd_of(40, "a"))
    assert report.arrivals == 5
    assert report.unsent > 10
    assert not report.held
    assert report.errors == {"timeout": 5}


def test_a_replay_in_a_thread_can_be_stopped() -> None:
    stop, reports, progress = threading.Event(), [], []
    with serving(FakeEdge()) as edge:
        chosen = plan(edge, rate=50, duration=600, progress_every=0.1)
        thread = threading.Thread(
            target=lambda: reports.append(run(chosen, crowd_of(9, "a", "b"), progress=progress.append, stop=stop))
        )
        thread.start()
        while len(edge.seen) < 10:
            sleep(0.01)
        sleep(0.3)
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
        report = run(chosen, [session(number) for number in range(20)])
        lines = [json.loads(line) for line in live.event_lines()]
    assert report.errors == {}
    assert report.events_rejected == 0
    assert {found.route for found in report.rows} == {"recommend", "search", "similar", "events"}
    sent = Counter(line["kind"] for line in lines if line["kind"] != "impression")
    assert sent == sum((Counter(found.events) for found in report.rows), Counter())


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (3, 17), (500, 1000), (0, 12_345), (12_345, 12_345)])
def test_wilson_is_wilson(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trial_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def table(*rows: tuple[float, str, str | None, str, str | None]) -> pa.Table:
    """Minute, shopper, session, kind, item or query."""
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


def test_sessions_are_cut_by_id_or_by_a_pause(tmp_path: Path) -> None:
    events = table(
        (0, "u", "1", "search", "lamp"),
        (1, "v", None, "view", "a"),
        (2, "u", "1", "impression", "b"),
        (3, "u", "1", "click", "b"),
        (4, "u", "2", "view", "c"),
        (20, "v", None, "purchase", "b"),
        (60, "v", None, "view", "c"),
    )
    found = sessions_of(events)
    assert [(session.user_id, [step.about for step in session.steps]) for session in found] == [
        ("u", ["lamp", "b"]),
        ("v", ["a", "b"]),
        ("u", ["c"]),
        ("v", ["c"]),
    ]
    write_table(events, tmp_path / "events.parquet")
    assert read_sessions([tmp_path / "events.parquet"]) == found
    write_table(table((0, "u", "1", "impression", "a")), tmp_path / "shown.parquet")
    with pytest.raises(NotEnoughData, match="nothing to replay"):
        read_sessions(tmp_path / "shown.parquet")


def test_what_can_not_be_replayed_is_refused() -> None:
    with pytest.raises(NotEnoughData):
        run(ReplayPlan(url="http://x"), [Session("u", ())])
    for wrong in ({"rate": 0.0}, {"duration": -1.0}, {"follow": 1.5}, {"k": 0}, {"url": "edge"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            ReplayPlan(**{"url": "http://x", **wrong})  # type: ignore[arg-type]


def test_the_command_reports_and_writes_json(tmp_path: Path) -> None:
    rows = [(n / 10, f"u-{n % 7}", f"s-{n % 7}", "view", f"i-{n}") for n in range(40)]
    write_table(table(*rows), tmp_path / "events.parquet")
    out = tmp_path / "report" / "replay.json"
    with serving(FakeEdge(items=lambda *_: [f"i-{n}" for n in range(20)])) as edge:
        words = ["replay", "--events", str(tmp_path / "events.parquet"), "--url", edge.url, "--rate", "60"]
        result = CliRunner().invoke(app, [*words, "--duration", "1", "--json", str(out)], catch_exceptions=False)
        edge.disturb = lambda *_: asyncio.sleep(0, web.Response(status=500))
        failed = CliRunner().invoke(app, [*words, "--duration", "0.3", "--fail-on-error"])
    assert result.exit_code == 0, result.output
    assert "7 sessions of 7 shoppers" in result.output
    assert RELEASE[:12] in result.output
    assert failed.exit_code == 1
    report = json.loads(out.read_text())
    (answers,) = [found for found in report["rows"] if found["route"] == "recommend"]
    assert answers["hits"] == answers["events"]["click"]
    assert report["latency_ms"]["p99"] > 0


def test_ctrl_c_ends_early_and_reports(tmp_path: Path) -> None:
    write_table(table((0, "u", "1", "view", "a"), (1, "v", "2", "view", "a")), tmp_path / "events.parquet")

    def interrupt() -> None:
        while len(edge.seen) < 5:
            sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with serving(FakeEdge()) as edge:
        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        words = ["replay", "--events", str(tmp_path / "events.parquet"), "--url", edge.url]
        result = CliRunner().invoke(app, [*words, "--duration", "120"], catch_exceptions=False)
    assert result.exit_code == 0
    assert RELEASE[:12] in result.output
    assert signal.getsignal(signal.SIGINT) is before


def test_the_newest_generated_shop_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="caravan shop generate"):
        newest_events(tmp_path / "demo")
    for day in range(1, 10):
        path = tmp_path / "demo" / "shop" / "events" / f"2026-01-0{day}.parquet"
        write_table(table((0, "u", "1", "view", "a")), path)
    assert [path.stem for path in newest_events(tmp_path / "demo")] == [f"2026-01-0{day}" for day in range(3, 10)]


def test_the_shops_key_goes_to_our_own_edges_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "shop_key_shop").write_text("secret")
    s = read_settings(home=tmp_path)
    monkeypatch.setattr(replay_command, "settings", lambda: s)
    assert replay_command.key_for(None) == "secret"
    for ours in (s.edge_address, s.global_edge_address, f"{s.edge_address_of('standby')}/"):
        assert replay_command.key_for(ours) == "secret"
    for other in ("http://127.0.0.1:9999", "https://elsewhere.example", f"{s.edge_address}.example"):
        assert replay_command.key_for(other) is None
