"""Takes events of `POST /events`: judges each, hashes its shopper, puts it on disk, pushes it to the online store."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from contracts.events import INTERACTIONS
from ingestion.formats.values import read_text
from ingestion.pseudonymize import redact_text
from ingestion.rules.one_event import judge_event, left_out
from ingestion.rules.reasons import describe
from serving.callers import SHOP, Caller
from serving.events.event_log import EventLog
from serving.events.pusher import Pusher
from serving.pipeline.stage_timings import StageWatch

#: Event ids remembered, to answer a repeated delivery without writing it twice.
KNOWN_EVENT_IDS = 200_000
#: Longest wait for the online store.
PUSH_TIMEOUT_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The verdicts on a request's events; `kinds` counts the accepted ones."""

    verdicts: list[dict[str, Any]]
    accepted: int
    duplicates: int
    rejected: int
    online: bool
    kinds: dict[str, int]


class Identifiers(Protocol):
    """Keyed hashes of shoppers and sessions: the part of ingestion.pseudonymize.Pseudonymizer that is needed here."""

    def hash(self, value: str) -> str: ...


@dataclass
class _Delivery:
    """The events of one request: verdicts in their order, rows of the fresh ones, and the writes to wait for."""

    verdicts: list[dict[str, Any]] = field(default_factory=list)
    fresh: list[dict[str, Any]] = field(default_factory=list)
    commits: set[Future[None]] = field(default_factory=set)

    def receipt(self, *, online: bool) -> Receipt:
        """Return the receipt, with its counts."""
        count = Counter(verdict["status"] for verdict in self.verdicts)
        return Receipt(
            verdicts=self.verdicts,
            accepted=count["accepted"],
            duplicates=count["duplicate"],
            rejected=count["rejected"],
            online=online,
            kinds=dict(Counter(row["kind"] for row in self.fresh)),
        )


class Intake:
    """The intake of one engine's events."""

    def __init__(
        self,
        log: EventLog,
        pusher: Pusher,
        identifiers: Identifiers,
        *,
        may_write: Callable[[], None] = lambda: None,
        has_room: Callable[[], None] = lambda: None,
        known_ids: int = KNOWN_EVENT_IDS,
        days: int | None = None,
    ) -> None:
        """Set up; `days`: how old an event may be.

        `may_write` raises Fenced in a region that may no longer write, `has_room` DiskFull where the disk is.
        """
        self._days = days
        self._may_write = may_write
        self._has_room = has_room
        self._log = log
        self._pusher = pusher
        self._hash = identifiers.hash
        self._known_ids = known_ids
        self._known: OrderedDict[str, Future[None]] = OrderedDict()

    async def take(self, events: list[Any], source: str, watch: StageWatch, *, by: Caller = SHOP) -> Receipt:
        """Judge and keep `events`, sent by `by`. Raises ServingError when they cannot be written; nothing is lost.

        Raises DiskFull where there is no room, Fenced where another region is the active one. The latter is checked
        again before anything is acknowledged, because a process may sleep in between; events on disk by then are
        brought over at failback.
        """
        self._may_write()
        self._has_room()
        delivery = self._validate(events, by)
        watch.lap("validate")
        await self._write(delivery, source)
        self._may_write()
        watch.lap("log")
        online = await self._push(source, delivery.fresh)
        watch.lap("push")
        return delivery.receipt(online=online)

    def _validate(self, events: list[Any], by: Caller) -> _Delivery:
        """Give each event its verdict; the ids of fresh ones are known from now on."""
        delivery, now = _Delivery(), datetime.now(UTC)
        for raw in events:
            event, reason = judge_event(raw, now, days=self._days)
            problem = describe(reason) if reason else ""
            if event is not None and not by.may_speak_for(event["user_id"]):
                event, problem = None, "user_id: not the shopper of the token"
            if event is None:
                delivery.verdicts.append({"event_id": _id_of(raw), "status": "rejected", "reason": problem})
                continue
            verdict = {"event_id": event["event_id"], "status": "accepted"}
            if not raw.keys() <= event.keys():
                verdict["left_out"] = left_out(raw)
            if (first := self._known.get(event["event_id"])) is not None:
                delivery.commits.add(first)  # "duplicate" must not be said before the first delivery is on disk
                verdict["status"] = "duplicate"
            else:
                self._known[event["event_id"]] = _PENDING
                delivery.fresh.append(self._make_row(event))
            delivery.verdicts.append(verdict)
        delivery.commits.discard(_PENDING)  # repeated within this request: they share its commit
        return delivery

    async def _write(self, delivery: _Delivery, source: str) -> None:
        """Write the fresh events, and wait until they and the duplicates' first deliveries are on disk."""
        if fresh := delivery.fresh:
            commit = self._log.append(b"".join(encode_line(row, source) for row in fresh))
            for row in fresh:
                self._known[row["event_id"]] = commit
            commit.add_done_callback(lambda done: self._forget(fresh) if done.exception() else None)
            delivery.commits.add(commit)
            while len(self._known) > self._known_ids:
                self._known.popitem(last=False)
        for waiting in delivery.commits:
            await asyncio.wrap_future(waiting)

    async def _push(self, source: str, rows: list[dict[str, Any]]) -> bool:
        """Hand interactions to the online store; return whether it has them after a short wait."""
        interactions = [row for row in rows if row["kind"] in INTERACTIONS]
        if not interactions:
            return True  # the online store keeps no other kinds
        try:
            done = self._pusher.submit(source, interactions)
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(done)), PUSH_TIMEOUT_S)
        except TimeoutError:
            return False

    def _make_row(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the event as it may be kept: who did it, and in which session, only as hashes."""
        session, query = event["session_id"], event["query"]
        return event | {
            "user_id": self._hash(event["user_id"]),
            "session_id": None if session is None else self._hash(session),
            "query": None if query is None else redact_text(query),
        }

    def _forget(self, rows: list[dict[str, Any]]) -> None:
        """Forget events that were not written: they may be sent again."""
        for row in rows:
            self._known.pop(row["event_id"], None)


_PENDING: Future[None] = Future()


def encode_line(row: dict[str, Any], source: str) -> bytes:
    """Encode one line of the event log: the contract's fields, the data source, times with microseconds and Z."""
    return orjson.dumps(
        row | {"source": source, "event_time": format_time(row["event_time"])}, option=orjson.OPT_APPEND_NEWLINE
    )


def format_time(time: datetime) -> str:
    """Format a time in UTC as ISO 8601, always with microseconds."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _id_of(raw: Any) -> str | None:
    value = read_text(raw.get("event_id"), "identifier") if isinstance(raw, dict) else None
    return value[:128] if isinstance(value, str) and value.isprintable() else None
