"""What each waiting task of `release` makes of the ledger's rows, and what a person then reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.release import State
from releases.progress import ROAD, evidence, read_progress, says
from tests.caravan_airflow.ledger_rows import START, rows

UNTIL = {"until": "2099-01-01T00:00:00+00:00"}
ASKED = ("approved", "rolled_back", ("asked", UNTIL))
GATED = ("built", "gated")


@pytest.mark.parametrize(
    ("road", "step", "outcome"),
    [
        ((), "approved", "waiting"),
        (GATED, "approved", "waiting"),
        ((*GATED, "asked", "refused", "approval"), "approved", "waiting"),
        ((*GATED, "approved"), "approved", "passed"),
        ((*GATED, "approved", "champion", "retired"), "approved", "passed"),
        ((*GATED, "rejected"), "approved", "stopped"),
        ((*GATED, "approved"), "shadow", "waiting"),
        ((*GATED, "approved", "shadow"), "shadow", "waiting"),
        ((*GATED, "approved", "shadow", "canary_1"), "shadow", "passed"),
        ((*GATED, "approved", "champion"), "shadow", "skipped"),
        ((*GATED, "approved", "champion"), "champion", "passed"),
        ((*GATED, "approved", "champion", "retired"), "champion", "passed"),
        ((*GATED, "approved", "shadow", "canary_1", "rolled_back"), "shadow", "passed"),
        ((*GATED, "approved", "shadow", "canary_1", "rolled_back"), "canary_1", "stopped"),
        ((*GATED, "approved", "shadow", "canary_1", "rolled_back"), "champion", "stopped"),
        ((*GATED, "approved", "rejected"), "shadow", "stopped"),
        # a second chance: what was reached before the new approval does not count
        ((*GATED, "approved", "shadow", "canary_1", "rolled_back", "approved"), "shadow", "waiting"),
        ((*GATED, "approved", "rolled_back"), "approved", "stopped"),
        ((*GATED, *ASKED), "approved", "waiting"),
        ((*GATED, *ASKED, ("approval", {"approval": True})), "approved", "waiting"),
        ((*GATED, *ASKED, ("approval", {"approval": False})), "approved", "stopped"),
        ((*GATED, "approved", "rolled_back", ("asked", {"until": START.isoformat()})), "approved", "stopped"),
    ],
)  # fmt: skip
def test_a_step_is_read_from_the_ledger(road: tuple[str, ...], step: State, outcome: str) -> None:
    assert read_progress(rows(*road), step).outcome == outcome


@given(reached=st.integers(0, len(ROAD)), end=st.sampled_from(["", "rolled_back"]))
def test_at_any_time_the_steps_before_are_passed_and_those_after_are_not(reached: int, end: str) -> None:
    moves = rows(*GATED, *ROAD[:reached], *([end] if end and 0 < reached < len(ROAD) else []))
    outcomes = [read_progress(moves, step).outcome for step in ROAD]
    passed = reached if reached in (0, 1, len(ROAD)) else reached - 1
    passed = 1 if reached == 1 and not end else passed
    if not end or reached in (0, len(ROAD)):
        assert outcomes == ["passed"] * passed + ["waiting"] * (len(ROAD) - passed)
    else:
        assert set(outcomes[reached:]) <= {"stopped"}


def test_the_rows_words_are_what_a_person_reads() -> None:
    last = rows(*GATED, ("rolled_back", {"actor": "controller", "reason": "abort: errors", "guardrail": "errors"}))[-1]
    assert "gated -> rolled_back, by controller: abort: errors" in says(last)
    assert '"guardrail": "errors"' in evidence(last)
    assert evidence(rows("built")[0]) == ""
    huge = rows(("built", {"x": "y" * 100_000}))[0]
    assert len(evidence(huge)) < 5000
