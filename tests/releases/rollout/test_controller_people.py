"""What people decide, the controller follows: approvals, rollbacks, stops, emergencies."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger
from monitoring.canary_policy import CanaryPolicy, without_waiting
from releases.approval.approval import ApprovalAnswer, answer
from releases.rollback import stop
from releases.rollout import canary_record
from releases.rollout.controller import Controller
from serving.edge.edge import TrafficSplit
from tests.releases.fake_region import RULES, FolderRegion, approved, gated
from tests.releases.own_ledger import move_release
from tests.releases.rollout.canary import A, B, C, meet, ticks, to_canary

pytestmark = pytest.mark.stack


def test_a_state_without_approvals_behind_it_counts_for_nothing(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    gated(ledger, "shop", B)
    for evidence in ({}, {"first_release": True}, {"approvers": ["reviewer"]}):
        forged = ledger.state("shop", B)
        move_release(
            ledger, "shop", B, to="approved", expected=forged, actor="a task", reason="trust me", evidence=evidence
        )
        ticks(controller, 2)
        assert ledger.state("shop", B) == "rolled_back"
        assert ledger.newest("refused", source="shop", digest=B) is not None
    assert all(split.canary == 0 and not split.mirror for split in region.routed)


def test_a_rolled_back_release_needs_a_fresh_approval_and_starts_anew(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    meet(region, 60, code=500)
    ticks(controller, 2)
    given = ApprovalAnswer(
        source="shop", digest=B, named=B, person="admin", door="command line", approves=True, reason="engine mended"
    )
    answer(ledger, RULES, given)
    ticks(controller, 2)
    assert ledger.state("shop", B) == "shadow"
    known = canary_record.load(engine, "shop", B)
    assert known is not None
    assert known.canary is None


def test_a_rollback_of_the_champion_ends_the_canary_that_was_compared_with_it(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    for number in range(4):
        meet(region, 400, first=400 * number)
        ticks(controller, 2)
    assert ledger.state("shop", B) == "champion"
    approved(ledger, "shop", C)
    ticks(controller, 3)
    assert ledger.state("shop", C) == "shadow"
    move_release(
        ledger, "shop", A, to="champion", expected="retired", former="rolled_back", actor="oncall", reason="carts fell"
    )
    ticks(controller, 1)
    split = region.split()
    assert split is not None
    assert (split.rest_engine, split.rest) == ("former", 100)
    assert ledger.state("shop", C) == "rolled_back"
    ticks(controller, 2)
    assert region.split() == TrafficSplit()


def test_a_canary_that_a_person_stops_loses_its_shoppers_at_the_next_look(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    split = region.split()
    assert split is not None
    assert split.canary == 1
    stop(ledger, "shop", B, person="oncall", reason="odd answers")
    ticks(controller, 1)
    assert region.split() == TrafficSplit()
    assert ledger.state("shop", B) == "rolled_back"


def test_an_emergency_skips_waiting_and_not_the_abort(
    ledger: Ledger, engine: Engine, region: FolderRegion, controller: Controller
) -> None:
    slow = CanaryPolicy()
    impatient = region.controller(ledger, engine, slow)
    assert without_waiting(slow).log_abort == slow.log_abort
    gated(ledger, "shop", B)
    for person in ("reviewer", "admin"):
        evidence = {"approval": True, "door": "command line", "digest": B}
        ledger.note("shop", B, "approval", actor=person, reason="fire", evidence=evidence)
    people = {"emergency": True, "approvers": ["reviewer", "admin"]}
    move_release(ledger, "shop", B, to="approved", expected="gated", actor="reviewer", reason="fire", evidence=people)
    ticks(impatient, 3)
    assert ledger.state("shop", B) == "canary_1"
    for step in range(4):
        meet(region, 5, first=5 * step)
        ticks(impatient, 2)
    assert ledger.state("shop", B) == "champion"
