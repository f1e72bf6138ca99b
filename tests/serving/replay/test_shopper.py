"""Shoppers of a replay: what they ask and send back, and who of them is next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ingestion.rules.one_event import judge_event
from serving.replay.plan import ReplayPlan
from serving.replay.sessions import Session, Step
from serving.replay.shopper import Crowd
from tests.serving.replay.fake_edge import FakeEdge, Seen, serving
from tests.serving.replay.recordings import crowd_of, row, told, walk

SHOPPING = Session(
    "s-1",
    (Step("click", "a"), Step("add_to_cart", "a", 5.0), Step("view", "b"), Step("purchase", "c"), Step("click", "b")),
)


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
        judged, reason = judge_event(event, datetime.now(UTC))
        assert reason == ""
        assert judged is not None
        assert abs(judged["event_time"] - datetime.now(UTC)) < timedelta(minutes=1)


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


def test_one_seed_is_one_order() -> None:
    def order(seed: int) -> list[tuple[str, str]]:
        crowd = Crowd(ReplayPlan(url="http://x", seed=seed, shoppers=5), crowd_of(20, "a", "b", "c"))
        taken = []
        for _ in range(100):
            shopper, turn = crowd.begin_turn()
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
    busy = [crowd.begin_turn()[0] for _ in range(6)]
    assert len(set(map(id, busy))) == 6  # more come in than usual
    busy[0].waiting = False
    assert crowd.begin_turn()[0] is busy[0]
