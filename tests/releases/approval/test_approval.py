"""Who lets a release go on, on the real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import CaravanError, NotApproved, NotFound
from contracts.settings import Settings
from releases.approval import approval
from releases.approval.approval import Rules
from tests.releases.own_ledger import move_release
from tests.releases.parts import RULES, TWO, Case, alone, gated

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module", autouse=True)
def _alone(stack: Settings) -> Iterator[None]:
    with alone(stack):
        yield


@pytest.fixture
def case(stack: Settings) -> Case:
    return gated(stack)


def test_one_reviewer_approves_and_the_ledger_says_who_where_and_why(case: Case) -> None:
    case.ask()
    outcome = case.answer("reviewer", reason="  better on\nnew items ")
    assert (outcome.state, outcome.missing) == ("approved", 0)
    move = case.told("approved")[0]
    assert (move.actor, move.reason) == ("reviewer", "better on new items")
    assert move.evidence["door"] == "command line"
    assert move.evidence["digest"] == case.digest
    assert move.evidence["approvers"] == ["reviewer"]
    approval.recheck(case.ledger, RULES, case.source, case.digest)


def test_one_reviewer_rejects(case: Case) -> None:
    assert case.answer("reviewer", approves=False, reason="worse on new items").state == "rejected"
    with pytest.raises(NotApproved, match="no answer is awaited"):
        case.answer("admin")


@pytest.mark.parametrize(
    ("person", "named", "reason", "why"),
    [
        ("viewer", "", "fine", "viewer is no reviewer"),
        ("caravan", "", "fine", "caravan is no reviewer"),
        ("", "", "fine", "nobody is no reviewer"),
        ("reviewer", "f" * 64, "fine", "the answer is about ffffffffffff"),
        ("reviewer", "too short", "fine", "the answer is about"),
        ("reviewer", " ", "fine", "no digest"),
        ("reviewer", "", " \n\t ", "an answer needs a reason"),
        ("reviewer", "", "\0\ud800", "an answer needs a reason"),
        ("viewer\0\ud800" + "x" * 500, "\0\ud800", "\0\ud800", "no reviewer"),
    ],
)
@pytest.mark.parametrize("approves", [True, False])
def test_what_is_refused_is_recorded_and_moves_nothing(
    case: Case, person: str, named: str, reason: str, why: str, approves: bool
) -> None:
    with pytest.raises(NotApproved, match=why) as refused:
        case.answer(person, named=named, reason=reason, approves=approves)
    assert refused.value.remedy
    (told,) = case.told("refused")
    assert why in told.reason
    assert told.actor == person if person.isalpha() else len(told.actor) <= 128
    assert told.evidence["door"] == "command line"
    assert case.state == "gated"
    assert case.ledger.verify() > 0


def test_a_digest_that_is_too_short_is_refused_whatever_it_begins_with(case: Case) -> None:
    with pytest.raises(NotApproved, match="the answer is about"):
        case.answer("reviewer", named=case.digest[:11])
    assert case.answer("reviewer", named=case.digest[:12].upper()).state == "approved"


def test_an_unknown_release_is_not_found(case: Case) -> None:
    stranger = Case(ledger=case.ledger, source=case.source, digest="e" * 64)
    with pytest.raises(NotFound, match="no release eeeeeeeeeeee"):
        stranger.answer("reviewer")


def test_no_answer_in_time_rejects(case: Case) -> None:
    asked = case.ask()
    assert not approval.expire(case.ledger, RULES, case.source, case.digest)
    late = asked.at + RULES.timeout
    assert approval.expire(case.ledger, RULES, case.source, case.digest, now=late)
    assert case.state == "rejected"
    assert case.told("rejected")[0].actor == "timeout"


def test_an_answer_after_the_timeout_is_refused_and_rejects(case: Case) -> None:
    case.ask(now=datetime.now(UTC) - timedelta(days=2))
    with pytest.raises(NotApproved, match="after the time to answer was over"):
        case.answer("reviewer")
    assert case.state == "rejected"
    assert case.told("refused")


def test_the_time_that_people_were_told_counts_though_the_setting_changes(case: Case) -> None:
    case.ask(now=datetime.now(UTC) - timedelta(hours=2))
    hasty = Rules(reviewers=RULES.reviewers, timeout=timedelta(hours=1))
    assert not approval.expire(case.ledger, hasty, case.source, case.digest)
    assert case.answer("reviewer", hasty).state == "approved"


def test_asking_again_keeps_the_request_that_runs(case: Case) -> None:
    assert case.ask().sequence == case.ask().sequence


def test_asking_again_after_the_time_is_over_is_no_second_period(case: Case) -> None:
    case.ask(now=datetime.now(UTC) - timedelta(days=2))
    with pytest.raises(NotApproved, match="nobody answered by 20") as late:
        case.ask()
    assert "offer a newer one" in late.value.remedy
    assert case.state == "rejected"
    assert (case.told("rejected")[0].actor, len(case.told("asked"))) == ("timeout", 1)


def test_where_one_of_two_approved_it_is_not_said_that_nobody_answered(case: Case) -> None:
    began = datetime.now(UTC) - timedelta(days=2)
    case.ask(TWO, now=began)
    case.answer("reviewer", TWO, now=began)
    with pytest.raises(NotApproved):
        case.answer("viewer", TWO, now=began)
    assert approval.expire(case.ledger, TWO, case.source, case.digest)
    reason = case.told("rejected")[0].reason
    assert reason.startswith("1 of 2 approvals by 20")
    assert reason.endswith("of reviewer; answers not counted: 1")


def test_after_a_rollback_people_are_asked_afresh(case: Case) -> None:
    case.answer("reviewer")
    case.move("rolled_back")
    case.ask(now=datetime.now(UTC) - timedelta(days=2))
    asked = case.ask()
    assert asked.evidence["until"] > datetime.now(UTC).isoformat()
    assert case.answer("admin").state == "approved"


def test_two_people_must_approve_where_two_are_required(case: Case) -> None:
    assert case.answer("reviewer", TWO).missing == 1
    assert case.answer("reviewer", TWO).missing == 1, "the same person twice is one person"
    with pytest.raises(NotApproved, match="has 0 of 2|has 1 of 2"):
        approval.recheck(case.ledger, TWO, case.source, case.digest)
    assert case.answer("oncall", TWO).state == "approved"
    approval.recheck(case.ledger, TWO, case.source, case.digest)


def test_the_author_is_not_the_first_of_two(stack: Settings) -> None:
    case = gated(stack, author="reviewer")
    with pytest.raises(NotApproved, match="cannot be the first"):
        case.answer("reviewer", TWO)
    assert case.answer("oncall", TWO).missing == 1
    assert case.answer("reviewer", TWO).state == "approved"


def test_who_is_no_reviewer_any_more_does_not_count(case: Case) -> None:
    case.answer("oncall", TWO)
    fewer = Rules(reviewers=frozenset({"reviewer", "admin"}), required=2)
    assert case.answer("reviewer", fewer).missing == 1
    assert case.answer("admin", fewer).state == "approved"


def test_a_rolled_back_release_needs_a_fresh_approval(case: Case) -> None:
    case.answer("reviewer")
    case.move("shadow", "canary_1", "rolled_back")
    with pytest.raises(NotApproved, match="0 of 1"):
        approval.recheck(case.ledger, RULES, case.source, case.digest)
    case.move("approved")
    with pytest.raises(NotApproved, match="0 of 1"):
        approval.recheck(case.ledger, RULES, case.source, case.digest)
    case.move("rolled_back")
    assert case.answer("admin").state == "approved"
    approval.recheck(case.ledger, RULES, case.source, case.digest)


def test_who_rejects_a_rolled_back_release_after_all_does_not_approve_it(case: Case) -> None:
    case.answer("reviewer")
    case.move("rolled_back")
    case.answer("reviewer", TWO)
    assert case.answer("reviewer", TWO, approves=False).state == "rolled_back"
    assert case.answer("admin", TWO).missing == 1


def test_a_state_that_was_set_without_answers_counts_for_nothing(case: Case) -> None:
    case.move("approved")
    with pytest.raises(NotApproved, match="0 of 1 approvals"):
        approval.recheck(case.ledger, RULES, case.source, case.digest)


def test_an_emergency_takes_two(case: Case) -> None:
    approval.answer(case.ledger, TWO, case.says("reviewer"))
    evidence = {"emergency": True}
    move_release(
        case.ledger,
        case.source,
        case.digest,
        to="approved",
        expected="gated",
        actor="oncall",
        reason="fire",
        evidence=evidence,
    )
    with pytest.raises(NotApproved, match="1 of 2"):
        approval.recheck(case.ledger, RULES, case.source, case.digest)


def test_only_the_first_release_of_all_needs_nobody(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    case = gated(stack)
    move_release(
        case.ledger, case.source, case.digest, to="approved", expected="gated", actor="nightly", reason="first",
        evidence={"first_release": True},
    )  # fmt: skip
    own = case.ledger.history(case.source)
    history = case.ledger.history
    # this ledger is shared by many tests: look at it as if this source were alone
    monkeypatch.setattr(case.ledger, "history", lambda *about: history(*(about or (case.source,))))
    assert not any(move.to_state == "champion" for move in own)
    approval.recheck(case.ledger, RULES, case.source, case.digest)
    case.move("champion")
    approval.recheck(case.ledger, RULES, case.source, case.digest)  # looked at again: it was the first
    case.move("rolled_back")
    with pytest.raises(NotApproved):
        approval.recheck(case.ledger, RULES, case.source, case.digest)
    second = gated(stack, source=case.source, version=2)
    monkeypatch.setattr(second.ledger, "history", lambda *about: history(*(about or (case.source,))))
    move_release(
        second.ledger, case.source, second.digest, to="approved", expected="gated", actor="nightly", reason="first too",
        evidence={"first_release": True},
    )  # fmt: skip
    with pytest.raises(NotApproved, match="0 of 1"):
        approval.recheck(second.ledger, RULES, case.source, second.digest)


@pytest.mark.parametrize("required", [1, 2])
def test_of_racing_answers_all_are_kept_and_one_moves_it(stack: Settings, required: int) -> None:
    rules = Rules(reviewers=RULES.reviewers, required=required)
    for _ in range(4):
        case = gated(stack)

        def say(person: str, case: Case = case) -> str:
            try:
                return case.answer(person, rules).state
            except CaravanError as error:
                return type(error).__name__

        with ThreadPoolExecutor(3) as pool:
            came = list(pool.map(say, ["reviewer", "admin", "oncall"]))
        assert case.state == "approved"
        assert len(case.told("approved")) == 1
        assert set(came) <= {"approved", "NotApproved", "gated"}
        approval.recheck(case.ledger, rules, case.source, case.digest)


def test_yes_and_no_at_once_end_in_one_of_them(stack: Settings) -> None:
    for _ in range(4):
        case = gated(stack)

        def say(about: tuple[str, bool], case: Case = case) -> str:
            try:
                return case.answer(about[0], approves=about[1]).state
            except CaravanError as error:
                return type(error).__name__

        with ThreadPoolExecutor(2) as pool:
            came = list(pool.map(say, [("reviewer", True), ("admin", False)]))
        assert case.state in {"approved", "rejected"}
        assert set(came) <= {"approved", "rejected", "NotApproved", "Conflict"}
        assert len(case.told("approved")) + len(case.told("rejected")) == 1
