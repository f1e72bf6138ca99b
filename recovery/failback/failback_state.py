"""Keeps what a failback has done in a file of the region that is rebuilt, so that a killed failback can resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypedDict

from artifacts import state_file


class StepDone(TypedDict):
    """What a step that is done reports, and its duration in seconds."""

    said: str
    seconds: float


@dataclass(kw_only=True)
class FailbackState:
    """One failback, as its file records it.

    `from_epoch` is the epoch in which it began, `snapshot` the last copy, once it is taken; `ended_at` in seconds since
    1970.
    """

    from_epoch: int
    reason: str = ""
    steps: dict[str, StepDone] = field(default_factory=dict)
    snapshot: str | None = None
    ended_at: float | None = None
    others: dict[str, Any] = field(default_factory=dict)  # fields of another version: written back as they were

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Self:
        """Return the state that `to_dict`, of this or another version, wrote. Raises TypeError without an epoch."""
        known = {f.name for f in fields(cls)} - {"others"}
        given = {name: value for name, value in body.items() if name in known}
        return cls(**given, others={name: value for name, value in body.items() if name not in known})

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values; what is not known yet is left out."""
        body = {name: value for name, value in asdict(self).items() if value is not None and name != "others"}
        return self.others | body

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Return the state in `file`, or None when there is none or it cannot be read."""
        body = state_file.read(file)
        return None if body is None else cls.from_dict(body)

    def write(self, file: Path) -> None:
        """Write the state, whole or not at all."""
        state_file.write(file, self.to_dict())
