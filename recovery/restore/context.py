"""Holds the state of one restore in progress, shared by its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import RestoreRefused
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Chosen, Point
from recovery.vault.vault import Vault

#: Called with the step's name, what it is doing, and the seconds since the restore began.
Progress = Callable[[str, str, float], None]


def silent(_step: str, _what: str, _seconds: float) -> None:
    """Report no progress."""


@dataclass(kw_only=True)
class Restore:
    """The region to restore, the vault to restore from, and the recovery point.

    `plan` is what was decided, possibly by an earlier run.
    """

    s: Settings
    machine: Machine
    vault: Vault
    point: Point
    options: RestoreOptions = field(default_factory=RestoreOptions)
    progress: Progress = silent
    plan: dict[str, Any] | None = None
    epoch_before: int | None = None  # the one that an unfinished run before this one began
    chosen: Chosen | None = None
    damaged: dict[str, str] = field(default_factory=dict)  # snapshots that turned out so when they were used, and why
    step: str = ""
    began: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        self.progress(self.step, what, time.monotonic() - self.began)

    @property
    def choice(self) -> Chosen:
        if self.chosen is None:
            raise RestoreRefused("no snapshot is chosen yet", remedy="the step `choose` comes first")
        return self.chosen


#: Does one step and returns what it did.
Step = Callable[[Restore], str]
