"""A failback that was given up can be begun again, and one that was killed goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from contracts.settings import Settings
from recovery.failback import failback
from recovery.failback.failback_state import FailbackState
from recovery.region_lease.lease import Lease
from tests.recovery.vaults import settings

NAMES = ("look", "copy", "drain", "last_copy", "open")
HELD = Lease(
    region="standby", epoch=2, left=20.0, renewable=True, draining=False, since=datetime(2026, 3, 1, tzinfo=UTC),
    actor="recovery", reason="a test",
)  # fmt: skip


class FakeLease:
    """Control's lease, of the standby."""

    def __init__(self) -> None:
        self.held = HELD

    def look(self) -> Lease:
        return self.held

    def drain(self, region: str, epoch: int, *, draining: bool = True) -> None:
        assert (region, epoch) == (self.held.region, self.held.epoch)
        self.held = replace(self.held, draining=draining)

    def close(self) -> None: ...


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> FakeLease:
    lease = FakeLease()
    monkeypatch.setattr(failback.RegionLease, "of", lambda _s: lease)
    return lease


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    return settings().model_copy(update={"home": tmp_path, "region": "primary"})


class Steps:
    """Steps that write down that they ran; `drain` drains."""

    def __init__(self, lease: FakeLease) -> None:
        self.lease = lease
        self.ran: list[str] = []

    def all(self) -> dict[str, failback.Step]:
        return {name: self._step(name) for name in NAMES}

    def _step(self, name: str) -> failback.Step:
        def step(_run: failback.Failback) -> str:
            self.ran.append(name)
            if name == "drain":
                self.lease.drain(self.lease.held.region, self.lease.held.epoch)
            return name

        return step


@pytest.fixture
def steps(lease: FakeLease) -> Steps:
    return Steps(lease)


def go(s: Settings, steps: Steps, through: str = "") -> failback.FailbackState:
    return failback.fail_back(s, None, None, reason="a test", through=through, steps=steps.all())  # type: ignore[arg-type]


def test_one_that_was_given_up_begins_again(s: Settings, lease: FakeLease, steps: Steps) -> None:
    go(s, steps, through="last_copy")
    assert "takes writes again" in failback.give_up(s)
    assert not lease.held.draining
    go(s, steps, through="last_copy")
    assert steps.ran == [*NAMES[:4], *NAMES[:4]]
    assert lease.held.draining


def test_so_does_one_whose_region_takes_writes_again(s: Settings, lease: FakeLease, steps: Steps) -> None:
    go(s, steps, through="drain")
    lease.drain("standby", 2, draining=False)
    go(s, steps, through="drain")
    assert steps.ran == [*NAMES[:3], *NAMES[:3]]


def test_one_that_was_stopped_goes_on(s: Settings, lease: FakeLease, steps: Steps) -> None:
    go(s, steps, through="copy")
    go(s, steps, through="drain")
    lease.held = replace(HELD, region="primary", epoch=3)  # the switch is done, and it was killed just then
    go(s, steps)
    assert steps.ran == list(NAMES)


def test_the_last_copy_is_what_is_restored(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = SimpleNamespace(id="s000007")
    monkeypatch.setattr(failback.taking, "create", lambda *_, **__: SimpleNamespace(snapshot=snapshot, moved=1_500_000))
    state = FailbackState(from_epoch=2)
    run = failback.Failback(target=s, machine=None, others=None, reason="a test", state=state)  # type: ignore[arg-type]
    assert failback.last_copy(run) == "s000007 of standby, 1.5 MB moved"
    assert run.state.snapshot == "s000007"


def test_a_file_of_another_version_is_read_and_nothing_of_it_is_lost() -> None:
    former = {
        "from_epoch": 2, "reason": "a test", "steps": {"look": {"said": "well", "seconds": 0.1}}, "snapshot": "s000007",
        "ended_at": 1.5, "of_a_later_version": [1],
    }  # fmt: skip
    assert FailbackState.from_dict(former).to_dict() == former
    unfinished = FailbackState(from_epoch=2, reason="a test").to_dict()
    assert unfinished == {"from_epoch": 2, "reason": "a test", "steps": {}}
