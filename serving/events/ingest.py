"""`POST /events`: judge each event, hash who it is about, put it on disk, tell the online store."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from contracts.events import CLOCK_SKEW, INTERACTIONS, Event
from ingestion.pseudonymize import EMAIL_PATTERN, REDACTED
from serving.callers import SHOP, Caller
from serving.events.event_log import EventLog
from serving.events.pusher import Pusher
from serving.pipeline.stage_timings import StageWatch

#: Event ids remembered, to answer a repeated delivery without writing it twice.
WINDOW = 200_000
#: Longest wait for the online store, seconds.
PUSH_WAIT = 0.25


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a request's events; `kinds` counts the accepted ones."""

    verdicts: list[dict[str, Any]]
    accepted: int
    duplicates: int
    rejected: int
    online: bool
    kinds: dict[str, int]


class Identifiers(Protocol):
    """Keyed hashes of shoppers and sessions: the part of ingestion.pseudonymize.Pseudonymizer that is needed here."""

    def hash(self, value: str) -> str: ...


class Intake:
    """Takes events for one engine."""

    def __init__(
        self,
        log: EventLog,
        pusher: Pusher,
        identifiers: Identifiers,
        *,
        may_write: Callable[[], None] = lambda: None,
        window: int = WINDOW,
    ) -> None:
        """`may_write` raises Fenced in a region that may not write any more."""
        self._may_write = may_write
        self._log = log
        self._pusher = pusher
        self._hash = identifiers.hash
        self._window = window
        self._known: OrderedDict[str, Future[None]] = OrderedDict()

    async def take(self, events: list[Any], source: str, watch: StageWatch, *, by: Caller = SHOP) -> Receipt:
        """Judge and keep `events`, sent by `by`. Raises ServingError when they cannot be written; nothing is lost.

        Raises Fenced where another region is the active one. It is asked again before anything is acknowledged, because
        a process may sleep in between; what is on disk by then is brought over at failback.
        """
        self._may_write()
        verdicts: list[dict[str, Any]] = []
        fresh: list[dict[str, Any]] = []
        commits: set[Future[None]] = set()
        now = datetime.now(UTC)
        for raw in events:
            event, problem = judge(raw, now)
            if event is not None and not by.may_speak_for(event.user_id):
                event, problem = None, "user_id: not the shopper of the token"
            if event is None:
                verdicts.append({"event_id": _id_of(raw), "status": "rejected", "reason": problem})
            elif (first := self._known.get(event.event_id)) is not None:
                commits.add(first)  # "duplicate" must not be said before the first delivery is on disk
                verdicts.append({"event_id": event.event_id, "status": "duplicate"})
            else:
                self._known[event.event_id] = _PENDING
                fresh.append(self._row(event))
                verdicts.append({"event_id": event.event_id, "status": "accepted"})
        watch.lap("validate")

        commits.discard(_PENDING)  # repeated within this request: they share its commit
        if fresh:
            commit = self._log.append(b"".join(line(row, source) for row in fresh))
            for row in fresh:
                self._known[row["event_id"]] = commit
            commit.add_done_callback(lambda done: self._forget(fresh) if done.exception() else None)
            commits.add(commit)
            while len(self._known) > self._window:
                self._known.popitem(last=False)
        for waiting in commits:
            await asyncio.wrap_future(waiting)
        self._may_write()
        watch.lap("log")

        online = True
        if fresh:
            online = await self._pushed(source, fresh)
        watch.lap("push")
        count = {s: sum(v["status"] == s for v in verdicts) for s in ("accepted", "duplicate", "rejected")}
        return Receipt(
            verdicts=verdicts,
            accepted=count["accepted"],
            duplicates=count["duplicate"],
            rejected=count["rejected"],
            online=online,
            kinds=dict(Counter(row["kind"] for row in fresh)),
        )

    async def _pushed(self, source: str, rows: list[dict[str, Any]]) -> bool:
        interactions = [row for row in rows if row["kind"] in INTERACTIONS]
        if not interactions:
            return True  # nothing the online store keeps
        try:
            done = self._pusher.submit(source, interactions)
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(done)), PUSH_WAIT)
        except TimeoutError:
            return False

    def _row(self, event: Event) -> dict[str, Any]:
        return {
            "event_id": event.event_id,
            "event_time": event.event_time.astimezone(UTC),
            "user_id": self._hash(event.user_id),
            "session_id": None if event.session_id is None else self._hash(event.session_id),
            "kind": event.kind,
            "item_id": event.item_id,
            "query": None if event.query is None else EMAIL_PATTERN.sub(REDACTED, event.query),
            "position": event.position,
            "value": event.value,
        }

    def _forget(self, rows: list[dict[str, Any]]) -> None:
        """Events that were not written may be sent again."""
        for row in rows:
            self._known.pop(row["event_id"], None)


_PENDING: Future[None] = Future()


def judge(raw: Any, now: datetime) -> tuple[Event | None, str]:
    """The event in `raw`, or what is wrong with it; the reason never repeats what was sent."""
    try:
        event = Event.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        return None, f"{where}: {first['msg']}" if where else first["msg"]
    except (RecursionError, OverflowError) as error:
        return None, type(error).__name__
    try:
        ahead = event.event_time.astimezone(UTC) - now if event.event_time.tzinfo else None
    except OverflowError:
        return None, "event_time: out of range"
    if ahead is None:
        return None, "event_time: it needs a time zone"
    if ahead > CLOCK_SKEW:
        return None, "event_time: it lies in the future"
    if event.kind in (*INTERACTIONS, "impression") and event.item_id is None:
        return None, f"item_id: a {event.kind} is about an item"
    if event.kind == "search" and not (event.query or "").strip():
        return None, "query: a search has one"
    return event, ""


def line(row: dict[str, Any], source: str) -> bytes:
    """One line of the event log: the contract's fields, the data source, times with microseconds and Z."""
    return orjson.dumps(
        row | {"source": source, "event_time": stamp(row["event_time"])}, option=orjson.OPT_APPEND_NEWLINE
    )


def stamp(time: datetime) -> str:
    """ISO 8601 in UTC, microseconds always there."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _id_of(raw: Any) -> str | None:
    value = raw.get("event_id") if isinstance(raw, dict) else None
    return value[:128] if isinstance(value, str) and value.isprintable() else None
