"""Which lines of the edge's access log tell of a shopper who met an arm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OutcomeReader, Watched

WATCHED = Watched(canary="b" * 64, champion="a" * 64, since=0.0, budget_ms=150, deadline_ms=1000, catalog=None)


def met(tmp_path: Path, **other: Any) -> int | float | None:
    """How many shoppers of the canary one line is taken for."""
    line = {
        "time": "2026-03-01T00:00:00.000000Z", "shopper": "s", "arm": "canary", "release": None, "path": "/similar/a",
        "code": 400, "flags": "-", "duration_ms": 0, **other,
    }  # fmt: skip
    log = tmp_path / "access.log"
    log.write_text(json.dumps(line) + "\n")
    return (
        OutcomeReader(WATCHED, log, tmp_path / "answers").outcomes(CanaryPolicy(), now=1_800_000_000.0).canary_shoppers
    )


def test_a_line_counts_only_when_the_edge_read_the_request(tmp_path: Path) -> None:
    assert met(tmp_path, read="1") == 1
    assert met(tmp_path, read=None) == 0
    assert met(tmp_path, read="-") == 0


def test_a_line_from_before_the_edge_said_so_counts_unless_it_was_turned_away_for_its_rate(tmp_path: Path) -> None:
    assert met(tmp_path) == 1
    assert met(tmp_path, flags="RL") == 0
