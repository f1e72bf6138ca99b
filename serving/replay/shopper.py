"""Plays the shoppers of a replay: what one asks and sends back at each step, and which of them is next."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from contracts.events import MAX_ID
from serving.pipeline.schemas import MAX_CONTEXT_ITEMS
from serving.replay.report import RouteCounts
from serving.replay.requests import EdgeClient
from serving.replay.sessions import Session, Step

if TYPE_CHECKING:
    from serving.replay.plan import ReplayPlan

_OPAQUE = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_ID}}}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One step that is due, with the draws of chance that were made for it."""

    step: Step
    begins_session: bool
    follows: bool
    asks_similar: bool


class Shopper:
    """One shopper on one pass through the recording; takes one turn at a time."""

    def __init__(self, user_id: str, sessions: Sequence[Session], plan: ReplayPlan) -> None:
        self.user_id = user_id if len(user_id) <= MAX_ID else _hash(user_id)
        self._header = self.user_id if _OPAQUE.fullmatch(self.user_id) else _hash(self.user_id)
        self._steps = [(step, not place) for session in sessions for place, step in enumerate(session.steps)]
        self._plan = plan
        self._at = 0
        self._session_id = ""
        self._events_sent = 0
        #: Items of this session, oldest first, each with where it was shown, None when it was not.
        self._seen: dict[str, RouteCounts | None] = {}
        self.waiting = False

    @property
    def done(self) -> bool:
        return self._at == len(self._steps)

    def begin_turn(self, chance_to_follow: float, chance_to_compare: float) -> Turn:
        """Return the next turn; the shopper waits until `take` has ended. The chances are evenly drawn from [0, 1)."""
        step, begins = self._steps[self._at]
        self._at += 1
        self.waiting = True
        return Turn(step, begins, chance_to_follow < self._plan.follow, chance_to_compare < self._plan.similar)

    async def take(self, turn: Turn, edge: EdgeClient, due: float) -> None:
        """Ask, look for the recorded choice in the answer, send the events that follow. `due`: of perf_counter."""
        try:
            if turn.begins_session:
                self._session_id, self._events_sent = uuid.uuid4().hex, 0
                self._seen = {}
            if turn.step.kind == "search":
                query = f"q={quote(turn.step.about)}&k={self._plan.k}&user_id={quote(self.user_id)}"
                counts, _ = await edge.ask("search", f"/search?{query}", self._header, due)
                await edge.tell([self._make_event("search", turn.step)], self._header, counts)
            else:
                await self._interact(turn, edge, due)
        finally:
            self.waiting = False

    async def _interact(self, turn: Turn, edge: EdgeClient, due: float) -> None:
        step, item = turn.step, turn.step.about
        counts, items = await self._look_around(turn, edge, due)
        if item in self._seen:
            shown_by = self._seen[item]
            events = self._repeat_events(turn, shown=shown_by is not None)
        else:
            hit = items is not None and item in items
            shown_by = counts if hit else None
            self._seen[item] = shown_by
            if items is not None:
                counts.count_choice(hit=hit)
            position = items.index(item) if items is not None and hit else None
            events = self._miss_events(turn) if position is None else self._hit_events(step, position)
        if events:
            await edge.tell(events, self._header, shown_by or counts)

    async def _look_around(self, turn: Turn, edge: EdgeClient, due: float) -> tuple[RouteCounts, list[str] | None]:
        """Ask for recommendations, or for items like the last one."""
        context = list(self._seen)[-MAX_CONTEXT_ITEMS:]
        if turn.asks_similar and context and "/" not in context[-1]:  # the edge refuses an escaped slash in a path
            path = f"/similar/{quote(context[-1])}?k={self._plan.k}"
            return await edge.ask("similar", path, self._header, due)
        body = {
            "user_id": self.user_id,
            "session_id": self._session_id,
            "k": self._plan.k,
            "context": {"items": context},
        }
        return await edge.ask("recommend", "/recommend", self._header, due, body)

    def _hit_events(self, step: Step, position: int) -> list[dict[str, Any]]:
        click = self._make_event("click", step) | {"position": position}
        return [click] if step.kind == "click" else [click, self._make_event(step.kind, step)]

    def _miss_events(self, turn: Turn) -> list[dict[str, Any]]:
        """Return the view of an item that was found in another way; no release is credited with it."""
        if not turn.follows:
            return []
        return [self._make_event("view" if self._plan.only_hits else turn.step.kind, turn.step)]

    def _repeat_events(self, turn: Turn, *, shown: bool) -> list[dict[str, Any]]:
        """Return another event of an item that was chosen earlier in the session."""
        kind = turn.step.kind
        if self._plan.only_hits:
            if kind == "click":
                kind = "view"  # a click is sent once, for the answer that showed the item
            elif kind != "view" and not shown:
                return []
        return [self._make_event(kind, turn.step)] if shown or turn.follows else []

    def _make_event(self, kind: str, step: Step) -> dict[str, Any]:
        """Make an event of this moment as a shop sends it; later events of one request are a microsecond later."""
        self._events_sent += 1
        event: dict[str, Any] = {
            "event_id": f"{self._session_id}-{self._events_sent}",
            "event_time": datetime.now(UTC) + timedelta(microseconds=self._events_sent),
            "user_id": self.user_id,
            "session_id": self._session_id,
            "kind": kind,
            "query" if kind == "search" else "item_id": step.about,
        }
        if step.value is not None and kind == step.kind:
            event["value"] = step.value
        return event


class Crowd:
    """The shoppers in the shop. Their order depends on the plan's seed, and on answers only where one is awaited."""

    def __init__(self, plan: ReplayPlan, sessions: Sequence[Session]) -> None:
        by_user: dict[str, list[Session]] = {}
        for session in filter(_has_steps, sessions):
            by_user.setdefault(session.user_id, []).append(session)
        self._plan = plan
        self._draws = np.random.default_rng([plan.seed, 1])
        self._recorded = by_user
        #: Times the recording was begun.
        self.passes = 0
        self._newcomers = self._enter_shop()
        self._usual = min(plan.shoppers, len(by_user))
        self._here = [next(self._newcomers) for _ in range(self._usual)]
        self._active: set[str] = set()

    @property
    def size(self) -> int:
        """Number of different shoppers that took a turn."""
        return len(self._active)

    def begin_turn(self) -> tuple[Shopper, Turn]:
        """Return the next shopper and its turn. Never waits: when all wait for an answer, a new shopper comes in."""
        place, *chances = self._draws.random(3).tolist()
        number = len(self._here)
        first = int(place * number)
        at = next((n for n in chain(range(first, number), range(first)) if not self._here[n].waiting), number)
        if at == number:
            self._here.append(next(self._newcomers))
        shopper = self._here[at]
        turn = shopper.begin_turn(*chances)
        self._active.add(shopper.user_id)
        if shopper.done:
            if len(self._here) > self._usual:
                self._here.pop(at)
            else:
                self._here[at] = next(self._newcomers)
        return shopper, turn

    def _enter_shop(self) -> Iterator[Shopper]:
        """Yield every recorded shopper, pass after pass."""
        run = uuid.uuid4().hex[:8]
        for passes in count(1):
            self.passes = passes
            for user, sessions in self._recorded.items():
                name = f"{user}-{run}.{passes}" if self._plan.fresh_shoppers else user
                yield Shopper(name, sessions, self._plan)


def _has_steps(session: Session) -> bool:
    return bool(session.steps)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
