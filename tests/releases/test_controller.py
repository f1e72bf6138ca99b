"""The controller on the real ledger, in a region that is a folder: every way a release can go, and every way back."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger, PlannedMove
from contracts.errors import StoreUnavailable
from contracts.settings import Settings
from monitoring.canary_policy import CanaryPolicy, without_waiting
from releases import __main__ as running
from releases.approval.approval import Answer, answer
from releases.rollback import stop
from releases.rollout import canary_record, freeze
from releases.rollout.controller import Controller
from serving.edge.edge import Split
from serving.events.side_effects import stamp
from tests.releases.fake_region import QUICK, RULES, FolderRegion, approved, gated, own_database
from tests.releases.own_ledger import move_release

pytestmark = pytest.mark.stack
A, B, C = "a" * 64, "b" * 64, "c" * 64
ARMS = ("control", "canary")


@pytest.fixture
def engine(stack: Settings) -> Iterator[Engine]:
    with own_database(stack, f"controller_{uuid.uuid4().hex[:8]}") as engine:
        yield engine


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine, "primary")


@pytest.fixture
def region(stack: Settings, tmp_path: Path) -> FolderRegion:
    return FolderRegion(tmp_path, stack)


def ticks(controller: Controller, count: int = 3) -> None:
    for _ in range(count):
        controller.tick()


@pytest.fixture
def controller(ledger: Ledger, engine: Engine, region: FolderRegion) -> Controller:
    """With the champion A in place."""
    controller = region.controller(ledger, engine)
    approved(ledger, "shop", A)
    ticks(controller)
    assert ledger.state("shop", A) == "champion"
    ticks(controller, 2)
    return controller


def to_canary(controller: Controller, ledger: Ledger, region: FolderRegion, digest: str = B) -> None:
    """Bring a release in front of its first shoppers."""
    approved(ledger, "shop", digest)
    ticks(controller, 2)
    assert ledger.state("shop", digest) == "shadow"
    region.asked_in_the_shadow(A, digest)
    ticks(controller, 1)
    assert ledger.state("shop", digest) == "canary_1"
    ticks(controller, 1)


def meet(region: FolderRegion, count: int, first: int = 0, digest: str = B, **canary: object) -> None:
    region.met("control", A, count, first=first)
    region.met("canary", digest, count, first=first, **canary)  # type: ignore[arg-type]
    region.clock.forward(2)  # what is younger than a second may still change


def gone(*_: object, **__: object) -> None:
    raise StoreUnavailable("the region's database does not answer", remedy="wait")


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
    line = {"time": stamp(datetime.fromtimestamp(region.clock(), UTC)), "arm": "canary", "release": None,
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


def test_a_canary_whose_policy_has_changed_goes_back(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    upgraded = region.controller(ledger, engine, replace(QUICK, alpha=0.02))
    ticks(upgraded, 2)
    assert ledger.state("shop", B) == "rolled_back"
    assert "policy has changed" in ledger.history("shop", B)[-1].reason
    assert region.split() == Split()


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
    assert region.split() == Split()


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


def test_after_a_thaw_it_goes_on(controller: Controller, ledger: Ledger, region: FolderRegion) -> None:
    freeze.freeze(ledger, until=datetime.now(UTC) + timedelta(hours=1), person="oncall", reason="sale")
    approved(ledger, "shop", B)
    ticks(controller, 3)
    assert ledger.state("shop", B) == "approved"
    freeze.thaw(ledger, person="oncall", reason="sale is over")
    ticks(controller, 2)
    assert ledger.state("shop", B) == "shadow"


def test_a_rolled_back_release_needs_a_fresh_approval_and_starts_anew(
    controller: Controller, ledger: Ledger, engine: Engine, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    meet(region, 60, code=500)
    ticks(controller, 2)
    given = Answer(
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
    assert region.split() == Split()


def test_a_canary_that_a_person_stops_loses_its_shoppers_at_the_next_look(
    controller: Controller, ledger: Ledger, region: FolderRegion
) -> None:
    to_canary(controller, ledger, region)
    split = region.split()
    assert split is not None
    assert split.canary == 1
    stop(ledger, "shop", B, person="oncall", reason="odd answers")
    ticks(controller, 1)
    assert region.split() == Split()
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


def test_a_database_that_hangs_does_not_keep_shoppers_with_harm(
    controller: Controller, ledger: Ledger, region: FolderRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_canary(controller, ledger, region)
    releases, comes_back = ledger.releases, threading.Event()

    def hang(*about: object, **more: object) -> object:
        comes_back.wait(30)
        return releases(*about, **more)  # type: ignore[arg-type]

    def gone() -> bool:
        split = region.split()
        return split is not None and split.canary == 0

    monkeypatch.setattr(ledger, "releases", hang)
    monkeypatch.setattr(running, "TICK_TIMEOUT_S", 0.1)
    meet(region, 60, code=500)
    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(running.look, controller, pool)
        until = time.monotonic() + 20
        while not gone():
            assert time.monotonic() < until, "shoppers are still with the canary"
            time.sleep(0.05)
        comes_back.set()
        looking.result()
    assert gone()
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
    given = Answer(
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
