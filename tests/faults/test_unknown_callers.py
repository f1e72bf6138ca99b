"""A small count of what `make soak` runs with a large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring import outcomes, shadow
from monitoring.canary_judge import Decision
from tests.faults import unknown_callers


def test_who_has_neither_key_nor_token_changes_no_verdict() -> None:
    assert unknown_callers.run(seed=0, count=100).failures == []


def test_the_cases_come_to_every_kind_of_verdict(tmp_path: Path) -> None:
    """Otherwise, that none changed would say little."""
    judged = [unknown_callers.one(seed, tmp_path / str(seed))[0] for seed in range(40)]
    found = {verdict.decision for one in judged for verdict in one.verdicts}
    assert {Decision.HOLD, Decision.ADVANCE, Decision.ABORT, Decision.PROMOTE} <= found
    assert all(one.shadow.asked > 0 for one in judged)


@pytest.mark.parametrize("module", [outcomes, shadow])
def test_a_reader_that_counts_everybody_is_found_out(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_counted", lambda _line: True)
    assert unknown_callers.run(seed=0, count=5).failures
