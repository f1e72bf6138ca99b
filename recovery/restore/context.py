"""Holds the options and the state of one restore in progress, shared by its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from contracts.errors import RestoreRefused
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.restore.recovery_point import Chosen, Plan, Point
from recovery.vault.vault import Vault

#: Called with the step's name, what it is doing, and the seconds since the restore began.
Progress = Callable[[str, str, float], None]


def silent(_step: str, _what: str, _seconds: float) -> None:
    """Report no progress."""


class RestoreMode(StrEnum):
    """Why a region is restored. The state file keeps the value: a restore is resumed only in its own mode."""

    RECOVERY = "recovery"  # the other region is lost, and this one takes the lease from it
    PLANNED = "planned"  # both regions live: the other one is drained, and answers until the last step
    REHEARSAL = "rehearsal"  # the lease stays where it is, and the restored region stays closed


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How a restore is done: its mode, the refusals to override, and how far it goes.

    `reason` is recorded in the ledger and with the lease. `through` names the last step, all steps when empty. A
    restore with a `name` resumes the one of that name, even if it has ended.
    """

    mode: RestoreMode = RestoreMode.RECOVERY
    reason: str = ""
    although_alive: bool = False
    although_active: bool = False
    control_is_lost: bool = False
    through: str = ""
    name: str = ""


@dataclass(kw_only=True)
class Restore:
    """The region to restore, the vault to restore from, and the recovery point.

    `plan` is what was decided, possibly by an earlier run.
    """

    s: Settings
    machine: Machine
    vault: Vault
    point: Point
    options: RestoreOptions
    progress: Progress = silent
    plan: Plan | None = None
    epoch_before: int | None = None  # the one that an unfinished run before this one began
    chosen: Chosen | None = None
    damaged: dict[str, str] = field(default_factory=dict)  # snapshots found damaged when they were read, and why
    step: str = ""
    began: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        self.progress(self.step, what, time.monotonic() - self.began)

    @property
    def choice(self) -> Chosen:
        if self.chosen is None:
            raise RestoreRefused("no snapshot is chosen yet", remedy="the step `choose` comes first")
        return self.chosen

    @property
    def epoch(self) -> int:
        """Return the epoch that begins with this restore; 0 while there is none, as for a region that stays closed."""
        return (self.plan or {}).get("epoch") or 0


#: Does one step and returns what it did.
Step = Callable[[Restore], str]
