"""Who counts in a canary: known callers, of one origin without the shop's key a small part, and never too many."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring import exposures
from monitoring.canary_policy import CanaryPolicy
from monitoring.exposures import UNREADABLE, Exposures, read_origin
from monitoring.guardrails import Arm, Outcomes, count_outcomes
from monitoring.outcomes import OutcomeReader, Watched

WATCHED = Watched(canary="b" * 64, champion="a" * 64, since=0.0, budget_ms=150, deadline_ms=1000, catalog=None)
START = 1_700_000_000.0


def line(number: int, arm: str, **other: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(START + number / 100, UTC).isoformat()
    origin = str(IPv4Address((10 << 24) + number))
    return {
        "time": at, "shopper": f"s-{number}", "arm": arm, "caller": "shopper", "origin": origin,
        "release": ("b" if arm == "canary" else "a") * 64, "read": "1", "path": "/recommend", "code": 200, "flags": "-",
        "sent_ms": 1, "waited_ms": 2, "duration_ms": 3, **other,
    }  # fmt: skip


def read(folder: Path, lines: list[dict[str, Any]]) -> tuple[Outcomes, OutcomeReader]:
    log = folder / "access.log"
    log.write_text("".join(json.dumps(one) + "\n" for one in lines))
    reader = OutcomeReader(WATCHED, log, folder / "answers")
    return reader.read_outcomes(CanaryPolicy(), now=START + 1e6), reader


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def both_arms(count: int, first: int = 0, **other: Any) -> list[dict[str, Any]]:
    return [line(first + n, ("control", "canary")[n % 2], **other) for n in range(count)]


def test_one_address_without_the_shops_key_holds_at_most_a_hundredth_of_an_arm_and_the_rest_is_told(
    tmp_path: Path,
) -> None:
    honest, crowd = both_arms(1000), both_arms(400, first=5000, origin="203.0.113.7", code=500)
    found, reader = read(tmp_path, honest + crowd)
    held = Counter(e.arm for e in reader.shoppers.exposures() if e.origin == "203.0.113.7")
    assert 1 <= max(held.values()) <= 0.01 * min(float(found.control_shoppers or 0), float(found.canary_shoppers or 0))
    uncounted = 400 - held.total()
    assert found.tallies["errors"].canary_events == held["canary"]
    assert len(found.left_out) == 1
    assert f"{uncounted} questions" in found.left_out[0]
    assert "the shop's key" in found.left_out[0]
    # and those whom the shop's server names may all come from one address
    everybody, _ = read(tmp_path, honest + [{**one, "caller": "shop", "origin": None} for one in crowd])
    assert (everybody.control_shoppers, everybody.canary_shoppers) == (700, 700)
    assert everybody.left_out == ()


def test_a_shop_that_only_browsers_ask_counts_one_shopper_of_each_address_from_the_first_on(tmp_path: Path) -> None:
    found, _ = read(tmp_path, both_arms(40))
    assert (found.control_shoppers, found.canary_shoppers) == (20, 20)
    assert found.left_out == ()


def test_who_counts_does_not_depend_on_the_arm_so_the_coins_stay_fair() -> None:
    """Whether the next shopper of an origin is let in is the same for both arms, whatever came before."""
    draw = np.random.default_rng(1)
    refused: list[tuple[bool, bool]] = []
    for _ in range(60):
        size = int(draw.integers(300, 900))
        met, crowd = draw.choice(["control", "canary"], size), draw.random(size) < 0.01
        told = []
        for arm in ("control", "canary"):
            shoppers = Exposures()
            for n in range(size):
                shoppers.expose(f"s-{n}", met[n], float(n), "crowd" if crowd[n] else None)
            told.append(shoppers.expose("next", arm, 1e3, "crowd"))  # type: ignore[arg-type]
        refused.append((told[0], told[1]))
    assert all(one == other for one, other in refused)
    assert {one for one, _ in refused} == {True, False}


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ({"caller": "shop", "origin": "10.0.0.1"}, None),
        ({}, None),
        ({"caller": "shopper", "origin": "203.0.113.7"}, "203.0.113.7"),
        ({"caller": "shopper", "origin": "::ffff:203.0.113.7"}, "203.0.113.7"),
        ({"caller": "shopper", "origin": "2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::"),
        ({"caller": "shopper", "origin": "2001:db8:1:2::99"}, "2001:db8:1:2::"),
        ({"caller": "shopper"}, UNREADABLE),
        ({"caller": "shopper", "origin": "x, y"}, UNREADABLE),
    ],
)
def test_an_origin_is_an_address_or_a_network_of_one_household(written: dict[str, Any], origin: str | None) -> None:
    assert read_origin(written) == origin


@pytest.mark.slow
@pytest.mark.parametrize("door", ["edge", "events"])
def test_a_million_invented_shoppers_cost_a_bounded_memory(door: str) -> None:
    """Each with an address of its own, which is more than an attacker has; or only events, and never a question."""
    shoppers = Exposures()
    arms: tuple[Arm, Arm] = ("control", "canary")
    for n in range(1000):
        shoppers.expose(f"honest-{n}", arms[n % 2], float(n), None)
    before = resident_bytes()
    for n in range(1_000_000):
        who, at = f"invented-{n:032x}", 1000.0 + n / 1000
        if door == "edge":
            shoppers.expose(who, arms[n % 2], at, f"o-{n}")
        else:
            shoppers.add_event(who, "purchases", at)
    assert shoppers.kept <= exposures.MAX_SHOPPERS + exposures.MAX_WAITING
    assert resident_bytes() - before < 256e6
    # those who were there before are there still, and their events count
    shoppers.add_event("honest-1", "purchases", 3000.0)
    assert [e.shopper for e in shoppers.events()].count("honest-1") == 1
    if door == "edge":
        assert "beyond 200,000" in shoppers.left_out.say()[0]


@pytest.mark.slow
def test_a_look_at_as_many_shoppers_as_are_kept_takes_no_longer_than_an_abort_may() -> None:
    shoppers = Exposures()
    arms: tuple[Arm, Arm] = ("control", "canary")
    for n in range(exposures.MAX_SHOPPERS):
        shoppers.expose(f"s-{n}", arms[n % 2], float(n), f"o-{n}")
        shoppers.add_event(f"s-{n}", "clicks", n + 1.0)
    policy = CanaryPolicy()
    until = dict.fromkeys((g.name for g in policy.guardrails), 1e9)
    began = time.process_time()
    count_outcomes(policy.guardrails, shoppers.exposures(), shoppers.events(), complete_until=until)
    assert time.process_time() - began < 3.0


def test_events_that_come_before_the_edges_line_count_and_those_of_nobody_are_forgotten() -> None:
    shoppers = Exposures(max_waiting=3)
    shoppers.add_event("early", "clicks", 11.0)
    shoppers.add_event("early", "clicks", 9.0)
    shoppers.add_event("early", "clicks", 12.0)
    shoppers.expose("early", "canary", 10.0, None)
    assert [(e.shopper, e.at) for e in shoppers.events()] == [("early", 12.0)]
    for n in range(9):
        shoppers.add_event(f"nobody-{n}", "clicks", 20.0)
    assert shoppers.kept == 1 + 3
    shoppers.expose("later", "canary", 200.0, None)
    shoppers.forget_old()
    assert shoppers.kept == 2
