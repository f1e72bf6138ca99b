"""A rehearsal on a region that was the active one brings over what only that region has, before it replaces it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from artifacts import fence, state_file
from artifacts.fence import Right
from contracts.settings import Settings
from recovery.drills import rehearsal
from recovery.restore.resume import path_of as restore_state
from tests.recovery.vaults import settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class FakeLease:
    def __init__(self, *regions: str) -> None:
        self.epochs = [{"region": name, "since": NOW + timedelta(hours=n)} for n, name in enumerate(regions)]

    def history(self) -> list[dict[str, Any]]:
        return self.epochs

    def close(self) -> None: ...


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    s = settings().model_copy(update={"home": tmp_path, "region": "primary"})
    fence.write_right(s, Right(region="primary", epoch=2, standing="passive", until=0.0, boot=fence.boot()))
    return s


@pytest.mark.parametrize(
    ("regions", "restored_at", "through", "own"),
    [
        (("primary", "standby"), None, "", True),
        (("primary", "standby"), 2, "edge", False),  # a rehearsal since then replaced it, and brought it over
        (("primary", "standby"), 2, "preflight", True),  # one that was refused replaced nothing
        (("primary", "standby", "primary", "standby"), 2, "edge", True),
        (("standby",), None, "", False),
    ],
)
def test_it_has_its_own_when_it_was_active_since_its_last_restore(
    s: Settings,
    monkeypatch: pytest.MonkeyPatch,
    regions: tuple[str, ...],
    restored_at: int | None,
    through: str,
    own: bool,
) -> None:
    monkeypatch.setattr(rehearsal.RegionLease, "of", lambda _s: FakeLease(*regions))
    if restored_at is not None:
        began = (NOW + timedelta(hours=restored_at)).isoformat()
        restore_state(s).parent.mkdir(parents=True, exist_ok=True)
        state_file.write(restore_state(s), {"began_at": began, "steps": {through: {}}})
    assert rehearsal._has_its_own(s) is own
