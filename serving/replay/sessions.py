"""Reads recorded sessions, as the steps that a shopper took in them, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from contracts.errors import NotEnoughData
from contracts.events import INTERACTIONS
from ingestion.landing.table_reader import read_events

#: Events without a session id belong to one session until the shopper does nothing for so long.
SESSION_GAP = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded action: `about` is the query of a search, else the item."""

    kind: str
    about: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """The steps of one shopper in one visit, oldest first."""

    user_id: str
    steps: tuple[Step, ...]


def read_sessions(paths: Path | Iterable[Path]) -> list[Session]:
    """Read the sessions of events files in the contract's format, sorted by their start.

    Raises UnreadableFile for a file without a usable row, NotEnoughData when no one searches or chooses an item.
    """
    found = cut_sessions(read_events(paths))
    if not found:
        raise NotEnoughData(
            "the events hold nothing to replay: no search, view, click, cart or purchase",
            remedy="give files with other events: --events FILE",
        )
    return found


def cut_sessions(events: pa.Table) -> list[Session]:
    """Cut EVENTS rows, which are in the order of time, into sessions, sorted by their start; without impressions."""
    steps: dict[tuple[str, str], list[Step]] = {}
    nameless: dict[str, tuple[datetime, str]] = {}  # shopper -> last time, key of the session
    names = ("event_time", "user_id", "session_id", "kind", "item_id", "query", "value")
    columns = (events.column(name).to_pylist() for name in names)
    for time, user, session, kind, item, query, value in zip(*columns, strict=True):
        about = query if kind == "search" else item if kind in INTERACTIONS else None
        if not about:
            continue
        if session is None:
            last, key = nameless.get(user, (time, f"\0{time}"))
            if time - last > SESSION_GAP:
                key = f"\0{time}"  # no session id of a shop begins with this character
            nameless[user] = (time, key)
        else:
            key = session
        steps.setdefault((user, key), []).append(Step(kind, about, value))
    return [Session(user, tuple(taken)) for (user, _), taken in steps.items()]
