"""`caravan release …`: lists that read well, who let what, and an emergency."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from artifacts.ledger import Ledger
from caravan.cli.main import app
from contracts.errors import CaravanError, NotApproved, NotFound
from contracts.settings import Settings
from monitoring import alerts
from releases.approval import approval, emergency
from releases.approval.approval import Rules
from releases.approval.emergency import EmergencyRequest
from tests.releases.conftest import ledger as ledger  # the fixture
from tests.releases.own_ledger import move_release, walk
from tests.releases.parts import RULES, TWO, Case

FIRST, SECOND = "1" * 64, "2" * 64
PEOPLE = ("reviewer", "admin")
pytestmark = pytest.mark.stack


@pytest.fixture
def s(stack: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Commands see the test's own ledger; everybody signs in with the right password."""
    monkeypatch.setattr("artifacts.ledger.Ledger.of", lambda _s: ledger)
    monkeypatch.setattr("monitoring.alerts._path", lambda _s: tmp_path / "alerts.jsonl")
    for module in ("release", "rollback", "emergency", "approve"):
        monkeypatch.setattr(f"caravan.cli.release.{module}.settings", lambda: stack)
    return stack


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["release", *words], env={"COLUMNS": "80"})


def case(ledger: Ledger, digest: str = FIRST, *, author: str = "schedule", source: str = "shop") -> Case:
    move_release(
        ledger, source, digest, to="built", expected=None, actor="nightly", reason="x", evidence={"author": author}
    )
    walk(ledger, digest, "gated", source=source)
    return Case(ledger=ledger, source=source, digest=digest)


def test_a_note_does_not_hide_the_state_and_no_line_wraps(s: Settings, ledger: Ledger) -> None:
    one = case(ledger)
    one.ask()
    with pytest.raises(NotApproved):
        one.answer("viewer", reason="let me in, please, because I have a very long reason to be let in here")
    assert run("list").output.splitlines()[2].split()[3:6] == ["1", "gated", "(refused)"]
    one.answer("reviewer", reason="better on new items")
    text = run("list").output
    assert text.splitlines()[2].split()[2:5] == [FIRST[:12], "1", "approved"]
    assert len(text.splitlines()) == 3
    assert max(map(len, text.splitlines())) <= 80
    rows = json.loads(run("list", "--json").output)
    assert [(row["digest"], row["state"], row["version"]) for row in rows] == [(FIRST, "approved", 1)]


def test_notes_are_shown_as_such_in_the_story(s: Settings, ledger: Ledger) -> None:
    one = case(ledger)
    one.ask()
    one.answer("reviewer", reason="better [on] new items")
    for words in (("history",), ("show", FIRST[:12])):
        text = run(*words).output
        assert "(asked)" in text
        assert "(approval)" in text
        assert "yes: better [on] new items" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= 80
    assert FIRST in run("show", FIRST[:12]).output
    assert 'approvers: ["reviewer"]' in run("show", FIRST[:12]).output


def test_what_served_at_a_time_and_who_let_it(s: Settings, ledger: Ledger) -> None:
    one, two = case(ledger), case(ledger, SECOND)
    for each, person, reason in ((one, "reviewer", "first of its kind"), (two, "admin", "better on new items")):
        each.answer(person, reason=reason)
        each.move("champion")
    between = (ledger.history("shop", SECOND)[0].at - timedelta(microseconds=1)).isoformat()
    crowned = ledger.champion("shop")
    assert crowned is not None
    moment = (crowned.at - timedelta(microseconds=1)).isoformat()
    text = " ".join(run("history", "--at", moment).output.split())
    assert f"serving {FIRST} (version 1)" in text
    assert "first of its kind" in text
    assert "retired by controller" in text
    assert run("history", "--at", between).exit_code in (0, 1)
    now = " ".join(run("history", "--at", "2999-01-01").output.split())
    assert "approved by admin" in now
    assert "better on new items" in now
    told: list[dict[str, Any]] = json.loads(run("history", "--at", "2999-01-01", "--json").output)
    assert [a["actor"] for a in told[0]["approvals"]] == ["admin"]


