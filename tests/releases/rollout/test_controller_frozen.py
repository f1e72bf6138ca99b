"""While promotions are frozen the controller takes no step, and still aborts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from artifacts.ledger import Ledger
from releases.rollout import freeze
from releases.rollout.controller import Controller
from tests.releases.fake_region import FolderRegion, approved
from tests.releases.rollout.canary import A, B, meet, ticks, to_canary

pytestmark = pytest.mark.stack


def test_while_frozen_nothing_advances_and_harm_still_aborts(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    freeze.freeze(ledger, until=datetime.now(UTC) + timedelta(hours=1), person="oncall", reason="sale")
    meet(region, 400)
    ticks(controller, 3)
    assert ledger.state("shop", B) == "canary_1"
    assert "sale" in controller.doing
    meet(region, 60, first=1000, code=500)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"


def test_while_frozen_no_shopper_meets_a_release_from_the_shadow(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    approved(ledger, "shop", B)
    ticks(controller, 2)
    freeze.freeze(ledger, until=datetime.now(UTC) + timedelta(hours=1), person="oncall", reason="sale")
    region.asked_in_the_shadow(A, B)
    ticks(controller, 3)
    assert ledger.state("shop", B) == "shadow"
    assert "sale" in controller.doing
    split = region.split()
    assert split is not None
    assert split.canary == 0
    freeze.thaw(ledger, person="oncall", reason="sale is over")
    ticks(controller, 1)
    assert ledger.state("shop", B) == "canary_1"


def test_after_a_thaw_it_goes_on(controller: Controller, ledger: Ledger, region: FolderRegion) -> None:
    freeze.freeze(ledger, until=datetime.now(UTC) + timedelta(hours=1), person="oncall", reason="sale")
    approved(ledger, "shop", B)
    ticks(controller, 3)
    assert ledger.state("shop", B) == "approved"
    freeze.thaw(ledger, person="oncall", reason="sale is over")
    ticks(controller, 2)
    assert ledger.state("shop", B) == "shadow"
