"""The second half of the demo: a release that an interrupted demo left anywhere comes to its end, or it is said why."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from artifacts.ledger import CurrentRelease, Move
from caravan.cli.demo import rollout
from contracts.errors import ReleaseError, StackError
from contracts.settings import Settings
from serving.replay.sessions import Session, Step

DIGEST = "ab" * 32
NOWHERE = Path("no stack lives here")


class Region:
    """Ledger and Airflow in one: people's answers and the controller's moves, one step at every pause."""

    def __init__(
        self, state: str, *, actor: str = "controller", road: tuple[str, ...] = (), asked: bool = True
    ) -> None:
        self.moves: list[Move] = []
        self.asked, self.answers, self.requests = asked, 0, 0
        self.road = list(road)
        self.add(state, actor)

    def add(self, state: str, actor: str = "controller", reason: str = "because", **evidence: Any) -> None:
        self.moves.append(
            Move(
                sequence=len(self.moves) + 1, at=datetime.now(UTC), source="shop", digest=DIGEST, version=1,
                from_state=None, to_state=state, actor=actor, reason=reason, evidence=evidence, region="primary",
                epoch=1, previous_hash="", hash="",
            )  # type: ignore[arg-type]
        )  # fmt: skip

    def pause(self, _seconds: float) -> None:
        if self.road and self.state("", "") in rollout.IN_FLIGHT:
            self.add(self.road.pop(0))

    # the ledger
    def state(self, source: str, digest: str) -> str:
        return next(
            str(m.to_state) for m in reversed(self.moves) if m.to_state not in ("refused", "frozen", "approval")
        )

    def history(self, source: str = "", digest: str = "") -> list[Move]:
        return list(self.moves)

    def newest(self, *to: str, source: str = "", digest: str = "") -> Move | None:
        return next((m for m in reversed(self.moves) if m.to_state in to), None)

    # Airflow
    def call(self, method: str, path: str, *, json: Any = None, params: Any = None) -> Any:
        if method == "PATCH":
            self.answers += 1
            self.asked = False
            self.add("approved", "reviewer", json["params_input"]["reason"])
            return None
        if path.endswith("hitlDetails"):
            task = {"dag_run_id": "run", "task_id": "approval", "map_index": -1, "state": "awaiting_input"}
            request = {"subject": f"release {DIGEST[:12]}", "params": {}, "task_instance": task}
            return {"hitl_details": [request] if self.asked else []}
        state = "running" if self.asked else "failed"
        return {"dag_runs": [{"conf": {"digest": DIGEST}, "state": state}]}

    def trigger(self, dag: str, conf: dict[str, str], *, note: str) -> str:
        assert (dag, conf) == ("release", {"source": "shop", "digest": DIGEST})
        self.asked, self.requests = True, self.requests + 1
        return "again"


def bring(region: Region, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(rollout.time, "sleep", region.pause)
    monkeypatch.setattr(rollout, "reason_for", lambda *_: "what the figures say")
    said: list[str] = []
    rollout.bring(said.append, Settings(home=NOWHERE), region, DIGEST, reviewer=region, admin=region)  # type: ignore[arg-type]
    return said


ROAD = ("shadow", "canary_1", "canary_5", "canary_25", "canary_50", "champion")


def test_a_release_that_is_asked_about_is_approved_once_and_becomes_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region("gated", road=ROAD)
    said = bring(region, monkeypatch)
    assert (region.answers, region.requests) == (1, 0)
    assert [m.to_state for m in region.moves] == ["gated", "approved", *ROAD]
    assert any("canary_25" in line for line in said)


@pytest.mark.parametrize("left_at", ["approved", "shadow", "canary_5", "canary_50"])
def test_one_that_was_left_on_its_way_goes_on_without_another_answer(
    monkeypatch: pytest.MonkeyPatch, left_at: str
) -> None:
    region = Region(left_at, road=("champion",), asked=False)
    bring(region, monkeypatch)
    assert (region.answers, region.requests) == (0, 0)


def test_a_champion_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region("champion", asked=False)
    assert bring(region, monkeypatch) == []
    assert region.answers == 0


def test_one_that_ran_out_of_time_while_nobody_shopped_is_asked_about_again(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region("rolled_back", asked=False, road=ROAD)
    said = bring(region, monkeypatch)
    assert (region.answers, region.requests) == (1, 1)
    assert "was sent back: because (controller)" in said[0]


def test_a_controller_that_sends_it_back_twice_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region("gated", road=("shadow", "rolled_back") * 3)
    with pytest.raises(ReleaseError, match="is rolled_back: because") as refused:
        bring(region, monkeypatch)
    assert region.answers == 2
    assert f"caravan release approve {DIGEST[:12]}" in refused.value.remedy


@pytest.mark.parametrize(("state", "remedy"), [("rolled_back", "caravan release approve"), ("rejected", "later --end")])
def test_what_a_person_took_back_is_not_overruled(monkeypatch: pytest.MonkeyPatch, state: str, remedy: str) -> None:
    region = Region(state, actor="anna", asked=False)
    with pytest.raises(ReleaseError, match=rf"is {state}: because \(anna\)") as refused:
        bring(region, monkeypatch)
    assert remedy in refused.value.remedy
    assert region.answers == region.requests == 0


def room(state: str, policy: str) -> tuple[Region, list[str], CurrentRelease]:
    region, said = Region("gated", asked=False, road=("rolled_back",)), list[str]()
    region.moves[0].evidence["policy"] = policy
    region.add(state)
    return region, said, CurrentRelease(source="shop", digest=DIGEST, state=state, sequence=2)  # type: ignore[arg-type]


def test_an_older_demos_release_is_brought_to_its_end_first(monkeypatch: pytest.MonkeyPatch) -> None:
    region, said, place = room("canary_5", "demo")
    monkeypatch.setattr(rollout.time, "sleep", region.pause)
    rollout.make_room(said.append, Settings(home=NOWHERE), region, place)  # type: ignore[arg-type]
    assert "of a demo before this one is in progress (canary_5)" in said[0]
    assert region.state("", "") == "rolled_back"


def test_a_release_on_its_way_for_days_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    region, said, place = room("canary_5", "default")
    with pytest.raises(ReleaseError, match="that takes days") as refused:
        rollout.make_room(said.append, Settings(home=NOWHERE), region, place)  # type: ignore[arg-type]
    assert "caravan release stop" in refused.value.remedy


@pytest.mark.parametrize(
    ("policy", "day", "found"), [("demo", "d", DIGEST), ("default", "d", None), ("demo", "other", None)]
)
def test_only_a_demos_own_release_of_the_day_is_taken_up(policy: str, day: str, found: str | None) -> None:
    region, _, place = room("canary_5", policy)
    region.releases = lambda *_args, **_more: [place]  # type: ignore[attr-defined]
    assert rollout.left(Settings(home=NOWHERE), region, day, lambda _: "d") == found  # type: ignore[arg-type]


def test_an_answer_that_is_not_taken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Region):
        def call(self, method: str, path: str, *, json: Any = None, params: Any = None) -> Any:
            if method == "PATCH":
                self.add("refused", "reviewer", "reviewer is no reviewer")
                return None
            return super().call(method, path, json=json, params=params)

    with pytest.raises(ReleaseError, match="was not taken: reviewer is no reviewer"):
        bring(Strict("gated"), monkeypatch)


def test_a_frozen_shop_says_who_froze_it(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region("shadow", asked=False)
    region.add("frozen", "anna", "sale", until="2999-01-01T00:00:00+00:00")
    with pytest.raises(ReleaseError, match=r"frozen by anna \(sale\)"):
        bring(region, monkeypatch)


def test_a_controller_that_gives_no_sign_of_life_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "SILENCE_LIMIT_S", 0.0)
    with pytest.raises(StackError, match="the controller has been silent"):
        bring(Region("shadow", asked=False), monkeypatch)


@pytest.mark.parametrize(("shoppers", "people"), [(50, 1000), (600, 1200), (999, 1998), (1000, 1000), (1500, 1500)])
def test_enough_people_come_for_an_arm_of_one_percent_and_known_ones_first(shoppers: int, people: int) -> None:
    recorded = [Session(f"s{n}", (Step("view", "a"),)) for n in range(shoppers)]
    came = rollout.with_guests(recorded)
    assert came[:shoppers] == recorded
    assert len({session.user_id for session in came}) == people


def test_shoppers_leave_when_the_demo_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    class Quiet(rollout.DemoShoppers):
        def __init__(self) -> None:
            self._stop, self.report = threading.Event(), None

        def _run(self) -> None:
            self._stop.wait(10)
            stopped.set()

    with pytest.raises(KeyboardInterrupt), Quiet().shopping():
        raise KeyboardInterrupt
    assert stopped.is_set()
