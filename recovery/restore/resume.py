"""Resumes a restore that was killed: what it decided and did is kept in a file of the target region."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from artifacts import state_file
from contracts.recovery import RestoreStep
from contracts.settings import Settings
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point

#: Seconds after which an unfinished restore is not resumed: its newest snapshot is no longer the newest.
RESUMED_WITHIN_S = 6 * 3600.0
#: Steps that are repeated when a restore resumes: they only look, and the others need what they see.
ALWAYS = (RestoreStep.PREFLIGHT, RestoreStep.CHOOSE, RestoreStep.KEYS, RestoreStep.FENCE)


class StepDone(TypedDict):
    """What a step says it did, how long it took in seconds, and when it ended."""

    said: str
    seconds: float
    at: str


@dataclass(kw_only=True)
class RestoreState:
    """The progress of one restore, as its file has it."""

    asked: str  # the recovery point, as it was asked for
    kind: str  # a RestoreMode
    name: str = ""
    reason: str = ""
    began_at: str
    ended_at: str | None = None
    now: str = ""  # the step that runs; empty between two runs
    steps: dict[str, StepDone] = field(default_factory=dict)
    epoch: int | None = None  # the one that this restore, or an unfinished one before it, began
    plan: dict[str, Any] | None = None
    damaged: dict[str, str] = field(default_factory=dict)  # snapshots that turned out so when they were used, and why
    unreadable: list[str] = field(default_factory=list)  # files of the vault
    others: dict[str, Any] = field(default_factory=dict)  # fields of other versions, written back as they were

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> RestoreState:
        """Return the state that `to_dict`, of this version or another, made."""
        known = {one.name for one in fields(cls)} - {"others"}
        given = {name: value for name, value in body.items() if name in known and value is not None}
        others = {name: value for name, value in body.items() if name not in known}
        return cls(**{"asked": "", "kind": "", **given}, others=others)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values. What there is none of is left out: an end that is null counts as an end."""
        body = {name: value for name, value in asdict(self).items() if value is not None and name != "others"}
        return self.others | body

    @property
    def age(self) -> float:
        """Return the seconds since it began."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.began_at)).total_seconds()


def path_of(s: Settings) -> Path:
    """Return the file in which the restore of this region is kept."""
    return s.paths.restore


def read_state(s: Settings) -> RestoreState | None:
    """Read the newest restore of the region; None when there was none."""
    found = state_file.read(path_of(s))
    return None if found is None else RestoreState.from_dict(found)


def write_state(s: Settings, state: RestoreState) -> None:
    """Write the state, whole or not at all."""
    state_file.write(path_of(s), state.to_dict())


def now() -> str:
    """Return the time as the file has it."""
    return datetime.now(UTC).isoformat()


def begin(s: Settings, point: Point, options: RestoreOptions) -> RestoreState:
    """Return the state of the restore that is resumed, or of a new one."""
    saved = read_state(s)
    if saved is None or not resumes(saved, point, options):
        epoch = None if saved is None or saved.ended_at else saved.epoch
        saved = RestoreState(
            asked=point.asked, name=options.name, kind=options.mode, reason=options.reason, began_at=now(),
            epoch=epoch,
        )  # fmt: skip
    if not has_replaced(saved):  # nothing hangs on what was decided then, and the vault may have more by now
        saved.plan = None
    return saved


def resumes(saved: RestoreState, point: Point, options: RestoreOptions) -> bool:
    """Check whether the restore that was begun is the one asked for now."""
    if saved.asked != point.asked or saved.kind != options.mode:
        return False
    if options.name and saved.name == options.name:
        return True
    return not saved.ended_at and saved.age < RESUMED_WITHIN_S


def has_replaced(saved: RestoreState) -> bool:
    """Check whether the restore has begun to replace what the region holds."""
    return bool(set(saved.steps) - set(ALWAYS)) or saved.now not in ("", *ALWAYS)


def unfinished_epoch(s: Settings) -> int | None:
    """Return the epoch that an unfinished restore of the region began, or None."""
    saved = read_state(s)
    return None if saved is None or saved.ended_at else saved.epoch
