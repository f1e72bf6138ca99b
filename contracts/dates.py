"""Reads days and moments as people write them: one reader for commands, forms and tasks, and one refusal for each.

A day is a day in UTC and is written YYYY-MM-DD. A moment is ISO 8601; without an offset it is in UTC. Blanks around
either are forgiven. What could mean two things is refused with what to write instead.
The many forms in which files write a time are read by `ingestion.formats.times`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.errors import SettingsError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DIGITS = re.compile(r"[0-9]+")
_COMPACT_DAY = re.compile(r"[0-9]{8}")
#: A zone behind a day, which has none: it would be another day elsewhere.
_ZONED_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ?(Z|z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)")
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})[Tt ]"
    r"(?P<time>[0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]{1,9})?)?)"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-][0-9]{2}(:?[0-5][0-9])?)?"
)
_SAID = 60  # characters of what was written that an error repeats


def read_day(text: Any, *, now: datetime | None = None, over: bool = False) -> date:
    """Return the day that `text` names; with `over`, one that has ended in UTC. Raises SettingsError."""
    today = (now or datetime.now(UTC)).date()
    if isinstance(text, date) and not isinstance(text, datetime):
        return _ended(text, today) if over else text
    if not isinstance(text, str):
        raise SettingsError(
            f"{_said(text)} is {_kind(text)}, not a day", remedy=f'write it as text: "{_likely(text, today)}"'
        )
    wanted = text.strip()
    if _DAY.fullmatch(wanted):
        try:
            day = date.fromisoformat(wanted)
        except ValueError:
            raise SettingsError(
                f"{wanted} is not a day of the calendar", remedy=f"write it as YYYY-MM-DD, like {today}"
            ) from None
        return _ended(day, today) if over else day
    raise _no_day(wanted, today)


def read_moment(text: str) -> datetime:
    """Return the moment that `text` names, in UTC; a day alone is its beginning. Raises SettingsError."""
    wanted = text.strip()
    if _DAY.fullmatch(wanted):
        return datetime.combine(read_day(wanted), datetime.min.time(), UTC)
    if _DIGITS.fullmatch(wanted):
        raise SettingsError(f"{_said(wanted)} is a number, not a moment", remedy=_moment_remedy(wanted))
    found = _MOMENT.fullmatch(wanted)
    try:
        if found is None:
            raise ValueError
        return _moment(found)
    except (ValueError, OverflowError):
        raise SettingsError(f"{_said(wanted)} is not a moment", remedy=_moment_remedy(wanted)) from None


def names_zone(text: str) -> bool:
    """Say whether a moment as written names its zone; else it is taken as UTC."""
    found = _MOMENT.fullmatch(text.strip())
    return found is not None and found["zone"] is not None


def compact_day(text: str) -> date | None:
    """Return the day that eight digits could mean; None when they can mean none."""
    try:
        return datetime.strptime(text, "%Y%m%d").date() if _COMPACT_DAY.fullmatch(text) else None
    except ValueError:
        return None


def _ended(day: date, today: date) -> date:
    if day >= today:
        raise SettingsError(
            f"{day} is not over yet: in UTC it is {today}",
            remedy=f"choose {today - timedelta(days=1)} or an earlier day",
        )
    return day


def _no_day(wanted: str, today: date) -> SettingsError:
    """Make the error for what is written otherwise: it says what that is, and what to write."""
    compact = compact_day(wanted)
    if compact is not None:
        return SettingsError(f"{wanted} is a day without hyphens", remedy=f"write {compact}")
    if zoned := _ZONED_DAY.fullmatch(wanted):
        return SettingsError(f"{wanted} is a day with a zone: days are days in UTC", remedy=f"write {zoned[1]}")
    try:
        moment = read_moment(wanted)
    except SettingsError:
        return SettingsError(f"{_said(wanted)} is not a day", remedy=f"write it as YYYY-MM-DD, like {today}")
    return SettingsError(f"{wanted} is a moment, not a day", remedy=f"write {moment.date()}, its day in UTC")


def _moment(found: re.Match[str]) -> datetime:
    day, time, zone = found["day"].replace("-", ""), found["time"].replace(":", "").replace(",", "."), found["zone"]
    clock, _, fraction = time.partition(".")
    written = f"{day}T{clock}" + (f".{fraction[:6]:0<6}" if fraction else "")
    offset = "+00:00" if zone is None or zone.upper() in ("Z", "UTC", "GMT") else zone
    return datetime.fromisoformat(written + offset.replace(":", "")).astimezone(UTC)


def _moment_remedy(wanted: str) -> str:
    day = compact_day(wanted[:8])
    example = f"{day or '2026-01-31'}T02:17"
    return f"write {example}, in UTC, or with an offset like {example}+02:00"


def _kind(value: Any) -> str:
    return "a number" if isinstance(value, int | float) and not isinstance(value, bool) else f"a {type(value).__name__}"


def _likely(value: Any, today: date) -> date:
    return compact_day(str(value)) or today


def _said(value: Any) -> str:
    """Return what was written, in quotes and bounded; a very long one ends with dots."""
    said = repr(value)
    return said if len(said) <= _SAID else f"{said[:_SAID]}…"
