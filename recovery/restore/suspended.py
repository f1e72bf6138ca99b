"""What a rehearsal has stopped of the active region, written down before it is stopped.

A rehearsal that is killed can not start it again. The next one of that region does, and `caravan up`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artifacts import state_file
from contracts.settings import Settings
from recovery.machine import Machine


def path(s: Settings) -> Path:
    return s.region_home / "recovery" / "stopped.json"


def stop(s: Settings, machine: Machine, groups: Sequence[Sequence[str]]) -> None:
    """Stop services of the region; `groups` is the order in which they are started again."""
    if groups:
        state_file.write(path(s), {"groups": [list(group) for group in groups]})
        machine.stop(*(name for group in groups for name in group))


def start_again(s: Settings, machine: Machine) -> list[str]:
    """Start what is written down, by whomever it was stopped; their names."""
    groups = (state_file.read(path(s)) or {}).get("groups", [])
    for group in groups:
        machine.start(*group)
    forget(s)
    return [name for group in groups for name in group]


def forget(s: Settings) -> None:
    """All of the region runs again."""
    path(s).unlink(missing_ok=True)
