"""A release that has had a step's whole time without a verdict: a person is asked, it goes back, or it is held."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger, Move
from contracts.errors import IllegalMove, SettingsError
from monitoring import alerts
from monitoring.canary_policy import CanaryPolicy
from releases.approval.overdue import extend
from releases.rollout.controller import Controller
from tests.releases.fake_region import QUICK, FolderRegion, approved
from tests.releases.rollout.canary import A, B, C, meet, ticks, to_canary

pytestmark = pytest.mark.stack

#: A step's maximum time in QUICK, and more.
LONG = 1000.0


def told(ledger: Ledger, kind: str) -> list[Move]:
    return [move for move in ledger.history("shop", B) if move.to_state == kind]


def quiet_night(controller: Controller, ledger: Ledger, region: FolderRegion) -> None:
    """One shopper came, and then nobody for longer than the step may take."""
    to_canary(controller, ledger, region)
    meet(region, 1)
    region.clock.forward(LONG)
    ticks(controller, 3)


def test_a_canary_at_night_waits_and_a_person_is_asked_once_with_what_is_missing_and_the_commands(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    before = len(alerts.read_alerts(region.s))
    quiet_night(controller, ledger, region)
    assert ledger.state("shop", B) == "canary_1"
    (asked,) = told(ledger, "overdue")
    for words in ("1 of 2 shoppers", f"caravan release extend {B[:12]}", f"caravan release stop {B[:12]}"):
        assert words in asked.reason
    assert "1 of 2 shoppers" in json.dumps(asked.evidence)
    alert = alerts.read_alerts(region.s)[-1]
    assert len(alerts.read_alerts(region.s)) == before + 1
    assert f"caravan release stop {B[:12]}" in alert.text
    # in the morning shoppers come, and it goes on
    meet(region, 5, first=10)
    ticks(controller, 2)
    assert ledger.state("shop", B) == "canary_5"


def test_more_time_is_an_answer_and_when_that_is_over_people_are_asked_again(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    quiet_night(controller, ledger, region)
    now = datetime.fromtimestamp(region.clock(), UTC)
    extend(ledger, "shop", B, until=now + timedelta(hours=1), person="reviewer", reason="it is night", now=now)
    region.clock.forward(3000)
    ticks(region.controller(ledger, engine), 2)
    assert len(told(ledger, "overdue")) == 1
    region.clock.forward(1000)
    ticks(region.controller(ledger, engine), 3)
    assert len(told(ledger, "overdue")) == 2
    assert ledger.state("shop", B) == "canary_1"


@pytest.mark.parametrize("rule", ["ask", "hold"])
def test_a_held_canary_gives_way_to_a_newer_approved_release(
    ledger: Ledger, engine: Engine, region: FolderRegion, controller: Controller, rule: str
) -> None:
    policy = replace(QUICK, overdue=rule)  # type: ignore[arg-type]
    patient = region.controller(ledger, engine, policy)
    to_canary(patient, ledger, region)
    meet(region, 1)
    approved(ledger, "shop", C)
    ticks(patient, 3)
    assert ledger.state("shop", B) == "canary_1", "it is not overdue yet"
    region.clock.forward(LONG)
    ticks(patient, 4)
    assert ledger.state("shop", B) == "rolled_back"
    last = ledger.history("shop", B)[-1]
    assert last.reason.startswith(f"it gives way to {C[:12]}")
    assert "1 of 2 shoppers" in last.reason
    assert ledger.state("shop", C) in ("shadow", "canary_1")
    assert told(ledger, "overdue") == []


def test_the_policy_may_send_it_back_or_hold_it_without_a_word(
    ledger: Ledger, engine: Engine, region: FolderRegion, controller: Controller
) -> None:
    quiet_night(region.controller(ledger, engine, replace(QUICK, overdue="hold")), ledger, region)
    assert (ledger.state("shop", B), told(ledger, "overdue")) == ("canary_1", [])
    ticks(region.controller(ledger, engine, replace(QUICK, overdue="rollback")), 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert "there is no verdict: 1 of 2 shoppers" in ledger.history("shop", B)[-1].reason


def test_a_shadow_that_nobody_asks_waits_too(controller: Controller, ledger: Ledger, region: FolderRegion) -> None:
    approved(ledger, "shop", B)
    ticks(controller, 2)
    region.asked_in_the_shadow(A, B, count=3)
    region.clock.forward(LONG)
    ticks(controller, 3)
    assert ledger.state("shop", B) == "shadow"
    (asked,) = told(ledger, "overdue")
    assert "only 3 of 10 questions" in asked.reason


def test_harm_aborts_an_overdue_canary_all_the_same(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    quiet_night(controller, ledger, region)
    meet(region, 60, first=100, code=500)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"


def test_what_has_no_step_gets_no_time(controller: Controller, ledger: Ledger) -> None:
    now = datetime.now(UTC)
    with pytest.raises(IllegalMove, match="is champion"):
        extend(ledger, "shop", A, until=now + timedelta(hours=1), person="reviewer", reason="why not")
    approved(ledger, "shop", B)
    ticks(controller, 2)
    with pytest.raises(SettingsError, match="is over"):
        extend(ledger, "shop", B, until=now - timedelta(hours=1), person="reviewer", reason="too late")


def test_what_is_done_when_it_is_overdue_changes_no_evidence() -> None:
    """So a canary that runs while its home is brought to this version goes on."""
    assert len({replace(CanaryPolicy(), overdue=rule).digest for rule in ("ask", "rollback", "hold")}) == 1
    assert CanaryPolicy().overdue == "ask"
    with pytest.raises(SettingsError, match="overdue"):
        replace(CanaryPolicy(), overdue="shrug")  # type: ignore[arg-type]
