"""A small count of what `make soak` does at length: broken input files."""

from __future__ import annotations

from tests.faults.broken_files import run


def test_broken_files_lose_no_row_and_execute_nothing() -> None:
    result = run(seed=1, count=60)
    assert not result.failures
    assert result.count == 60
    assert result.refused
    assert result.kept
    assert len(result.reasons) > 5
