"""The controller on the real ledger, in a region that is a folder: what it makes of what shoppers met."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger
from releases.rollout.controller import Controller
from serving.edge.edge import TrafficSplit
from serving.events.ingest import format_time
from tests.releases.fake_region import QUICK, FolderRegion, approved
from tests.releases.rollout.canary import A, B, meet, ticks, to_canary

pytestmark = pytest.mark.stack


def test_a_clean_release_takes_every_step_and_the_former_champion_stays_warm(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    for step in range(4):
        meet(region, 400, first=400 * step)
        region.clock.forward(2000)  # the times in which carts and purchases are awaited are over
        ticks(controller, 2)
    assert ledger.state("shop", B) == "champion"
    ticks(controller, 2)
    shares = [split.canary for split in region.routed]
    assert [share for n, share in enumerate(shares) if share and share != shares[n - 1]] == [1, 5, 25, 50]
    assert (region.pointer("champion"), region.pointer("former")) == (B, A)
    now = region.split()
    assert now is not None
    assert (now.rest, now.rest_engine) == (100, "champion")
    proof = ledger.history("shop", B)[-1].evidence
    assert {g["guardrail"]: g["proven"] for g in proof["guardrails"]} == dict.fromkeys(
        (g.name for g in QUICK.guardrails), True
    )


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ({"code": 500}, "errors"),
        ({"code": 504}, "timeouts"),
        ({"items": []}, "empty_answers"),
        ({"items": ["i-unheard-of"]}, "unknown_items"),
        ({"fallback": "model_failed"}, "fallbacks"),
        ({"stale": True}, "stale_features"),
        ({"clicks": False}, "clicks"),
    ],
)
def test_harm_takes_all_shoppers_away_names_the_guardrail_and_is_final(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion, harm: dict[str, object], named: str
) -> None:
    to_canary(controller, ledger, region)
    meet(region, 60, **harm)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert named in ledger.history("shop", B)[-1].reason
    again = region.controller(ledger, engine)  # one that remembers nothing
    ticks(again, 3)
    split = region.split()
    assert split is not None
    assert (split.canary, split.rest) == (0, 100)
    assert ledger.state("shop", B) == "rolled_back"


def test_the_champions_answer_to_a_dead_canarys_shopper_is_the_canarys_error(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    meet(region, 60, digest=A)
    ticks(controller, 1)
    assert "errors" in ledger.history("shop", B)[-1].reason


def test_what_the_edge_turned_away_unread_says_nothing_of_an_arm(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    line = {"time": format_time(datetime.fromtimestamp(region.clock(), UTC)), "arm": "canary", "release": None,
            "path": "/recommend", "code": 429, "flags": "RL", "duration_ms": 0}  # fmt: skip
    region.tell([line | {"shopper": f"made-up-{number}"} for number in range(80)], [])
    meet(region, 20)
    ticks(controller, 2)
    assert ledger.state("shop", B) == "canary_5"


def test_without_an_answer_log_nothing_moves(controller: Controller, ledger: Ledger, region: FolderRegion) -> None:
    to_canary(controller, ledger, region)
    meet(region, 50)
    region.access_log.unlink()
    ticks(controller, 3)
    assert ledger.state("shop", B) == "canary_1"
    assert "hold" in controller.doing


def test_a_shadow_that_answers_nothing_meets_no_shopper(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    approved(ledger, "shop", B)
    ticks(controller, 2)
    region.asked_in_the_shadow(A, B, items=())
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert "empty_answers" in ledger.history("shop", B)[-1].reason
    assert all(split.canary == 0 for split in region.routed)


def test_a_store_that_did_not_answer_for_a_second_sends_no_release_back(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    approved(ledger, "shop", B)
    ticks(controller, 2)
    region.asked_in_the_shadow(A, B, items=(), count=9)
    ticks(controller, 1)
    region.asked_in_the_shadow(A, B, count=3)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "shadow"
    assert "empty_answers: 7 of 10" in controller.doing
    region.asked_in_the_shadow(A, B, count=7)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "canary_1"


def test_a_canary_whose_policy_has_changed_goes_back(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    upgraded = region.controller(ledger, engine, replace(QUICK, alpha=0.02))
    ticks(upgraded, 2)
    assert ledger.state("shop", B) == "rolled_back"
    assert "policy has changed" in ledger.history("shop", B)[-1].reason
    assert region.split() == TrafficSplit()


def test_a_signature_that_is_lost_on_the_way_sends_a_proven_canary_back(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    region.unsigned.add(B)
    for number in range(5):
        meet(region, 400, first=400 * number)
        ticks(controller, 2)
    assert ledger.state("shop", B) == "rolled_back"
    assert ledger.history("shop", B)[-1].reason.startswith("signature")
    assert region.split() == TrafficSplit()


def test_a_catalog_that_could_not_be_read_once_is_asked_for_again(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("releases.rollout.log_readers.CATALOG_RETRY_S", 0.0)
    with monkeypatch.context() as away:
        away.setattr(region, "catalog", lambda *_: None)
        to_canary(controller, ledger, region)
        meet(region, 20)
        ticks(controller, 2)
        assert "unknown_items: no outcomes" in controller.doing
    ticks(controller, 1)
    assert ledger.state("shop", B) == "canary_5"
