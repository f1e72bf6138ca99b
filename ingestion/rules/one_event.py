"""Judges one event as a JSON value, with the verdict that the same event gets in a file.

What a value means is said in `ingestion.formats.values`, the limits in `contracts.events`, the order of the reasons in
`ingestion.rules.reasons`; `ingestion.rules.schema` has the same rules for millions of rows at once.
`tests/faults/event_doors.py` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from contracts.events import CLOCK_SKEW, EARLIEST, EVENTS, KINDS, MAX_ID, MAX_POSITION, MAX_QUERY, MAX_VALUE
from ingestion.formats.values import (
    MISSING,
    UNREADABLE,
    read_moment,
    read_number,
    read_text,
    read_whole,
)
from ingestion.rules.nobody import is_nobody

COLUMNS = tuple(EVENTS.names)
_COLUMNS, _KINDS, _MISSING = frozenset(COLUMNS), frozenset(KINDS), frozenset(MISSING)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


_Judged: TypeAlias = tuple[Any, str]


def judge_event(raw: Any, now: datetime, *, days: int | None = None) -> tuple[dict[str, Any] | None, str]:
    """Return the event in `raw` by the contract's columns, or None and the first reason that applies.

    `days`: how old it may be; each day that events are sent for is one more to publish, so HTTP may not reach far.
    """
    if not isinstance(raw, dict):
        return None, "not_an_object"
    for name, value in raw.items():
        if (type(value) is dict or type(value) is list) and name in _COLUMNS:
            return None, "nested_value"
    event = dict.fromkeys(COLUMNS)
    for name, judge in _IN_ORDER:
        event[name], reason = judge(raw.get(name), event, now)
        if reason:
            return None, reason
    if days is not None and cast("datetime", event["event_time"]) < now - timedelta(days=days):
        return None, "event_time_too_late"
    return event, ""


def left_out(raw: dict[Any, Any]) -> list[str]:
    """Return the names of fields that the contract has not: an event is taken without them, as a file's columns are."""
    return [str(name)[:80] for name in raw if name not in _COLUMNS][:10]


def _time(value: object, _: dict[str, Any], now: datetime) -> _Judged:
    time = read_moment(value)
    if time is UNREADABLE:
        return None, "bad_event_time"
    if time is None:
        return None, "missing_event_time"
    if time > now + CLOCK_SKEW:
        return None, "event_time_in_future"
    return time, "event_time_too_old" if time < EARLIEST else ""


def _identifier(value: object, column: str) -> _Judged:
    if (
        type(value) is str
        and value.isprintable()
        and len(value) <= MAX_ID
        and "+" not in value
        and value not in _MISSING
        and value.strip()
    ):  # nearly always; the same as what follows
        return value, ""
    text = read_text(value, "shopper" if column == "user_id" else "identifier")
    if text is None:
        return None, ""
    fits = text is not UNREADABLE and len(text) <= MAX_ID and (text.isprintable() or not _CONTROL.search(text))
    return text, "" if fits else f"bad_{column}"


def _event_id(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    text, reason = _identifier(value, "event_id")
    return text, reason or ("missing_event_id" if text is None else "")


def _user_id(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    text, reason = _identifier(value, "user_id")
    if reason or text is None:
        return None, reason or "missing_user_id"
    return text, "nobody" if is_nobody(text) else ""


def _session_id(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    return _identifier(value, "session_id")


def _kind(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    if type(value) is str and value in _KINDS:
        return value, ""
    text = read_text(value, "words")
    if text is UNREADABLE:
        return None, "bad_kind"
    return text, "" if text in _KINDS else "unknown_kind"


def _item_id(value: object, event: dict[str, Any], _: datetime) -> _Judged:
    text, reason = _identifier(value, "item_id")
    return text, reason or ("missing_item_id" if text is None and event["kind"] != "search" else "")


def _query(value: object, event: dict[str, Any], _: datetime) -> _Judged:
    searches = event["kind"] == "search"
    if value is None and not searches:
        return None, ""
    text = read_text(value, "query")
    if text is None:
        return None, "missing_query" if searches else ""
    if text in _MISSING and not searches:  # only who searches may mean the word itself
        return None, ""
    if text is UNREADABLE or len(text) > MAX_QUERY or (not text.isprintable() and _CONTROL_IN_TEXT.search(text)):
        return None, "bad_query"
    return text, ""


def _position(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    if value is None:
        return None, ""
    number = read_whole(value)
    fits = number is None or (number is not UNREADABLE and 0 <= number <= MAX_POSITION)
    return number, "" if fits else "bad_position"


def _value(value: object, _: dict[str, Any], __: datetime) -> _Judged:
    number = read_number(value)
    fits = number is None or (number is not UNREADABLE and 0 <= number <= MAX_VALUE)
    return number, "" if fits else "bad_value"


#: In the order of the reasons: of several the first is told.
_IN_ORDER: tuple[tuple[str, Callable[[object, dict[str, Any], datetime], _Judged]], ...] = (
    ("event_time", _time),
    ("event_id", _event_id),
    ("user_id", _user_id),
    ("session_id", _session_id),
    ("kind", _kind),
    ("item_id", _item_id),
    ("query", _query),
    ("position", _position),
    ("value", _value),
)
