"""Which lines of the edge's access log tell of a shopper who met an arm."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OF_EDGE, OutcomeReader, Watched

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


def outcomes(tmp_path: Path, *lines: dict[str, Any]) -> Any:
    base = {
        "time": "2026-03-01T00:00:00.000000Z", "shopper": "s", "arm": "canary", "release": "b" * 64, "read": "1",
        "path": "/recommend", "code": 200, "flags": "-",
    }  # fmt: skip
    log = tmp_path / "access.log"
    log.write_text("".join(json.dumps({**base, **line}) + "\n" for line in lines))
    return OutcomeReader(WATCHED, log, tmp_path / "answers").outcomes(CanaryPolicy(), now=1_800_000_000.0)


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


def drawn(draw: np.random.Generator, caller: str, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines of the edge and of an engine, good and bad, of shoppers that both kinds of callers may claim to be."""
    edge, engine = [], []
    for _ in range(count):
        at, who = float(draw.uniform(0, 500)), f"s-{draw.integers(20)}"
        arm = str(draw.choice(["control", "canary"]))
        code, waited = int(draw.choice([200, 200, 200, 500, 504, 0])), int(draw.choice([2, 40, 400, 4000]))
        release = WATCHED.canary if arm == "canary" else WATCHED.champion
        edge.append({
            "time": datetime.fromtimestamp(at, UTC).isoformat(), "shopper": who, "arm": arm, "caller": caller,
            "read": "1", "release": release, "path": "/recommend", "code": code, "flags": "-", "sent_ms": 1,
            "waited_ms": waited, "duration_ms": waited + 1,
        })  # fmt: skip
        about = {"t": at, "id": f"{caller}-{at}", "shopper": who, "arm": arm, "shadow": False, "caller": caller,
                 "release": release}  # fmt: skip
        answer = {
            "kind": "recommend", "items": ["a", "b"][: int(draw.integers(3))], "ms": 1.0,
            "fallback": "x" if draw.integers(2) else None, "stale": bool(draw.integers(2)),
        }  # fmt: skip
        did = {"kind": "events", "actions": {"add_to_cart": 1, "click": 1}}
        engine.append(about | (did if draw.integers(2) else answer))
    return edge, engine


def judged(folder: Path, edge: list[dict[str, Any]], engine: list[dict[str, Any]]) -> Any:
    (folder / "answers" / "1970-01-01").mkdir(parents=True)
    edge, engine = sorted(edge, key=lambda line: line["time"]), sorted(engine, key=lambda line: line["t"])
    (folder / "access.log").write_text("".join(json.dumps(line) + "\n" for line in edge))
    path = folder / "answers" / "1970-01-01" / "engine-0000-000000.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in engine))
    reader = OutcomeReader(WATCHED, folder / "access.log", folder / "answers")
    return reader.outcomes(CanaryPolicy(), now=600.0)


@pytest.mark.parametrize("seed", range(100))
def test_who_has_neither_key_nor_token_changes_no_outcome(tmp_path: Path, seed: int) -> None:
    """However many requests and events, in whatever arm and whoever's name: what the judge is given stays the same."""
    draw = np.random.default_rng(seed)
    known, nobody = drawn(draw, str(draw.choice(["shop", "shopper"])), 60), drawn(draw, "nobody", 200)
    alone = judged(tmp_path / "alone", *known)
    both = judged(tmp_path / "both", known[0] + nobody[0], known[1] + nobody[1])
    assert alone.canary_shoppers > 0
    assert any(tally.canary_events for name, tally in alone.tallies.items() if name not in OF_EDGE)
    assert both == alone
