"""Warns while there is time that disk space for snapshots runs out: nothing removes them automatically."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from contracts.settings import Settings
from monitoring import alerts

#: Share of the disk that should stay free.
LEAST_FREE = 0.15


def watch(s: Settings, *, now: datetime | None = None) -> None:
    """Alert, at most once a day, when little of this stack's disk is free, and say what to do."""
    disk, at = shutil.disk_usage(s.home), now or datetime.now(UTC)
    if disk.free >= LEAST_FREE * disk.total:
        return
    text = (
        f"{disk.free / 1e9:.1f} GB ({disk.free / disk.total:.0%}) of the disk of {s.home} are free; snapshots are "
        "never removed by themselves: `caravan snapshot prune` does, with the vault administrator's key"
    )
    alerts.tell_once(s, f"little room on {at.date()}", part="recovery", severity="warning", text=text, now=at)
