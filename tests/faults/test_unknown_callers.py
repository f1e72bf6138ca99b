"""A small count of what `make soak` runs with a large one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.release import State
from monitoring import outcomes, shadow
from monitoring.canary_judge import Decision
from monitoring.log_tail import Tail
from releases.rollout.region import LiveRegion
from tests.faults import unknown_callers
from tests.faults.bad_releases import shuffled
from tests.faults.meddlers import Meddlers
from tests.scenarios.live_canary import LiveCanary


@pytest.mark.slow
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


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("spoil", "ends"), [(None, "champion"), (shuffled, "rolled_back")])
def test_at_a_running_edge_they_do_not_count(
    shop: LiveCanary, spoil: Callable[[Path], None] | None, ends: State
) -> None:
    """A good release becomes champion and one that answers nonsense does not, on the word of the shop's shoppers."""
    release, meddlers = shop.release(change=spoil), Meddlers(shop.s)
    log = LiveRegion(shop.s).access_log
    tail = Tail(log, unknown_callers.time_of, time.time())
    with shop.traffic(), meddlers.meddling():
        shop.approve(release)
        shop.wait(release, "champion", "rolled_back", seconds=400)
    assert shop.state(release) == ends, shop.story(release)
    lines = list(tail.read())
    known = {line["shopper"] for line in lines if line["caller"] != "nobody"}
    arms = [line["arm"] for line in lines if line["caller"] == "nobody"]
    assert len(arms) > 50
    assert arms.count("canary") > 5
    assert meddlers.dropped > 2
    weighed = shop.ledger.history(shop.source, release)[-1].evidence["guardrails"]
    assert all(one["canary_shoppers"] + one["control_shoppers"] <= len(known) for one in weighed)
