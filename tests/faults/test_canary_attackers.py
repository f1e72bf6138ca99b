"""A small count of what `make soak` runs with a large one, and what the page says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monitoring.exposures import ORIGIN_SHARE
from tests.faults import canary_attackers
from tests.faults.canary_attackers import ATTACKS, BEGIN, END, SHARES, Forged, gather, simulate
from tests.scenarios import canary_judges
from tests.scenarios.canary_judges import Left


@pytest.mark.slow
def test_attackers_at_one_address_forge_no_more_than_chance() -> None:
    assert canary_attackers.run(seed=0, count=300).failures == []


def test_a_judge_that_leaves_no_origin_out_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    weigh = canary_judges.weigh
    monkeypatch.setattr(canary_judges, "weigh", lambda *about, **left: weigh(*about, **{**left, "left": Left()}))
    said = canary_attackers.run(seed=0, count=100).failures
    assert any("ABORT" in one for one in said)
    assert any("PROMOTE" in one for one in said)


def test_a_simulation_that_was_stopped_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    whole = gather(30, None)
    state = tmp_path / "state.json"
    gather(30, state)
    kept = state.read_text()
    assert gather(30, state) == whole
    assert state.read_text() == kept
    assert simulate(ATTACKS[0], 0, 30)[SHARES.index(ORIGIN_SHARE)] == simulate(ATTACKS[0], 0, 30, (ORIGIN_SHARE,))[0]
    assert sum([Forged(releases=1, few=1), Forged(releases=2)], Forged()) == replace(Forged(), releases=3, few=1)


def test_the_published_curves_are_within_alpha_and_beta_at_one_percent() -> None:
    page = (Path(__file__).parents[2] / "docs" / "canary.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.partition(BEGIN)[2].partition(END)[0].splitlines() if "[" in line]
    rows = [row for row in rows if len(row) == len(SHARES) + 2]
    assert len(rows) == len(ATTACKS)
    for row in rows:
        for share, cell in zip(SHARES, row[2:], strict=True):
            if share <= ORIGIN_SHARE:
                assert float(cell.partition("%")[0]) <= 1.0, row
