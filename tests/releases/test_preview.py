"""What an answer would do is foreseen without writing, and comes true when the answer is given."""

from __future__ import annotations

from typing import cast

import pytest

from artifacts.ledger import Ledger
from releases.approval.approval import ApprovalAnswer, Rules, answer
from releases.approval.preview import preview
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger

ONE = Rules(reviewers=frozenset({"admin", "reviewer", "oncall"}))
TWO = Rules(reviewers=ONE.reviewers, required=2)


def says(person: str = "reviewer", *, approves: bool = True, reason: str = "looks right") -> ApprovalAnswer:
    return ApprovalAnswer(
        source="shop", digest=DIGEST, named=DIGEST[:12], person=person, door="command line", approves=approves,
        reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize("rules", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("before", ["gated", "rolled_back"])
@pytest.mark.parametrize("already", [None, "admin", "reviewer"])
@pytest.mark.parametrize("approves", [True, False])
def test_what_is_foreseen_comes_true(rules: Rules, before: str, already: str | None, *, approves: bool) -> None:
    road: list[str] = ["built", "gated", *(["approved", "rolled_back"] if before == "rolled_back" else [])]
    rows = RowLedger(*road)
    if already is not None:
        rows.add("approval", {"approval": True, "actor": already})
    known = len(rows.moves)
    found = preview(cast("Ledger", rows), rules, says(approves=approves))
    assert len(rows.moves) == known, "nothing is written"
    assert (found.before, found.objection) == (before, None)
    assert found.approvers == ((already,) if already else ())
    assert answer(cast("Ledger", rows), rules, says(approves=approves)) == found.outcome
    assert len(rows.moves) - known == found.rows


def test_what_would_be_refused_is_said() -> None:
    rows = cast("Ledger", RowLedger("built", "gated"))
    for given, why in ((says("viewer"), "viewer is no reviewer"), (says(reason=" "), "an answer needs a reason")):
        found = preview(rows, ONE, given)
        assert found.outcome is None
        assert found.objection is not None
        assert found.objection[0] == why
    unknown = preview(cast("Ledger", RowLedger()), ONE, says())
    assert (unknown.before, unknown.outcome) == (None, None)
