"""One shop per region: another shop's releases meet its shoppers only when two people have said so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger
from contracts.errors import IllegalMove, NotApproved, NotFound, StoreUnavailable
from contracts.settings import Settings
from monitoring import alerts
from releases import first_release, rollback
from releases.approval import approval, emergency
from releases.approval.approval import ApprovalAnswer, Door, Rules
from releases.approval.emergency import EmergencyRequest
from releases.rollout.controller import Controller
from releases.served_shop import find_served, serving_source
from releases.shop_switch import foresee, switch
from tests.releases.fake_region import FolderRegion, approved, gated, own_database
from tests.releases.own_ledger import move_release
from tests.releases.rollout.canary import A, B, C, gone, ticks

pytestmark = pytest.mark.stack

D = "d" * 64
TWO = ("reviewer", "admin")


@pytest.fixture
def engine(stack: Settings) -> Iterator[Engine]:
    with own_database(stack, "served_shop") as engine:
        yield engine


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine, "primary")


@pytest.fixture
def rules(stack: Settings) -> Rules:
    """What every door asks by: the setting of the shop is in it."""
    return Rules.of(stack.model_copy(update={"shop": "shop"}))


@pytest.fixture
def region(stack: Settings, tmp_path: Path) -> FolderRegion:
    return FolderRegion(tmp_path, stack.model_copy(update={"shop": "shop"}))


@pytest.fixture
def controller(ledger: Ledger, engine: Engine, region: FolderRegion) -> Controller:
    """With the champion A of `shop` in place."""
    controller = region.controller(ledger, engine)
    approved(ledger, "shop", A)
    ticks(controller)
    return controller


def says(source: str, digest: str, door: Door, *, approves: bool = True) -> ApprovalAnswer:
    return ApprovalAnswer(
        source=source, digest=digest, named=digest, person="reviewer", door=door, approves=approves, reason="good"
    )


@contextmanager
def refused(source: str) -> Iterator[None]:
    with pytest.raises(NotApproved) as error:
        yield
    assert "serves shop" in error.value.what
    for way in (f"CARAVAN_SHOP={source}", "caravan up", f"caravan region serve {source} --reason"):
        assert way in error.value.remedy


@pytest.mark.parametrize("door", ["airflow", "mlflow", "command line"])
@pytest.mark.parametrize("first", [True, False])
def test_another_shops_release_is_refused_at_every_door_the_very_first_one_too(
    ledger: Ledger, rules: Rules, door: Door, first: bool
) -> None:
    if not first:
        for to in ("approved", "champion"):
            if to == "approved":
                gated(ledger, "shop", A)
            move_release(ledger, "shop", A, to=to, expected=ledger.state("shop", A), actor="t", reason="t")
    gated(ledger, "office", B)
    with refused("office"):
        approval.answer(ledger, rules, says("office", B, door))
    assert ledger.state("office", B) == "gated"
    assert [m.to_state for m in ledger.history("office", B)][-1] == "refused"
    request = EmergencyRequest(source="office", digest=B, people=TWO, reason="now")
    assert "serves shop" in str(emergency.objection(ledger, rules, request))
    assert not first_release.approve_first(ledger, "office", B, shop="shop")
    # a no is taken, and the shop's own release goes on
    assert approval.answer(ledger, rules, says("office", B, door, approves=False)).state == "rejected"
    gated(ledger, "shop", C)
    assert approval.answer(ledger, rules, says("shop", C, door)).state == "approved"


def test_every_door_asks_by_the_rules_that_know_the_shop() -> None:
    """A door that made rules of its own would let every shop in."""
    root = Path(__file__).resolve().parents[2]
    rooms = ("releases", "recovery", "plugins", "dags", "caravan", "training", "monitoring", "serving")
    made = [
        path.relative_to(root).as_posix()
        for room in rooms
        for path in (root / room).rglob("*.py")
        if "Rules(" in path.read_text() and path.name != "approval.py"
    ]
    assert made == []


def test_a_forged_approval_of_another_shop_meets_no_shopper(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    approved(ledger, "office", B)  # by rules that know no shop
    ticks(controller, 3)
    assert ledger.state("office", B) == "rolled_back"
    assert "serves shop" in ledger.history("office", B)[-1].reason
    assert region.pointer("champion") == A


def test_the_setting_does_not_switch_a_region_that_serves(controller: Controller, ledger: Ledger, rules: Rules) -> None:
    gated(ledger, "office", B)
    with refused("office"):
        approval.answer(ledger, replace(rules, shop="office"), says("office", B, "command line"))


def test_two_people_switch_all_shoppers_at_once_and_back(
    controller: Controller, ledger: Ledger, region: FolderRegion, rules: Rules
) -> None:
    s = region.s
    gated(ledger, "office", B)
    approved(ledger, "shop", C)
    ticks(controller, 2)
    assert ledger.state("shop", C) == "shadow"
    planned = foresee(ledger, "shop", "office")
    assert (planned.before, planned.release, planned.state) == ("shop", B, "gated")
    before = datetime.now(UTC)
    switch(s, ledger, rules, planned, people=TWO, reason="the office shop opens")
    assert ledger.state("shop", C) == "rolled_back", "what was in progress is stopped"
    assert serving_source(ledger) == "shop", "until its first champion is there"
    ticks(controller, 4)
    assert (ledger.state("office", B), region.pointer("champion")) == ("champion", B)
    assert serving_source(ledger) == "office"
    told = ledger.newest("serves")
    assert told is not None
    assert (told.actor, told.reason) == ("reviewer and admin", "the office shop opens")
    assert told.evidence["people"] == list(TWO)
    assert any("from shop to office" in a.text and a.severity == "critical" for a in alerts.read_alerts(s))
    # now the first shop's releases are the others
    gated(ledger, "shop", D)
    with pytest.raises(NotApproved, match="serves office"):
        approval.answer(ledger, rules, says("shop", D, "mlflow"))
    with pytest.raises(IllegalMove, match="serves office"):
        rollback.foresee(ledger, "shop")
    # and the way back is at once, to the champion it had
    switch(s, ledger, rules, foresee(ledger, "shop", "shop"), people=TWO, reason="not yet")
    ticks(controller, 3)
    assert region.pointer("champion") == A
    assert approval.answer(ledger, rules, says("shop", D, "mlflow")).state == "approved"
    ticks(controller, 3)
    assert ledger.state("shop", D) == "shadow", "beside its own champion, with a canary"
    crowned = [find_served(ledger, at) for at in (before, None)]
    assert [move.digest for move in crowned if move] == [A, A]
    assert ledger.verify() > 0


@pytest.mark.parametrize(
    ("people", "why"),
    [
        (("reviewer", "reviewer"), "2 different"),
        (("reviewer",), "2 different"),
        (("reviewer", "viewer"), "no reviewer"),
    ],
)
def test_one_person_or_one_who_is_no_reviewer_switches_nothing(
    controller: Controller, ledger: Ledger, region: FolderRegion, rules: Rules, people: Any, why: str
) -> None:
    gated(ledger, "office", B)
    planned = foresee(ledger, "shop", "office")
    with pytest.raises(NotApproved, match=why):
        switch(region.s, ledger, rules, planned, people=people, reason="now")
    assert ledger.newest("serves") is None
    assert ledger.state("office", B) == "gated"
    assert [m.to_state for m in ledger.history("office", B)][-1] == "refused"


def test_a_switch_that_was_interrupted_is_done_again_and_written_once(
    controller: Controller, ledger: Ledger, region: FolderRegion, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated(ledger, "office", B)
    planned = foresee(ledger, "shop", "office")
    with monkeypatch.context() as cut:
        cut.setattr(ledger, "move", gone)
        with pytest.raises(StoreUnavailable):
            switch(region.s, ledger, rules, planned, people=TWO, reason="now")
    switch(region.s, ledger, rules, foresee(ledger, "shop", "office"), people=TWO, reason="now")
    ticks(controller, 4)
    assert ledger.state("office", B) == "champion"
    assert [m.to_state for m in ledger.history("office")].count("serves") == 1
    assert foresee(ledger, "shop", "office").is_done


def test_a_shop_without_a_release_cannot_be_served(controller: Controller, ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no release that could serve"):
        foresee(ledger, "shop", "office")
