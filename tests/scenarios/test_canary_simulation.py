"""The simulation judges as the real judge does, and a small one keeps the promises of the large one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, binomtest, mannwhitneyu

from monitoring.canary_judge import Decision, advance, begin, judge
from monitoring.canary_policy import STEPS, CanaryPolicy
from monitoring.guardrails import Guardrail, Outcomes, Tally
from tests.scenarios import canary_judges as judges
from tests.scenarios import canary_page, canary_simulation
from tests.scenarios.canary_simulation import POLICY, USUAL, Cell, interval, run
from tests.scenarios.canary_streams import KINDS, WINDOWS, Kind, Stream, Traffic, stream, traffic

RELEASES = 300
#: P(Binomial(300, .01) > ALLOWED) <= 1e-5: a cell exactly at its bound would fail once in 100,000 runs.
ALLOWED = int(binom.isf(1e-5, RELEASES, 0.01))


def test_the_vectorized_judge_is_the_real_one() -> None:
    steps = tuple(replace(s, minimum_s=0.0, maximum_s=1e9) for s in STEPS)
    policy = CanaryPolicy(steps=steps, maximum_lag_s=0.5)
    codes = {judges.ABORT: Decision.ABORT, judges.PROMOTE: Decision.PROMOTE, judges.HOLD: Decision.HOLD}
    kinds: tuple[Kind, ...] = ("gappy", "repeat failers")
    found = set()
    for kind in kinds:
        for errors in (0.001, 0.02):
            rng = np.random.default_rng(7)
            shoppers = traffic(kind, 5, rng)
            streams = []
            for g in policy.guardrails:
                rate = USUAL.get(g.name, 0.001)
                canary = errors if g.name == "errors" else rate
                streams.append((g, stream(shoppers, kind, rate, canary, rng)))
            fast = judges.e_process_judge(policy, shoppers, [judges.weigh(policy, shoppers, g, s) for g, s in streams])
            for release in range(5):
                decision, window = slow(policy, shoppers, streams, release)
                assert (decision, window) == (codes[int(fast.decision[release])], fast.window[release])
                found.add(decision)
    assert {Decision.ABORT, Decision.PROMOTE} <= found


def slow(
    policy: CanaryPolicy, shoppers: Traffic, streams: list[tuple[Guardrail, Stream]], release: int
) -> tuple[Decision, int]:
    """The real judge, look by look; a window whose log has not arrived shows the counts of the last that has."""
    control, canary = shoppers.control.cumsum(axis=0)[:, release], shoppers.canary.cumsum(axis=0)[:, release]
    state, known = begin(policy, release="d" * 64, at=0.0), None
    for t in range(WINDOWS):
        known = t if shoppers.delivered[t, release] else known
        if known is None:
            continue
        found = Outcomes(
            control_shoppers=int(control[known]),
            canary_shoppers=int(canary[known]),
            tallies={g.name: tally(s, known, release) for g, s in streams},
        )
        state, verdict = judge(policy, state, found, now=float(t))
        if verdict.decision is Decision.ADVANCE:
            state = advance(policy, state, found, at=float(t))
        elif state.final:
            return verdict.decision, t
    return Decision.HOLD, WINDOWS - 1


def tally(s: Stream, t: int, release: int) -> Tally:
    return Tally(
        control_shoppers=int(s.control_settled[t, release]),
        control_events=int(s.control_events[t, release]),
        canary_shoppers=int(s.canary_settled[t, release]),
        canary_events=int(s.canary_events[t, release]),
        complete_until=float(t),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_good_releases_are_kept_and_bad_ones_stopped(kind: Kind) -> None:
    good, double, rare = run(
        [
            Cell(kind=kind, base=0.01, errors=0.01),
            Cell(kind=kind, base=0.01, errors=0.02),
            Cell(kind=kind, base=0.001, errors=0.01),
        ],
        RELEASES,
    )
    assert good.aborted <= ALLOWED
    assert double.promoted <= ALLOWED
    assert rare.promoted <= ALLOWED
    assert good.promoted > 0.75 * RELEASES
    assert min(double.aborted, rare.aborted) > 0.95 * RELEASES
    assert good.threshold_rule > 0.95 * RELEASES, "the usual rule throws good releases away"
    assert double.mann_whitney < 0.9 * RELEASES, "the rank test overlooks twice the errors"
    if kind == "repeat failers":
        assert good.counting_repeats > 5 * ALLOWED, "counting each failure breaks the bound"


def test_a_release_that_loses_clicks_is_stopped() -> None:
    kept, lost = run([Cell(kind="steady", base=0.0, errors=0.0, clicks_lost=s) for s in (1.0, 1.5)], RELEASES)
    assert kept.promoted > 0.95 * RELEASES
    assert lost.aborted > 0.95 * RELEASES
    assert lost.promoted <= ALLOWED


def test_a_cell_depends_on_nothing_but_itself() -> None:
    one, other = Cell(kind="gappy", base=0.01, errors=0.01), Cell(kind="gappy", base=0.01, errors=0.02)
    assert run([other, one], 20)[1] == run([one], 20)[0]


def test_repeat_failers_are_counted_once_and_settle_late() -> None:
    rng = np.random.default_rng(3)
    shoppers = traffic("repeat failers", 50, rng)
    s = stream(shoppers, "repeat failers", 0.1, 0.1, rng)
    assert (s.canary_events <= s.canary_settled).all()
    assert (s.canary_settled <= shoppers.canary.cumsum(axis=0)).all()
    assert (np.diff(s.canary_settled, axis=0) >= 0).all()
    assert s.canary_failures.sum() > 2 * s.canary_events[-1].sum()
    assert s.canary_events[-1].sum() == pytest.approx(0.1 * shoppers.canary.sum(), rel=0.05)


def test_the_rank_test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.binomial(20, 0.05, (60, 30)) / 20 for _ in range(2))
    x[rng.random(x.shape) < 0.1] = np.nan
    expected = mannwhitneyu(x, y, alternative="greater", method="asymptotic", nan_policy="omit").pvalue
    assert judges.mann_whitney(x, y) == pytest.approx(expected)


@pytest.mark.parametrize("count", [0, 3, 100])
def test_intervals_are_exact(count: int) -> None:
    expected = binomtest(count, 100).proportion_ci(method="exact")
    assert interval(count, 100) == pytest.approx((expected.low, expected.high))


def test_the_page_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "canary.md"
    page.write_text(f"before\n{canary_page.BEGIN}\nOUTDATED\n{canary_page.END}\nafter\n")
    cells = canary_simulation.grid()
    few = [c for c in cells if c.kind in ("steady", "repeat failers")]
    results = run(few, 5)
    text = canary_page.render(results, results[:1], results[:1], results[:1])
    canary_page.write(page, text, results)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "OUTDATED" not in written
    assert "| steady | 1 % | r = 2 | over the line |" in written
    assert (tmp_path / canary_page.CHART).read_text().startswith("<?xml")


def test_the_published_figures_keep_the_promise() -> None:
    """Every row of the page: what is good is aborted, and what is over the line promoted, in at most 1 %."""
    page = (Path(__file__).parents[2] / "docs" / "canary.md").read_text()
    generated = page.partition(canary_page.BEGIN)[2].partition("### Harm in bouts")[0]
    rows = [line.split("|")[1:-1] for line in generated.splitlines() if line.count("|") == 11 and "%" in line]
    checked = {"good": 4, "over the line": 5}
    seen = [float(row[checked[kind]].strip(" %")) for row in rows if (kind := row[3].strip()) in checked]
    assert len(seen) >= 5 * 8
    assert max(seen) <= 1
    assert len(POLICY.guardrails) == 10
