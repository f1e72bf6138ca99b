"""The gate on the measured nights: good ones pass, real losses do not. Small counts of tests/bench/night_rules."""

from __future__ import annotations

import json

import pytest

from tests.bench.night_rules import KINDS, RECORD, Residuals, Rule, chains, worse_models
from training import recipes
from training.gate import RATE

MEASURED = json.loads(RECORD.read_text())
PAIRS = {kind: Residuals.of(MEASURED, kind) for kind in KINDS}
RULE = Rule(training=recipes.get("quick").training_noise)


@pytest.mark.parametrize("kind", KINDS)
def test_two_nights_of_an_unchanging_shop_differ_little(kind: str) -> None:
    assert PAIRS[kind].rms <= 0.023
    assert PAIRS[kind].training <= RULE.training, "the recipe must say what was measured, or more"


@pytest.mark.slow
@pytest.mark.parametrize("weekly", [False, True])
def test_good_nights_pass_and_a_slow_loss_is_stopped(*, weekly: bool) -> None:
    warm = PAIRS["warm"] if weekly else None
    good = chains(PAIRS["full"], warm, RULE, loss=0.0, nights=60, count=40)
    assert good.refused <= 1.5 * RATE  # of 2,400; the bench draws 36,000
    slow = chains(PAIRS["full"], warm, RULE, loss=0.005, of_champion=False, count=20)
    assert slow.lowest > -0.10
    assert chains(PAIRS["full"], warm, None, loss=0.005, of_champion=False, count=20).lowest < slow.lowest


@pytest.mark.parametrize(("low", "high", "least"), [(0.09, 0.11, 0.95), (0.24, 0.26, 0.995)])
def test_real_losses_are_refused(low: float, high: float, least: float) -> None:
    for found in PAIRS.values():
        assert worse_models(found, RULE, low, high)[0] >= least
