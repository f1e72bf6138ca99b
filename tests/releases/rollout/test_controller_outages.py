"""Harm that shows while the database is away, or in the middle of a promotion, still takes the shoppers away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger, PlannedMove
from contracts.errors import StoreUnavailable
from releases import __main__ as running
from releases.rollout import canary_record
from releases.rollout.controller import Controller
from tests.releases.fake_region import FolderRegion, approved
from tests.releases.rollout.canary import A, B, C, gone, meet, ticks, to_canary
from tests.waiting import until

pytestmark = pytest.mark.stack


def test_a_database_that_hangs_does_not_keep_shoppers_with_harm(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    places, comes_back = ledger.releases, threading.Event()

    def hang(*about: object, **more: object) -> object:
        comes_back.wait(30)
        return places(*about, **more)  # type: ignore[arg-type]

    def safe() -> bool:
        split = region.split()
        return split is not None and split.canary == 0

    monkeypatch.setattr(ledger, "releases", hang)
    monkeypatch.setattr(running, "TICK_TIMEOUT_S", 0.1)
    meet(region, 60, code=500)
    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(running.look, controller, pool)
        until(safe, 20, every=0.05, otherwise="shoppers are still with the canary")
        comes_back.set()
        looking.result()
    assert safe()
    ticks(controller, 2)
    assert ledger.state("shop", B) == "rolled_back"


@pytest.mark.parametrize("lost", ["all of it", "writes"])
def test_without_the_database_harm_still_takes_the_shoppers_away(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    to_canary(controller, ledger, region)
    if lost == "writes":
        monkeypatch.setattr(canary_record, "save", gone)
    else:
        monkeypatch.setattr(ledger, "releases", gone)
    meet(region, 60, code=500)
    with pytest.raises(StoreUnavailable):
        controller.tick()
    split = region.split()
    assert split is not None
    assert split.canary == 0
    monkeypatch.undo()
    ticks(controller, 2)
    assert ledger.state("shop", B) == "rolled_back"


def to_the_proof(controller: Controller, region: FolderRegion) -> None:
    """Everything that a running canary needs to be promoted; the look that finds the proof is still to come."""
    for step in range(3):
        meet(region, 400, first=400 * step)
        region.clock.forward(2000)
        ticks(controller, 2)
    meet(region, 400, first=1200)
    region.clock.forward(2000)


@pytest.mark.parametrize("after", ["the same controller", "another one"])
def test_harm_that_shows_before_a_promotion_is_in_the_ledger_stops_it(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion, monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:  # fmt: skip
    to_canary(controller, ledger, region)
    to_the_proof(controller, region)
    with monkeypatch.context() as without:
        without.setattr(ledger, "move", gone)
        with pytest.raises(StoreUnavailable):
            controller.tick()
        assert "promote" in controller.doing
        meet(region, 60, first=5000, code=500)
        if after == "the same controller":
            without.setattr(ledger, "releases", gone)
            with pytest.raises(StoreUnavailable):
                controller.tick()
            split = region.split()
            assert split is not None
            assert split.canary == 0
    ticks(controller if after == "the same controller" else region.controller(ledger, engine), 2)
    assert ledger.state("shop", B) == "rolled_back"
    assert ledger.history("shop", B)[-1].reason.startswith("abort: errors: 60 canary")


def test_harm_that_shows_while_a_promotion_waits_for_the_database_stops_it(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    to_the_proof(controller, region)
    save = canary_record.save

    def hang(database: Engine, known: canary_record.Memory) -> None:
        if known.verdict is not None and known.verdict["decision"] == "promote":
            meet(region, 60, first=5000, code=500)
            controller.guard()
        save(database, known)

    monkeypatch.setattr(canary_record, "save", hang)
    ticks(controller, 1)
    assert ledger.state("shop", B) == "rolled_back"
    assert "errors" in ledger.history("shop", B)[-1].reason


def test_harm_that_shows_while_the_ledger_makes_it_champion_brings_the_one_before_back(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    to_the_proof(controller, region)
    move = ledger.move

    def hang(planned: PlannedMove) -> object:
        if (planned.digest, planned.to) == (B, "champion"):
            meet(region, 60, first=5000, code=500)
            controller.guard()
        return move(planned)

    monkeypatch.setattr(ledger, "move", hang)
    ticks(controller, 2)
    assert (ledger.state("shop", A), ledger.state("shop", B)) == ("champion", "rolled_back")
    assert "errors" in ledger.history("shop", A)[-1].reason
    split = region.split()
    assert split is not None
    assert (split.rest, split.rest_engine) == (100, "champion")


def test_the_verdict_that_took_the_shoppers_away_holds_though_the_control_fails_later(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    with monkeypatch.context() as without:
        without.setattr(ledger, "releases", gone)
        meet(region, 60, code=500)
        with pytest.raises(StoreUnavailable):
            controller.tick()
    region.met("control", A, 60, first=1000, code=500)
    region.met("canary", B, 60, first=1000)
    region.clock.forward(2)
    ticks(controller, 1)
    last = ledger.history("shop", B)[-1]
    assert (last.to_state, last.reason.split(" and")[0]) == ("rolled_back", "abort: errors: 60 canary")
    assert any(found["aborts"] for found in last.evidence["guardrails"])
    known = canary_record.load(engine, "shop", B)
    assert known is not None
    assert known.canary is not None
    assert known.canary.final == "abort"


def test_an_abort_that_another_controller_writes_down_names_its_guardrail(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    meet(region, 60, code=500)
    with monkeypatch.context() as without:
        without.setattr(ledger, "move", gone)
        with pytest.raises(StoreUnavailable):
            controller.tick()
    ticks(region.controller(ledger, engine), 1)
    assert ledger.history("shop", B)[-1].reason.startswith("abort: errors: 60 canary")


def test_a_release_that_nobody_can_look_at_does_not_keep_the_region_from_following_the_ledger(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise IndexError("something that nobody foresaw")

    with monkeypatch.context() as unforeseen:
        unforeseen.setattr(region, "signed", broken)
        approved(ledger, "shop", B)
        region.point("champion", C)
        with pytest.raises(IndexError):
            controller.tick()
        assert region.pointer("champion") == A
    ticks(controller, 2)
    region.asked_in_the_shadow(A, B)
    ticks(controller, 2)
    meet(region, 60, code=500)
    monkeypatch.setattr(canary_record, "save", broken)
    with pytest.raises(IndexError):
        controller.tick()
    split = region.split()
    assert split is not None
    assert split.canary == 0  # who was taken away stays away
