"""Writes and reads alerts for people: one JSON line each, in a file that is only ever appended to."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from contracts.settings import Settings

log = logging.getLogger(__name__)

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert. `part`: the room it comes from; `about`: its subject, by which tell_once writes it only once."""

    at: datetime
    part: str
    severity: Severity
    text: str
    about: str = ""


def tell(
    s: Settings, *, part: str, severity: Severity, text: str, about: str = "", now: datetime | None = None
) -> Alert:
    """Write an alert; one that cannot be written is still logged, and stops nothing."""
    alert = Alert(at=now or datetime.now(UTC), part=part, severity=severity, text=text, about=about)
    log.warning("alert (%s) from %s: %s", severity, part, text)
    line = json.dumps({**asdict(alert), "at": alert.at.isoformat()}) + "\n"
    try:
        # one write of one line: alerts of several processes do not mix
        file = os.open(_path(s), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
    except OSError as error:
        log.error("the alert could not be written to %s: %s", _path(s), error)
    return alert


def tell_once(
    s: Settings, about: str, *, part: str, severity: Severity, text: str, now: datetime | None = None
) -> Alert | None:
    """Write an alert, unless there is one `about` the same already: then return None."""
    if any(alert.about == about for alert in read_alerts(s)):
        return None
    return tell(s, part=part, severity=severity, text=text, about=about, now=now)


def read_alerts(s: Settings) -> list[Alert]:
    """Read all alerts, oldest first; a torn line is left out."""
    try:
        lines = _path(s).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            body = json.loads(line)
            found.append(Alert(**{**body, "at": datetime.fromisoformat(body["at"])}))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _path(s: Settings) -> Path:
    return s.paths.alerts