def test_who_approves_is_told_what_follows(s: Settings, ledger: Ledger) -> None:
    def told(digest: str) -> str:
        return run("approve", digest, "--reason", "fine", "--dry-run").output

    one = case(ledger)
    assert "next: all shoppers at once, the first one" in told(FIRST)
    one.answer("reviewer", reason="fine")
    one.move("champion")
    case(ledger, SECOND)
    assert "next: shadow, then the canary's steps" in told(SECOND)
    case(ledger, "3" * 64, source="office")
    assert "it would be refused, and the refusal recorded: this region serves shop" in told("3" * 64)


def test_what_served_is_told_of_the_region_whichever_shop_it_served(s: Settings, ledger: Ledger) -> None:
    for digest, source in ((FIRST, "shop"), (SECOND, "office")):
        one = case(ledger, digest, source=source)
        one.answer("reviewer", reason="fine")
        one.move("champion")
    crowned = ledger.champion("office")
    assert crowned is not None
    before = (crowned.at - timedelta(microseconds=1)).isoformat()
    text = " ".join(run("history", "--at", before).output.split())
    assert f"serving {FIRST}" in text
    assert f"{SECOND[:12]} of office" in text  # until when
    assert f"serving {SECOND}" in " ".join(run("history", "--at", "2999-01-01").output.split())
    refused = run("history", "--at", "2999-01-01", "--source", "shop")
    assert isinstance(refused.exception, NotFound)
    assert f"{SECOND[:12]} of office" in refused.exception.what


def wanted(people: tuple[str, str] = PEOPLE, *, reason: str = "now", named: str = "") -> EmergencyRequest:
    return EmergencyRequest(source="shop", digest=FIRST, people=people, reason=reason, named=named)


def test_an_emergency_takes_two_reviewers_and_tells_everybody(s: Settings, ledger: Ledger) -> None:
    one = case(ledger, author="admin")
    move = emergency.approve(s, ledger, RULES, wanted(reason="prices are wrong"))
    assert (move.to_state, move.evidence["emergency"], move.evidence["approvers"]) == ("approved", True, list(PEOPLE))
    assert approval.approvers(ledger, "shop", FIRST) == list(PEOPLE)
    approval.recheck(ledger, RULES, "shop", FIRST)
    approval.recheck(ledger, TWO, "shop", FIRST)
    with pytest.raises(NotApproved, match="1 of 2"):
        approval.recheck(ledger, Rules(reviewers=frozenset({"reviewer"})), "shop", FIRST)
    last = alerts.read_alerts(s)[-1]
    assert (last.severity, last.part) == ("critical", "releases")
    assert "prices are wrong" in last.text
    one.move("rolled_back")
    emergency.approve(s, ledger, RULES, wanted(("admin", "reviewer"), reason="again"))
    assert one.state == "approved"


@pytest.mark.parametrize(
    ("people", "named", "why"),
    [
        (("admin", "admin"), "", "one person"),
        (("admin", "viewer"), "", "viewer is no reviewer"),
        (("", "admin"), "", "nobody is no reviewer"),
        (PEOPLE, "f" * 12, "the answer is about"),
    ],
)
def test_an_emergency_that_may_not_be_is_recorded(
    s: Settings, ledger: Ledger, people: tuple[str, str], named: str, why: str
) -> None:
    one = case(ledger)
    before = len(alerts.read_alerts(s))
    with pytest.raises(NotApproved, match=why):
        emergency.approve(s, ledger, RULES, wanted(people, named=named))
    assert one.state == "gated"
    assert len(one.told("refused")) == 1
    assert one.told("approval") == []
    assert len(alerts.read_alerts(s)) == before


