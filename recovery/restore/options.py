"""Defines what a person or a task asks of a restore, beside the region and the recovery point."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RestoreMode(StrEnum):
    """Why a region is restored; the words are kept in the file of a restore."""

    RECOVERY = "recovery"
    PLANNED = "planned"  # a switch of two living regions: the other one is drained, and answers until the last step
    REHEARSAL = "rehearsal"  # the lease stays where it is, and the restored region stays closed


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """Options of one restore.

    `through` names the last step to run, all of them when empty. `name` continues the restore of that name, even one
    that has ended. The others allow what is refused otherwise.
    """

    reason: str = ""
    mode: RestoreMode = RestoreMode.RECOVERY
    through: str = ""
    name: str = ""
    although_alive: bool = False
    although_active: bool = False
    control_is_lost: bool = False

    @property
    def planned(self) -> bool:
        return self.mode is RestoreMode.PLANNED

    @property
    def rehearsal(self) -> bool:
        return self.mode is RestoreMode.REHEARSAL
