"""The file of a restore is read from, and written for, other versions too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recovery.restore import resume
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.resume import RestoreState

NEWEST = Point.parse("newest")
PLANNED = RestoreOptions(reason="a test", mode=RestoreMode.PLANNED, name="a-run")
#: As another version wrote it in the middle of the step `database`, with a field that this one does not have.
FORMER: dict[str, Any] = {
    "asked": "newest", "name": "a-run", "kind": "planned", "reason": "a test", "began_at": "2026-03-01T02:17:00+00:00",
    "steps": {"preflight": {"said": "well", "seconds": 0.1, "at": "2026-03-01T02:17:01+00:00"}}, "epoch": 3,
    "plan": {"snapshot": "s000001", "epoch": 3}, "now": "database", "of_a_later_version": [1],
}  # fmt: skip


def test_nothing_of_another_versions_file_is_lost() -> None:
    state = RestoreState.from_dict(FORMER)
    assert resume.has_replaced(state)
    assert state.to_dict() == FORMER | {"damaged": {}, "unreadable": []}


def test_an_unfinished_restore_has_no_end_in_its_file() -> None:
    """The former version took the mere presence of the field for the end."""
    assert "ended_at" not in RestoreState.from_dict(FORMER).to_dict()
    assert RestoreState.from_dict(FORMER | {"ended_at": None}).to_dict() == RestoreState.from_dict(FORMER).to_dict()


def test_only_the_same_restore_is_resumed() -> None:
    begun = replace(RestoreState.from_dict(FORMER), began_at=resume.now())
    unnamed = replace(PLANNED, name="")
    assert resume.resumes(begun, NEWEST, unnamed)
    assert not resume.resumes(begun, Point.parse("s1"), unnamed)
    assert not resume.resumes(begun, NEWEST, replace(unnamed, mode=RestoreMode.RECOVERY))
    assert not resume.resumes(RestoreState.from_dict(FORMER), NEWEST, unnamed)  # too old
    assert resume.resumes(RestoreState.from_dict(FORMER), NEWEST, PLANNED)  # by its name, however old it is
