"""Tells people when the disk is so full that writes are shed, and when they are taken again."""

from __future__ import annotations

from datetime import datetime

from contracts.settings import Settings
from monitoring import alerts
from serving.events.disk_room import DiskRoom


class DiskWatch:
    """Watches the disk of one region's home, as its engines do; one alert when writes stop, one when they go on."""

    def __init__(self, s: Settings, room: DiskRoom | None = None) -> None:
        self._s = s
        self._room = room or DiskRoom(s.paths.home, s.disk_reserve_mb)
        self._told = False

    def look(self, *, now: datetime) -> None:
        """Look once; an alert that cannot be written to the full disk is in the log of the controller all the same."""
        if (full := self._room.full) == self._told:
            return
        self._told = full
        if full:
            text = (
                f"{self._room.free_mb} MB of the disk of {self._s.paths.home} are free, less than the "
                f"{self._s.disk_reserve_mb} MB that stay free: no event is taken and no impression is logged; "
                "`caravan sweep` shows what nobody needs"
            )
            alerts.tell(self._s, part="serving", severity="critical", text=text, now=now)
        else:
            text = f"{self._room.free_mb} MB of the disk of {self._s.paths.home} are free: events are taken again"
            alerts.tell(self._s, part="serving", severity="info", text=text, now=now)