def test_where_three_must_approve_two_in_a_hurry_need_a_third(s: Settings, ledger: Ledger) -> None:
    one, three = case(ledger), Rules(reviewers=RULES.reviewers, required=3)
    with pytest.raises(NotApproved, match="2 of 3 people"):
        emergency.approve(s, ledger, three, wanted())
    assert one.answer("oncall", three).missing == 2
    emergency.approve(s, ledger, three, wanted())
    approval.recheck(ledger, three, "shop", FIRST)


@pytest.mark.parametrize("state", ["approved", "shadow", "champion", "rejected"])
def test_an_emergency_is_for_what_waits(s: Settings, ledger: Ledger, state: Any) -> None:
    one = case(ledger)
    one.move(
        *(["rejected"] if state == "rejected" else ["approved"]), *([state] if state in ("shadow", "champion") else [])
    )
    with pytest.raises(CaravanError, match="no answer is awaited"):
        emergency.approve(s, ledger, RULES, wanted())


def test_the_emergency_command_asks_both_and_can_be_tried(
    s: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def person(_s: Settings, user: str, *, password_file: Any = None) -> str:
        asked.append((user, password_file.read_text() if password_file else "typed"))
        return user

    monkeypatch.setattr("caravan.cli.release.sign_in.person", person)
    monkeypatch.setenv("CARAVAN_SECOND_PASSWORD", "second secret")
    case(ledger)
    words = ("emergency", FIRST[:12], "--reason", "prices are wrong", "--as", "reviewer", "--and", "admin")
    before = ledger.history()
    tried = run(*words, "--dry-run")
    assert "gated -> approved" in tried.output
    assert "signature" in tried.output  # nobody published it
    assert tried.exit_code == 3
    assert (asked, ledger.history()) == ([], before)
    done = run(*words)
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    assert asked == [("reviewer", "typed"), ("admin", "second secret")]
    assert ledger.state("shop", FIRST) == "approved"
    assert "reviewer and admin let release" in done.output
    assert "next: warm-up, then all shoppers at once, the first one" in done.output
    assert "then all shoppers at once" in tried.output


def test_the_stop_command_takes_a_release_off_its_way_and_can_be_tried(
    s: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited: list[str] = []
    monkeypatch.setattr("caravan.cli.release.rollback.arrive", lambda _s, _region, digest: awaited.append(digest))
    monkeypatch.setattr("caravan.cli.release.sign_in.person_or_os_user", lambda _s, user, **_: (user, True))
    case(ledger).move("approved", "champion")
    case(ledger, SECOND).move("approved", "shadow", "canary_1")
    words = ("stop", SECOND[:12], "--reason", "odd answers")
    before = ledger.history()
    tried = run(*words, "--dry-run")
    assert tried.exit_code == 0, f"{tried.output} {tried.exception}"
    assert "canary_1 -> rolled_back" in tried.output
    assert (awaited, ledger.history()) == ([], before)
    done = run(*words)
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    assert "oncall stops it: odd answers" in done.output
    assert (ledger.state("shop", SECOND), awaited) == ("rolled_back", [FIRST])
    again = run(*words)
    assert isinstance(again.exception, CaravanError)
    assert "not in progress" in str(again.exception)
    refused = run("stop", FIRST[:12], "--reason", "odd answers", "--dry-run")
    assert refused.exit_code == 3
    assert "would be refused" in refused.output
    assert "rollback" in refused.output


def test_who_stops_a_release_while_nobody_can_sign_in_is_told_of(
    s: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan.cli.release.rollback.arrive", lambda *_: None)
    monkeypatch.setattr("caravan.cli.release.sign_in.answering", lambda _s: False)
    case(ledger).move("approved", "champion")
    case(ledger, SECOND).move("approved", "shadow")
    assert run("stop", SECOND[:12], "--reason", "odd answers").exit_code == 0
    assert "not signed in" in ledger.history("shop", SECOND)[-1].actor
    assert "find out who it was" in alerts.read_alerts(s)[-1].text
