"""The record of a restore is read by, and written for, other versions too."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recovery.restore.context import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore_state import RestoreState

NEWEST = Point.parse("newest")
#: As a version before this record wrote it, in the middle of the step `database`, and one field that it did not have.
FORMER: dict[str, Any] = {
    "asked": "newest", "name": "a-run", "kind": "planned", "reason": "a test", "began_at": "2026-03-01T02:17:00+00:00",
    "steps": {"preflight": {"said": "well", "seconds": 0.1, "at": "2026-03-01T02:17:01+00:00"}}, "epoch": 3,
    "plan": {"snapshot": "s000001", "epoch": 3}, "now": "database", "of_a_later_version": [1],
}  # fmt: skip


def test_a_file_of_another_version_is_read_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "restore.json"
    file.write_text(json.dumps(FORMER))
    state = RestoreState.read(file)
    assert state is not None
    assert state.has_replaced()
    assert (state.epoch, state.unfinished_epoch) == (3, 3)
    state.write(file)
    assert json.loads(file.read_text()) == FORMER | {"damaged": {}, "unreadable": []}


def test_an_unfinished_restore_has_no_end_in_its_file(tmp_path: Path) -> None:
    """A former version takes the mere presence of the field for the end."""
    state = RestoreState.begin(NEWEST, RestoreOptions(reason="a test"), epoch=None)
    assert "ended_at" not in state.to_dict()
    ended = replace(state, ended_at=datetime.now(UTC).isoformat(), epoch=4)
    assert ended.to_dict()["ended_at"] == ended.ended_at
    assert ended.unfinished_epoch is None


def test_only_the_same_restore_is_resumed() -> None:
    planned = RestoreOptions(reason="a test", mode=RestoreMode.PLANNED, name="a-run")
    state = RestoreState.begin(NEWEST, planned, epoch=None)
    assert state.resumes(NEWEST, planned)
    assert not state.resumes(Point.parse("s1"), planned)
    assert not state.resumes(NEWEST, replace(planned, mode=RestoreMode.RECOVERY))
    old = RestoreState.from_dict(FORMER)
    assert old.resumes(NEWEST, planned)  # by its name, however old it is
    assert not old.resumes(NEWEST, replace(planned, name=""))
