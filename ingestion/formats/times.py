"""Reads one time as any program may have written it: the one place that says which forms mean which instant.

A form is taken only where it can mean one thing. 11/05/2026 is May to some and November to others, a serial number of a
spreadsheet has two epochs, CST is three zones: such values are refused, never guessed. Without a zone a time is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

_LONG_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = {word: n for n, name in enumerate(_LONG_MONTHS, 1) for word in (name, name[:3])} | {"sept": 9}
_DAYS = {word: n for n, name in enumerate(_LONG_DAYS) for word in (name, name[:3], name[:4])}

_CLOCK = (
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{0,30}))?)?)?"
    r"(?: ?(?P<half>[AaPp]\.?[Mm]\.?))?"
)
_BASIC_CLOCK = r"(?P<bhour>[0-9]{2})(?P<bminute>[0-9]{2})(?:(?P<bsecond>[0-9]{2})(?:[.,](?P<bfraction>[0-9]{0,30}))?)?"
_ZONE = (
    r"(?: ?(?P<utc>Z|z|UTC|GMT|UT|utc|gmt)?"
    r"(?:(?P<sign>[+\-\u2212])(?P<zhour>[0-9]{2})(?::?(?P<zminute>[0-9]{2}))?)?)"
)
#: RFC 9557: a time zone's name beside an offset, as Java writes it; the offset says all.
_BRACKETS = r"(?P<brackets>(?:\[[A-Za-z0-9_+\-/=!]{1,64}\])*)"
_NUMERIC = re.compile(
    r"(?:(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"|/(?P<smonth>[0-9]{1,2})/(?P<sday>[0-9]{1,2})"
    r"|(?P<bmonth>[0-9]{2})(?P<bday>[0-9]{2})"
    r"|-W(?P<week>[0-9]{2})-(?P<weekday>[1-7])|W(?P<bweek>[0-9]{2})(?P<bweekday>[1-7])"
    r"|-(?P<ordinal>[0-9]{3})|(?P<bordinal>[0-9]{3})(?=[Tt]))"
    r"|(?P<dday>[0-9]{1,2})\.(?P<dmonth>[0-9]{1,2})\.(?P<dyear>[0-9]{4}))"
    rf"(?:(?:[Tt]|,? )(?:{_CLOCK}|{_BASIC_CLOCK}){_ZONE}{_BRACKETS})?"
)
_WEEKDAY = r"(?:(?P<dayname>[A-Za-z]{3,9})\.?,? )?"
_WORDS = tuple(
    re.compile(form)
    for form in (
        # RFC 2822, JavaScript's toUTCString, Oracle, Apache
        rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})(?P<gap>[ \-/])(?P<monthname>[A-Za-z]{{3,9}})\.?,?(?P=gap)"
        rf"(?P<year>[0-9]{{4}})(?:(?:,? |:){_CLOCK}{_ZONE})?",
        # JavaScript's toString, and American English
        rf"{_WEEKDAY}(?P<monthname>[A-Za-z]{{3,9}})\.? (?P<day>[0-9]{{1,2}}),? (?P<year>[0-9]{{4}})"
        rf"(?:(?:,? at |,? ){_CLOCK}{_ZONE}(?: \([^()]{{1,80}}\))?)?",
        # ctime, and `date`
        rf"(?P<dayname>[A-Za-z]{{3}}) (?P<monthname>[A-Za-z]{{3}}) (?P<day>[0-9]{{1,2}}) {_CLOCK}{_ZONE} "
        rf"(?P<year>[0-9]{{4}})",
    )
)
#: What nearly every program writes; the standard library reads that fastest.
_PLAIN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?"
)
_DIGITS = re.compile(r"[0-9]{9,19}")
_SECONDS = re.compile(r"[0-9]{9,19}\.[0-9]{1,30}")
_COMPACT = re.compile(r"(?:19|20)[0-9]{12}")
_BLANKS = re.compile(r"\s+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The years 1990 to 2099 in seconds since 1970. In ms, us and ns they are other numbers: the size tells the unit.
_EARLY, _LATE = 631_152_000, 4_102_444_800
_LONGEST = 120


def read_epoch(number: int | float | Decimal) -> datetime | None:
    """Return the instant of seconds, ms, us or ns since 1970, whichever falls into the years 1990 to 2099."""
    exact = number if isinstance(number, Decimal | int) else Decimal(repr(number))
    for per_second in (1, 1_000, 1_000_000, 1_000_000_000):
        if _EARLY * per_second <= exact < _LATE * per_second:
            return _EPOCH + timedelta(microseconds=int(exact * 1_000_000) // per_second)
    return None


def read_time(text: str) -> datetime | None:
    """Return the instant in UTC that `text` names for sure, cut to microseconds; else None."""
    if len(text) > _LONGEST:
        return None
    plain = f"{text[:-4]}Z" if text.endswith(" UTC") else text  # BigQuery's; the rest is ISO 8601 as most write it
    if _PLAIN.fullmatch(plain):
        try:
            found = datetime.fromisoformat(plain)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the midnight that ends a day, a leap second, or no time at all
    try:
        return _of_other_form(_BLANKS.sub(" ", text.strip()))
    except (ValueError, OverflowError):  # no such day or hour, or not in the years 1 to 9999 in UTC
        return None


def _of_other_form(text: str) -> datetime | None:
    if _COMPACT.fullmatch(text):
        text = f"{text[:8]}T{text[8:]}"
    elif _DIGITS.fullmatch(text):
        return read_epoch(int(text))
    elif _SECONDS.fullmatch(text):
        return read_epoch(Decimal(text))
    if numeric := _NUMERIC.fullmatch(text):
        parts = numeric.groupdict()
        return _instant(parts, _numeric_date(parts)) if not parts["brackets"] or _zoned(parts) else None
    for form in _WORDS:
        if words := form.fullmatch(text):
            parts = words.groupdict()
            day = _worded_date(parts)
            return _instant(parts, day) if day is not None else None
    return None


def _numeric_date(parts: dict[str, str | None]) -> date:
    if parts["dyear"]:  # day, month, year: wherever dots divide them, the day comes first
        return _date(parts["dyear"], parts["dmonth"], parts["dday"])
    if week := parts["week"] or parts["bweek"]:
        return date.fromisocalendar(_number(parts["year"]), int(week), _number(parts["weekday"] or parts["bweekday"]))
    if ordinal := parts["ordinal"] or parts["bordinal"]:
        found = date(_number(parts["year"]), 1, 1) + timedelta(days=int(ordinal) - 1)
        if int(ordinal) < 1 or found.year != _number(parts["year"]):
            raise ValueError("no such day of the year")
        return found
    month = parts["month"] or parts["smonth"] or parts["bmonth"]
    return _date(parts["year"], month, parts["day"] or parts["sday"] or parts["bday"])


def _worded_date(parts: dict[str, str | None]) -> date | None:
    """Return the date whose month is a word; None where a word is no month, or the weekday is another one."""
    word = (parts["monthname"] or "").lower()
    if word not in _MONTHS:
        return None
    found = _date(parts["year"], str(_MONTHS[word]), parts["day"])
    named = (parts["dayname"] or "").lower()
    return None if named and _DAYS.get(named) != found.weekday() else found


def _instant(parts: dict[str, str | None], day: date) -> datetime | None:
    """Return the instant on `day` at the clock's time and zone in `parts`."""
    basic = parts.get("bhour") is not None
    hour, minute, second, fraction = (
        parts.get("b" + name if basic else name) for name in ("hour", "minute", "second", "fraction")
    )
    if hour is None:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    at, seconds, micros = int(hour), int(second or 0), int((fraction or "").ljust(6, "0")[:6])
    if half := parts.get("half"):
        if not 1 <= at <= 12:
            return None
        at = at % 12 + (12 if half[0] in "Pp" else 0)
    elif minute is None and (len(hour) < 2 or basic):
        return None
    midnight = at == 24 and not (int(minute or 0) or seconds or micros)
    leap = seconds == 60
    local = datetime(
        day.year, day.month, day.day, 0 if midnight else at, int(minute or 0), 59 if leap else seconds, micros, UTC
    )
    found = local - _offset(parts) + timedelta(days=1 if midnight else 0)
    if not leap:
        return found
    if (found.month, found.day, found.hour, found.minute) not in ((6, 30, 23, 59), (12, 31, 23, 59)):
        return None  # leap seconds end these two days alone
    return found.replace(microsecond=0) + timedelta(seconds=1)


def _offset(parts: dict[str, str | None]) -> timedelta:
    if not parts["sign"]:
        return timedelta()
    hours, minutes = _number(parts["zhour"]), int(parts["zminute"] or 0)
    if minutes > 59:
        raise ValueError("no such offset")
    east = timedelta(hours=hours, minutes=minutes)
    timezone(east)  # raises ValueError from 24 hours on
    return east if parts["sign"] == "+" else -east


def _zoned(parts: dict[str, str | None]) -> bool:
    return bool(parts["utc"] or parts["sign"])


def _date(year: str | None, month: str | None, day: str | None) -> date:
    return date(_number(year), _number(month), _number(day))


def _number(digits: str | None) -> int:
    return int(digits or 0)
