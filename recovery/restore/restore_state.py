"""Keeps what a restore has decided and done in a file of the target region, so that a killed restore can resume."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypedDict

from artifacts import state_file
from contracts.settings import Settings
from recovery.restore.context import RestoreOptions
from recovery.restore.recovery_point import Plan, Point

#: Age at which an unfinished restore is no longer resumed: its newest snapshot is not the newest any more.
RESUMABLE_FOR_S = 6 * 3600.0
#: Steps that are repeated when a restore resumes: they only look, and the others need what they see.
ALWAYS = ("preflight", "choose", "keys", "fence")


class StepRecord(TypedDict):
    """What a step that is done reports, how long it took, and when it ended (ISO 8601, UTC)."""

    said: str
    seconds: float
    at: str


def path(s: Settings) -> Path:
    """Return the state file of the region `s.region`."""
    return s.region_home / "recovery" / "restore.json"


@dataclass(kw_only=True)
class RestoreState:
    """One restore, as its file records it.

    `asked` is the recovery point in the caller's words, `kind` a RestoreMode, `now` the step that is running.
    `damaged` are snapshots found damaged when they were read, and why; `unreadable` are keys of the vault.
    """

    began_at: datetime
    asked: str = ""
    name: str = ""
    kind: str = ""
    reason: str = ""
    steps: dict[str, StepRecord] = field(default_factory=dict)
    plan: Plan | None = None
    epoch: int | None = None
    damaged: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    now: str = ""
    ended_at: str | None = None
    others: dict[str, Any] = field(default_factory=dict)  # fields of another version: written back as they were

    @classmethod
    def begin(cls, point: Point, options: RestoreOptions, *, epoch: int | None) -> Self:
        """Return the state of a restore that begins now; `epoch` is the one an unfinished restore began."""
        return cls(
            asked=point.asked, name=options.name, kind=options.mode.value, reason=options.reason,
            began_at=datetime.now(UTC), epoch=epoch,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Self:
        """Return the state that `to_dict`, of this or another version, wrote. Raises KeyError without a beginning."""
        known = {f.name for f in fields(cls)} - {"others"}
        given = {name: value for name, value in body.items() if name in known}
        given["began_at"] = datetime.fromisoformat(body["began_at"])
        return cls(**given, others={name: value for name, value in body.items() if name not in known})

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        body = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "others"}
        if self.ended_at is None:  # its mere presence says that the restore has ended
            del body["ended_at"]
        return {**self.others, **body, "began_at": self.began_at.isoformat()}

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Return the state in `file`, or None when there is none or it cannot be read."""
        body = state_file.read(file)
        return None if body is None else cls.from_dict(body)

    def write(self, file: Path, *, now: str | None = None) -> None:
        """Replace `file`; `now` is recorded as the running step without being kept here."""
        state_file.write(file, self.to_dict() | ({} if now is None else {"now": now}))

    @property
    def unfinished_epoch(self) -> int | None:
        """Return the epoch that this restore began without ending, or None."""
        return None if self.ended_at else self.epoch

    def has_replaced(self) -> bool:
        """Check whether the restore has begun to replace what the region holds."""
        return bool(set(self.steps) - set(ALWAYS)) or self.now not in ("", *ALWAYS)

    def resumes(self, point: Point, options: RestoreOptions) -> bool:
        """Check whether this is the restore that is asked for now, and may still be resumed."""
        if self.asked != point.asked or self.kind != options.mode:
            return False
        if options.name and self.name == options.name:
            return True
        age = datetime.now(UTC) - self.began_at
        return not self.ended_at and age.total_seconds() < RESUMABLE_FOR_S

    def record(self, step: str, said: str, seconds: float) -> None:
        """Record a step as done."""
        self.steps[step] = StepRecord(said=said, seconds=round(seconds, 2), at=datetime.now(UTC).isoformat())

    def forget_choice(self, *, damaged: dict[str, str], unreadable: set[str]) -> None:
        """Go back to the choice of a snapshot, now that these files and snapshots are known to be damaged."""
        self.steps = {name: record for name, record in self.steps.items() if name in ALWAYS}
        self.plan, self.damaged, self.unreadable = None, damaged, sorted(unreadable)
