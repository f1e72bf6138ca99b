"""Records what a rehearsal stops of the active region, before it stops it.

A rehearsal that is killed cannot start these services again. The next rehearsal of that region does, and so does
`caravan up`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artifacts import state_file
from contracts.settings import Settings
from recovery.machine import Machine


def path(s: Settings) -> Path:
    return s.paths.suspended


def stop(s: Settings, machine: Machine, groups: Sequence[Sequence[str]]) -> None:
    """Stop services of the region; `groups` is the order in which they are started again."""
    if groups:
        state_file.write(path(s), {"groups": [list(group) for group in groups]})
        machine.stop(*(name for group in groups for name in group))


def start_again(s: Settings, machine: Machine) -> list[str]:
    """Start the recorded services, whoever stopped them; return their names."""
    groups = (state_file.read(path(s)) or {}).get("groups", [])
    for group in groups:
        machine.start(*group)
    clear(s)
    return [name for group in groups for name in group]


def clear(s: Settings) -> None:
    """Remove the record: the whole region runs again."""
    path(s).unlink(missing_ok=True)
