"""Counting: each shopper once, in the first arm met; and what makes counts unusable."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError
from monitoring.guardrails import GUARDRAILS, Exposure, Guardrail, ShopperEvent, Tally, count_outcomes

ERRORS = Guardrail(name="errors")
CLICKS = Guardrail(name="clicks", harm="less", ratio=1.25, follow_up_s=100)
UNTIL = {"errors": 1000.0, "clicks": 1000.0}
TALLY = Tally(control_shoppers=10, control_events=1, canary_shoppers=12, canary_events=0, complete_until=5.0)

SHOPPERS = st.sampled_from([f"u_{i}" for i in range(6)])
TIMES = st.integers(0, 1200).map(float)
EXPOSURES = st.lists(st.builds(Exposure, shopper=SHOPPERS, arm=st.sampled_from(["control", "canary"]), at=TIMES))
EVENTS = st.lists(
    st.builds(ShopperEvent, shopper=SHOPPERS, guardrail=st.sampled_from(["errors", "clicks", "other"]), at=TIMES)
)


def seen(shopper: str, arm: Any = "canary", at: float = 0.0) -> Exposure:
    return Exposure(shopper=shopper, arm=arm, at=at)


def event(shopper: str, at: float = 1.0, guardrail: str = "errors") -> ShopperEvent:
    return ShopperEvent(shopper=shopper, guardrail=guardrail, at=at)


def errors(exposures: list[Exposure], events: list[ShopperEvent]) -> tuple[float | None, ...]:
    tally = count_outcomes([ERRORS], exposures, events, complete_until=UNTIL).tallies["errors"]
    return tally.control_events, tally.control_shoppers, tally.canary_events, tally.canary_shoppers


def test_a_shopper_who_fails_again_and_again_counts_once() -> None:
    assert errors([seen("a"), seen("b", "control")], [event("a", at) for at in range(50)]) == (0, 1, 1, 1)


def test_a_shopper_belongs_to_the_first_arm_met() -> None:
    assert errors([seen("a", "canary", 5), seen("a", "control", 2)], [event("a", 9)]) == (1, 1, 0, 0)


def test_what_happened_before_the_exposure_is_the_champions() -> None:
    assert errors([seen("a", at=10)], [event("a", 9)]) == (0, 0, 0, 1)


def test_events_past_the_end_of_the_log_wait() -> None:
    assert errors([seen("a")], [event("a", 1001)]) == (0, 0, 0, 1)


def test_a_shopper_is_clean_only_when_the_time_to_click_is_over() -> None:
    exposures = [seen("a", at=0), seen("b", at=950), seen("c", at=950)]
    found = count_outcomes([CLICKS], exposures, [event("c", 960, "clicks")], complete_until=UNTIL)
    assert (found.tallies["clicks"].canary_shoppers, found.tallies["clicks"].canary_events) == (2, 1)
    assert found.canary_shoppers == 3


def test_of_the_origins_with_most_the_largest_few_are_known_and_who_is_vouched_for_is_in_none() -> None:
    """Seven addresses with 1 to 7 failing shoppers each, and as many well ones; thirty whom the key names."""
    exposures, events = [seen(f"vouched-{n}") for n in range(30)], [event(f"vouched-{n}") for n in range(30)]
    for size in range(1, 8):
        exposures += [
            replace(seen(f"{kind}-{size}-{n}"), origin=f"o{size}") for n in range(size) for kind in ("bad", "well")
        ]
        events += [event(f"bad-{size}-{n}") for n in range(size)]
    tally = count_outcomes([ERRORS], exposures, events, complete_until=UNTIL).tallies["errors"]
    assert (tally.canary_events, tally.canary_origin_events, tally.canary_origin_clean) == (30 + 28, 25, 25)
    assert (tally.control_origin_events, tally.control_origin_clean) == (0, 0)
    assert tally.problem() is None


def test_the_busiest_stretch_of_the_canary_is_known() -> None:
    slow = Guardrail(name="errors", stall_s=5)
    exposures = [*(seen(f"u{n}") for n in range(9)), *(seen(f"v{n}", "control") for n in range(9))]
    canary = [event(f"u{n}", at) for n, at in enumerate([1, 20, 22, 25, 26, 40])]
    control = [event(f"v{n}", 60) for n in range(9)]
    again = [event("u1", 41), event("u2", 42)]  # who was counted already is no part of another stretch
    tally = count_outcomes([slow], exposures, canary + control + again, complete_until=UNTIL).tallies["errors"]
    assert (tally.canary_events, tally.canary_stall) == (6, 3)
    tally = count_outcomes([ERRORS], exposures, canary, complete_until=UNTIL).tallies["errors"]
    assert (tally.canary_events, tally.canary_stall) == (6, 0)


def test_a_guardrail_without_a_source_gets_no_tally() -> None:
    assert set(count_outcomes([ERRORS, CLICKS], [], [], complete_until={"errors": 1.0}).tallies) == {"errors"}


@given(EXPOSURES, EVENTS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(
    exposures: list[Exposure], events: list[ShopperEvent], random: Any
) -> None:
    found = count_outcomes([ERRORS, CLICKS], exposures, events, complete_until=UNTIL)
    again, more = exposures + exposures[:2], events + events[:3]
    random.shuffle(again)
    random.shuffle(more)
    assert count_outcomes([ERRORS, CLICKS], again, more, complete_until=UNTIL) == found
    for tally in found.tallies.values():
        assert tally.problem() is None
        assert (tally.control_shoppers or 0) <= (found.control_shoppers or 0)


@given(EXPOSURES, EVENTS, TIMES, TIMES)
def test_counts_never_go_down_as_logs_grow(
    exposures: list[Exposure], events: list[ShopperEvent], one: float, other: float
) -> None:
    def at(time: float) -> Tally:
        known = [e for e in exposures if e.at <= time], [e for e in events if e.at <= time]
        return count_outcomes([CLICKS], *known, complete_until={"clicks": time}).tallies["clicks"]

    assert at(max(one, other)).problem(at(min(one, other))) is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1, 1.5])
@pytest.mark.parametrize("name", ["control_shoppers", "control_events", "canary_shoppers", "canary_events"])
def test_what_is_not_a_count_is_a_problem(name: str, value: float | None) -> None:
    broken: dict[str, Any] = {name: value}
    assert name in (replace(TALLY, **broken).problem() or "")


def test_lost_or_impossible_counts_are_a_problem() -> None:
    assert "lost" in (replace(TALLY, control_shoppers=9).problem(TALLY) or "")
    assert "more canary" in (replace(TALLY, canary_events=13).problem() or "")
    assert "complete" in (replace(TALLY, complete_until=math.nan).problem() or "")
    assert "canary_stall" in (replace(TALLY, canary_stall=1).problem() or "")
    assert TALLY.problem(TALLY) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "No"},
        {"harm": "some"},
        {"ratio": 1.0},
        {"ratio": math.nan},
        {"delta": 1.0},
        {"follow_up_s": -1.0},
        {"stall_s": -1.0},
        {"stall_s": 1.0, "harm": "less"},
    ],
)
def test_an_unusable_guardrail_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Guardrail(**({"name": "errors"} | wrong))


def test_the_usual_guardrails_cover_harm_that_is_more_and_harm_that_is_less() -> None:
    assert [g.name for g in GUARDRAILS if g.harm == "less"] == ["clicks", "carts", "purchases"]
    assert len(GUARDRAILS) == 10
