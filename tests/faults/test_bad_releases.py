"""Bad releases of every kind are found, named and kept away; a good one becomes champion."""

from __future__ import annotations

import time

import pytest

from releases.rollback import rollback
from tests.faults.bad_releases import CASES, judged
from tests.scenarios.live_canary import LiveCanary

#: Seconds in which a rollback must have reached all shoppers.
WITHIN = 10.0
pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_release_is_named_and_kept_away(shop: LiveCanary, name: str) -> None:
    assert judged(shop, name) is None


def test_a_good_release_becomes_champion_and_no_request_fails(shop: LiveCanary) -> None:
    good = shop.release(seed=1)
    with shop.traffic():
        shop.approve(good)
        shop.wait(good, "champion", "rolled_back", seconds=400)
        assert shop.state(good) == "champion", shop.story(good)
        shop.await_serving(good)
    assert shop.report is not None
    assert shop.report.errors == {}
    states = [move.to_state for move in shop.ledger.history(shop.source, good)]
    road = ["approved", "shadow", "canary_1", "canary_5", "canary_25", "canary_50", "champion"]
    assert states == ["built", "gated", "approval", *road]
    assert shop.ledger.verify() > 0


def test_a_rollback_reaches_all_shoppers_in_seconds_and_no_request_fails(shop: LiveCanary) -> None:
    first = shop.ledger.newest("champion", source=shop.source)
    assert first is not None
    better = shop.release(seed=2)
    with shop.traffic():
        shop.approve(better)
        shop.wait(better, "champion", seconds=400)
        shop.await_serving(better)
    with shop.traffic():
        time.sleep(2.0)  # of the requests whose errors are counted below, some come before it and some after
        began = time.monotonic()
        rollback(shop.ledger, shop.source, person="oncall", reason="carts fell")
        while shop.asked() != first.digest:
            assert time.monotonic() < began + WITHIN, "the former champion does not answer"
        time.sleep(2.0)
    assert shop.state(better) == "rolled_back"
    assert shop.report is not None
    assert shop.report.errors == {}
    assert shop.report.requests / shop.report.seconds > 80
