"""A number is far from the usual one when a person would say so, and not for weekends, sales and small shops."""

from __future__ import annotations

import random

import pytest

from ingestion.rules.usual import amount_changed, share_changed

STEADY = [400, 380, 420, 410, 390, 405, 395]
#: Numbers of the days before, and of the day; whether it is refused.
AMOUNTS = {
    "a usual day": (STEADY, 400, False),
    "a third": (STEADY, 133, False),
    "a sale": (STEADY, 1_900, False),
    "a tenth": (STEADY, 40, True),
    "nothing": (STEADY, 0, True),
    "one row": (STEADY, 1, True),
    "sent twelve times under new ids": (STEADY, 4_800, True),
    "a hundred times": (STEADY, 40_000, True),
    "one day before was cut as well": ([*STEADY, 3], 390, False),
    "one day before exploded": ([*STEADY, 40_000], 390, False),
    "a small shop": ([8, 12, 9, 11, 10], 1, False),
    "a small shop that grows": ([8, 12, 9, 11, 10], 300, False),
    "days that differ much": ([10, 900, 40, 2_000, 150, 600, 30], 12, False),
}


@pytest.mark.parametrize("case", AMOUNTS)
def test_amounts(case: str) -> None:
    before, value, refused = AMOUNTS[case]
    change = amount_changed("events", value, before, least=0.2, most=5)
    assert (change is not None) == refused
    if change:
        assert f"{value}, usual {change.usual:g}" in str(change)


def test_a_day_off_is_compared_with_the_same_day_of_the_week() -> None:
    before, sundays = [400] * 24 + [20] * 4, [20, 22, 18, 20]
    assert amount_changed("events", 21, before, least=0.2, most=5) is not None
    assert amount_changed("events", 21, before, sundays, least=0.2, most=5) is None
    assert amount_changed("events", 1, before, sundays, least=0.2, most=5) is not None


def test_a_day_that_is_not_over_may_be_small_but_not_huge() -> None:
    assert amount_changed("events", 3, STEADY, least=0.2, most=5, over=False) is None
    assert amount_changed("events", 9_000, STEADY, least=0.2, most=5, over=False) is not None


SHARES = {
    "as ever": ([0.01] * 6, 0.01, False),
    "a little more": ([0.01] * 6, 0.10, False),
    "a fifth is bad": ([0.01] * 6, 0.20, True),
    "nearly half": ([0.0] * 6, 0.45, True),
    "always bad": ([0.3] * 6, 0.35, False),
    "less": ([0.3] * 6, 0.0, False),
    "days that differ much": ([0.0, 0.3, 0.1, 0.25, 0.05], 0.4, False),
}


@pytest.mark.parametrize("case", SHARES)
def test_shares(case: str) -> None:
    before, value, refused = SHARES[case]
    assert (share_changed("bad rows", value, before, above=0.1) is not None) == refused


def test_chance_alone_is_never_refused() -> None:
    """Shops of 100 to 3,000 events a day, quieter or busier on weekends, a holiday, and a sale at three times."""
    for seed in range(200):
        draw = random.Random(seed)
        level, weekend = draw.choice([100, 300, 3_000]), draw.choice([0.4, 0.5, 1, 1.5, 2])
        counts: list[float] = []
        for day in range(60):
            expected = level * (weekend if day % 7 > 4 else 1) * (draw.choice([0.5, 3]) if day in (44, 52) else 1)
            counts.append(max(round(draw.gauss(expected, expected**0.5 + 0.02 * expected)), 0))
            if day >= 5:
                before = counts[max(0, day - 28) : day]
                alike = counts[day % 7 : day : 7][-4:]
                assert amount_changed("events", counts[-1], before, alike, least=0.2, most=5) is None, (seed, day)
