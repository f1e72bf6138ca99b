"""Back to the release before: on the ledger, while another is in progress, and on a running region."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from artifacts.ledger import Ledger
from caravan.cli.main import app
from caravan.stack.supervision import supervisor
from contracts.errors import Conflict, IllegalMove, NotFound, ServingError, SettingsError, StoreUnavailable
from contracts.release import State
from contracts.settings import Settings, read_settings
from monitoring import alerts
from releases.rollback import JUST_NOW, foresee, just_now, rollback, stop, stoppable
from releases.rollout.region import EngineReadiness
from releases.rollout.routing_wait import await_release, last_beat
from serving.edge.edge import TrafficSplit
from tests.releases.own_ledger import ROAD, move_release, walk
from tests.scenarios.live_canary import LiveCanary

FIRST, SECOND, THIRD, MOVING = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)


@pytest.mark.stack
def test_the_release_before_is_champion_again_and_the_bad_one_is_rolled_back(ledger: Ledger) -> None:
    for digest in (FIRST, SECOND, THIRD):
        walk(ledger, digest, *ROAD)
    move = rollback(ledger, "shop", person="oncall", reason=" carts\nfell ")
    assert (move.digest, move.to_state, move.actor, move.reason) == (SECOND, "champion", "oncall", "carts fell")
    assert move.evidence == {"rollback": True, "from": THIRD}
    assert {p.digest: p.state for p in ledger.releases("shop")} == {
        FIRST: "retired", SECOND: "champion", THIRD: "rolled_back",
    }  # fmt: skip
    rollback(ledger, "shop", person="oncall", reason="that one too")
    assert ledger.state("shop", FIRST) == "champion"
    with pytest.raises(NotFound, match="111111111111 serves, and what served before was rolled back: 222222222222, 3"):
        rollback(ledger, "shop", person="oncall", reason="and again")
    assert ledger.verify() == len(ledger.history())


@pytest.mark.stack
def test_without_a_release_before_nothing_moves(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="none serves"):
        rollback(ledger, "shop", person="oncall", reason="why not")
    walk(ledger, FIRST, *ROAD)
    walk(ledger, MOVING, "built", "gated", "approved", "shadow")
    with pytest.raises(NotFound, match="111111111111 serves, and none served before") as none:
        rollback(ledger, "shop", person="oncall", reason="why not")
    assert "`caravan release stop 444444444444`" in none.value.remedy
    assert ledger.state("shop", MOVING) == "shadow"
    with pytest.raises(SettingsError, match="no reason"):
        rollback(ledger, "shop", person="oncall", reason=" \n\0")


@pytest.mark.stack
@pytest.mark.parametrize("state", ["approved", "shadow", "canary_1", "canary_50"])
def test_a_release_in_progress_is_stopped_first(ledger: Ledger, state: State) -> None:
    for digest in (FIRST, SECOND):
        walk(ledger, digest, *ROAD)
    road: list[State] = ["built", "gated", "approved", "shadow", "canary_1", "canary_5", "canary_25", "canary_50"]
    walk(ledger, MOVING, *road[: road.index(state) + 1])
    assert [p.digest for p in foresee(ledger, "shop").in_progress] == [MOVING]
    rollback(ledger, "shop", person="oncall", reason="carts fell")
    last = ledger.history("shop")[-3:]
    assert [(m.digest, m.to_state) for m in last] == [
        (MOVING, "rolled_back"), (SECOND, "rolled_back"), (FIRST, "champion"),
    ]  # fmt: skip
    assert last[0].reason == "rollback: carts fell"


@pytest.mark.stack
@pytest.mark.parametrize("state", ["approved", "shadow", "canary_1", "canary_50"])
def test_a_person_takes_a_release_off_its_way_beside_the_first_champion(ledger: Ledger, state: State) -> None:
    walk(ledger, FIRST, *ROAD)
    road: list[State] = ["built", "gated", "approved", "shadow", "canary_1", "canary_5", "canary_25", "canary_50"]
    walk(ledger, MOVING, *road[: road.index(state) + 1])
    assert stoppable(ledger, "shop", MOVING) == state
    move = stop(ledger, "shop", MOVING, person="oncall", reason=" odd\nanswers ")
    assert (move.from_state, move.to_state, move.actor, move.reason) == (state, "rolled_back", "oncall", "odd answers")
    assert ledger.state("shop", FIRST) == "champion"


@pytest.mark.stack
def test_what_is_not_in_progress_is_not_stopped_and_what_helps_is_said(ledger: Ledger) -> None:
    walk(ledger, FIRST, *ROAD)
    walk(ledger, SECOND, "built", "gated")
    walk(ledger, THIRD, "built", "gated", "rejected")
    before = ledger.history()
    for digest, helps in ((FIRST, "release rollback"), (SECOND, "release reject 2222"), (THIRD, "release list")):
        for attempt in (stoppable, lambda *about: stop(*about, person="oncall", reason="why not")):
            with pytest.raises(IllegalMove, match="not in progress") as refused:
                attempt(ledger, "shop", digest)
            assert helps in refused.value.remedy
    assert ledger.history() == before


@pytest.mark.stack
def test_a_second_press_of_the_button_is_known_as_one(ledger: Ledger) -> None:
    for digest in (FIRST, SECOND, THIRD):
        walk(ledger, digest, *ROAD)
    assert just_now(ledger, "shop") is None
    shown = foresee(ledger, "shop")
    move = rollback(ledger, "shop", person="oncall", reason="carts fell", plan=shown)
    assert just_now(ledger, "shop") == move
    assert just_now(ledger, "shop", now=move.at + JUST_NOW) is None
    with pytest.raises(Conflict, match="changed meanwhile: it is 222222222222 now"):
        rollback(ledger, "shop", person="admin", reason="carts fell", plan=shown)
    assert ledger.state("shop", FIRST) == "retired"


@pytest.mark.stack
def test_of_two_who_roll_back_at_once_one_goes_back_one_step(ledger: Ledger) -> None:
    for digest in (FIRST, SECOND):
        walk(ledger, digest, *ROAD)

    def back(person: str) -> str:
        try:
            return rollback(ledger, "shop", person=person, reason="carts fell").digest
        except (Conflict, NotFound) as error:
            return type(error).__name__

    with ThreadPoolExecutor(6) as pool:
        came = list(pool.map(back, "abcdef"))
    assert came.count(FIRST) == 1
    assert ledger.state("shop", FIRST) == "champion"
    assert len(ledger.releases("shop", among=("champion",))) == 1


class FakeRegion:
    """Engines that serve what they are told; routes and steps are written down."""

    def __init__(self, **serves: str) -> None:
        self.serves = {"champion": SECOND, "control": None, "canary": None, "former": None, **serves}
        self.now: TrafficSplit | None = TrafficSplit()
        self.routed: list[TrafficSplit] = []

    def readiness(self) -> Mapping[str, EngineReadiness]:
        return {slot: EngineReadiness(serves=digest, reason="warming up") for slot, digest in self.serves.items()}

    def split(self) -> TrafficSplit | None:
        return self.now

    def route(self, split: TrafficSplit) -> None:
        self.now = split
        self.routed.append(split)

    def point(self, slot: str, digest: str) -> None:
        raise AssertionError

    def signed(self, digest: str) -> None:
        raise AssertionError

    def catalog(self, source: str, champion: str) -> frozenset[str] | None:
        raise AssertionError

    def ask(self) -> str | None:
        return self.serves[self.now.rest_engine] if self.now else None


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    s = read_settings(home=tmp_path)
    s.paths.home.mkdir(parents=True)
    return s


def beats(s: Settings, age: float = 0.0) -> None:
    s.paths.heartbeat("controller").write_text(json.dumps({"at": time.time() - age, "doing": "nothing"}))


def test_while_the_controller_lives_nobody_helps_it(home: Settings) -> None:
    beats(home)
    region = FakeRegion(champion=FIRST)
    arrival = await_release(home, FIRST, region=region, tick=pytest.fail, ask=region.ask)
    assert (arrival.engine, arrival.helped) == ("champion", False)


@pytest.mark.parametrize("age", [None, 4.0])
def test_a_silent_controllers_step_is_made_for_it(home: Settings, age: float | None) -> None:
    if age is not None:
        beats(home, age)
    region = FakeRegion(former=FIRST)
    arrival = await_release(
        home, FIRST, region=region, tick=lambda: region.route(TrafficSplit(rest_engine="former")), ask=region.ask
    )
    assert (arrival.engine, arrival.helped) == ("former", True)
    assert arrival.seconds < 2
    assert len(region.routed) == 1


def test_without_the_object_store_the_weights_move_all_the_same(home: Settings) -> None:
    region = FakeRegion(former=FIRST)

    def tick() -> None:
        raise StoreUnavailable("the object store does not answer")

    arrival = await_release(home, FIRST, region=region, tick=tick, ask=region.ask)
    assert arrival.engine == "former"
    assert region.now == TrafficSplit(rest_engine="former")


def test_what_is_missing_is_said_when_it_takes_too_long(home: Settings) -> None:
    beats(home)
    region = FakeRegion()
    with pytest.raises(ServingError, match="engine champion serves 222222222222 .warming up."):
        await_release(home, FIRST, region=region, tick=lambda: None, ask=region.ask, timeout=0.3)
    region.now = TrafficSplit(control=5, rest=90, canary=5)
    with pytest.raises(ServingError, match="still splits"):
        await_release(home, FIRST, region=region, tick=lambda: None, ask=region.ask, timeout=0.1)
    region.now = TrafficSplit()
    with pytest.raises(ServingError, match="the edge answers with nothing"):
        await_release(home, SECOND, region=region, tick=lambda: None, ask=lambda: None, timeout=0.1)


def test_a_torn_heartbeat_is_none(home: Settings) -> None:
    assert last_beat(home) is None
    home.paths.heartbeat("controller").write_text('{"at": 1')
    assert last_beat(home) is None


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.parametrize("controller", ["lives", "is dead"])
def test_the_command_brings_all_shoppers_back_within_ten_seconds(
    stack: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, controller: str
) -> None:
    live = LiveCanary(stack)
    first = live.champion()
    second = live.release(seed=1)
    live.approve(second)
    move_release(
        live.ledger,
        live.source,
        second,
        to="champion",
        expected=live.state(second),
        actor="test",
        reason="no canary here",
    )
    live.await_serving(second)
    for module in ("rollback", "release"):
        monkeypatch.setattr(f"caravan.cli.release.{module}.settings", lambda: stack)
    # neither Airflow nor MLflow answers tonight
    monkeypatch.setattr("caravan.cli.release.sign_in.answering", lambda _s: False)
    monkeypatch.setattr("monitoring.alerts._path", lambda _s: tmp_path / "alerts.jsonl")
    command = ["release", "rollback", "--reason", "carts fell"]
    before = live.ledger.history(live.source)
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"{second[:12]} -> {first[:12]}" in dry.output
    assert "nothing would refuse it" in dry.output
    assert live.ledger.history(live.source) == before

    process = f"{stack.region}:{stack.region}-controller"
    if controller == "is dead":
        supervisor.call(stack, "stopProcess", process, True)
    try:
        began = time.monotonic()
        result = CliRunner().invoke(app, command)
        spent = time.monotonic() - began
    finally:
        if controller == "is dead":
            supervisor.call(stack, "startProcess", process, False)
    print(f"controller {controller}: {spent:.2f} s: {result.output}")
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    assert ("the controller had not done it" in result.output) == (controller == "is dead")
    assert f"{first[:12]} serves all shoppers" in result.output
    assert live.asked() == first
    assert spent < 10
    move = live.ledger.champion(live.source)
    assert move is not None
    assert "not signed in" in move.actor
    assert "find out who it was" in alerts.read_alerts(stack)[-1].text
    again = CliRunner().invoke(app, command)
    assert "nothing more is moved" in again.output
    assert f"{first[:12]} serves all shoppers" in again.output
    assert live.ledger.champion(live.source) == move
