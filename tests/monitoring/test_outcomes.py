"""Lines of the edge's access log that count as a shopper's exposure to an arm, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OF_EDGE, OutcomeReader, Watched

WATCHED = Watched(canary="b" * 64, champion="a" * 64, since=0.0, budget_ms=150, deadline_ms=1000, catalog=None)


def met(tmp_path: Path, **other: Any) -> int | float | None:
    """Return how many shoppers of the canary one line counts for."""
    line = {
        "time": "2026-03-01T00:00:00.000000Z", "shopper": "s", "arm": "canary", "release": None, "path": "/similar/a",
        "code": 400, "flags": "-", "duration_ms": 0, **other,
    }  # fmt: skip
    log = tmp_path / "access.log"
    log.write_text(json.dumps(line) + "\n")
    return (
        OutcomeReader(WATCHED, log, tmp_path / "answers")
        .read_outcomes(CanaryPolicy(), now=1_800_000_000.0)
        .canary_shoppers
    )


def test_a_line_counts_only_when_the_edge_read_the_request(tmp_path: Path) -> None:
    assert met(tmp_path, read="1") == 1
    assert met(tmp_path, read=None) == 0
    assert met(tmp_path, read="-") == 0


def test_a_line_from_before_the_edge_said_so_counts_unless_it_was_turned_away_for_its_rate(tmp_path: Path) -> None:
    assert met(tmp_path) == 1
    assert met(tmp_path, flags="RL") == 0


def outcomes(tmp_path: Path, *lines: dict[str, Any]) -> Any:
    base = {
        "time": "2026-03-01T00:00:00.000000Z", "shopper": "s", "arm": "canary", "release": "b" * 64, "read": "1",
        "path": "/recommend", "code": 200, "flags": "-",
    }  # fmt: skip
    log = tmp_path / "access.log"
    log.write_text("".join(json.dumps({**base, **line}) + "\n" for line in lines))
    return OutcomeReader(WATCHED, log, tmp_path / "answers").read_outcomes(CanaryPolicy(), now=1_800_000_000.0)


LATE = ["over_budget", "timeouts"]


@pytest.mark.parametrize(
    ("line", "shoppers", "events"),
    [
        # a body that came in two halves, or over a slow network: the engine was quick
        ({"duration_ms": 5000, "sent_ms": 4990, "waited_ms": 2}, 1, []),
        # the engine itself was slow
        ({"duration_ms": 160, "sent_ms": 1, "waited_ms": 155}, 1, ["over_budget"]),
        ({"duration_ms": 980, "sent_ms": 1, "waited_ms": 975}, 1, LATE),
        # no answer came
        ({"duration_ms": 2001, "sent_ms": 1, "waited_ms": None, "code": 504, "flags": "UT"}, 1, LATE),
        ({"duration_ms": 3, "sent_ms": None, "waited_ms": None, "code": 503, "flags": "UF"}, 1, ["errors"]),
        # the client left: at once, before it had sent everything, or when the engine was long due
        ({"duration_ms": 3, "sent_ms": 1, "waited_ms": None, "code": 0, "flags": "DC"}, 0, []),
        ({"duration_ms": 9000, "sent_ms": None, "waited_ms": None, "code": 0, "flags": "DC"}, 0, []),
        ({"duration_ms": 1500, "sent_ms": 1, "waited_ms": None, "code": 0, "flags": "DC"}, 1, LATE),
        # what a client sends that is none: it never reached an engine
        ({"duration_ms": 9000, "sent_ms": None, "waited_ms": None, "code": 408, "flags": "-"}, 1, []),
        # an edge of before
        ({"duration_ms": 980}, 1, LATE),
    ],
)  # fmt: skip
def test_what_counts_as_slow_is_the_engines_time_and_not_the_clients(
    tmp_path: Path, line: dict[str, Any], shoppers: int, events: list[str]
) -> None:
    found = outcomes(tmp_path, line)
    assert found.canary_shoppers == shoppers
    tallies = {name: tally.canary_events for name, tally in found.tallies.items() if name in OF_EDGE}
    assert sorted(name for name, count in tallies.items() if count) == events
