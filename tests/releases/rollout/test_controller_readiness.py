"""A release whose engine does not get ready for it meets no shopper."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger
from releases.approval.approval import ApprovalAnswer, answer
from releases.rollout.controller import Controller
from tests.releases.fake_region import QUICK, RULES, FolderRegion, approved
from tests.releases.rollout.canary import A, B, ticks

pytestmark = pytest.mark.stack


def test_the_first_release_serves_once_its_engine_is_ready(
    ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    controller = region.controller(ledger, engine)
    region.unready = {"canary"}
    approved(ledger, "shop", A)
    ticks(controller)
    assert ledger.state("shop", A) == "approved"
    assert region.pointer("champion") is None
    region.unready = set()
    ticks(controller, 2)
    assert ledger.state("shop", A) == "champion"
    assert region.pointer("champion") == A


@pytest.mark.parametrize("how", ["refused", "unsigned", "never ready"])
def test_a_release_that_does_not_get_ready_goes_back(
    ledger: Ledger, engine: Engine, region: FolderRegion, controller: Controller, how: str
) -> None:
    late = region.controller(ledger, engine)
    if how == "refused":
        region.refuses = {B}
    elif how == "unsigned":
        region.unsigned = {B}
    else:
        region.unready = {"canary"}
    approved(ledger, "shop", B)
    ticks(late, 3)
    if how == "never ready":
        assert ledger.state("shop", B) == "approved"
        region.clock.forward(QUICK.warm_up_s + 1)
        ticks(late, 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert ("signature" if how == "unsigned" else "warm_up") in ledger.history("shop", B)[-1].reason


@pytest.mark.parametrize("how", ["refuses it", "does not get ready"])
def test_what_the_canarys_engine_could_not_load_is_tried_again_after_a_new_approval(
    controller: Controller, ledger: Ledger, region: FolderRegion, how: str
) -> None:
    region.refuses, region.unready = ({B}, set()) if how == "refuses it" else (set(), {"canary"})
    approved(ledger, "shop", B)
    ticks(controller, 1)
    assert region.pointer("canary") == B
    region.clock.forward(QUICK.warm_up_s + 1)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert region.pointer("canary") == A  # an engine forgives what it refused when its pointer moves
    region.refuses, region.unready = set(), set()
    given = ApprovalAnswer(
        source="shop", digest=B, named=B, person="admin", door="command line", approves=True, reason="file mended"
    )
    answer(ledger, RULES, given)
    ticks(controller, 2)
    assert ledger.state("shop", B) == "shadow"


def test_while_the_champions_engine_loads_the_canarys_is_left_alone(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    region.refuses = {B}
    approved(ledger, "shop", B)
    ticks(controller, 1)
    region.unready = {"champion"}
    ticks(controller, 2)
    assert ledger.state("shop", B) == "rolled_back"
    assert region.pointer("canary") == B
    region.unready = set()
    ticks(controller, 1)
    assert region.pointer("canary") == A
