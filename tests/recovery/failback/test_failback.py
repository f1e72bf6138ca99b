"""A failback that was given up can be begun again, and one that was killed goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.settings import Settings
from recovery.failback import failback
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


@pytest.fixture
def ran(lease: FakeLease, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that ran; `drain` drains."""
    ran: list[str] = []

    def step(name: str) -> object:
        def do(_run: failback.Failback) -> str:
            ran.append(name)
            if name == "drain":
                lease.drain(lease.held.region, lease.held.epoch)
            return name

        return do

    monkeypatch.setattr(failback, "STEPS", {name: step(name) for name in NAMES})
    return ran


def go(s: Settings, through: str = "") -> None:
    failback.fail_back(s, None, None, reason="a test", through=through)  # type: ignore[arg-type]


def test_one_that_was_given_up_begins_anew(s: Settings, lease: FakeLease, ran: list[str]) -> None:
    go(s, through="last_copy")
    assert "takes writes again" in failback.give_up(s)
    assert not lease.held.draining
    go(s, through="last_copy")
    assert ran == [*NAMES[:4], *NAMES[:4]]
    assert lease.held.draining


def test_so_does_one_whose_region_takes_writes_again_for_whatever_reason(
    s: Settings, lease: FakeLease, ran: list[str]
) -> None:
    go(s, through="drain")
    lease.drain("standby", 2, draining=False)
    go(s, through="drain")
    assert ran == [*NAMES[:3], *NAMES[:3]]


def test_one_that_was_stopped_goes_on(s: Settings, lease: FakeLease, ran: list[str]) -> None:
    go(s, through="copy")
    go(s, through="drain")
    lease.held = replace(HELD, region="primary", epoch=3)  # the switch is done, and it was killed just then
    go(s)
    assert ran == list(NAMES)
