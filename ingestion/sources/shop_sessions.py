"""Simulates one day of the synthetic shop: sessions of searches, impressions, views, carts and purchases.

What comes next in a session depends on what came before (an item's successors, its category), on the shopper's
tastes, and only then on popularity: a model of sequences has something to learn that a list of bestsellers has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import EVENTS, KINDS, TIMESTAMP
from ingestion.sources.calendar import DAY, SECOND, micros
from ingestion.sources.shop_words import CATEGORIES
from ingestion.sources.shop_world import Array, World

#: Sessions per shopper and day on an average day, and the weekly rhythm from Monday.
RATE = 0.22
WEEK = (0.92, 0.9, 0.94, 0.98, 1.05, 1.18, 1.22)
#: Share of sessions that start in each hour.
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15, 13, 8, 4], float)
SESSION_MAX_STEPS = 14
SHOWN = 6
_SEARCHING, _FRONT_PAGE = 0.4, 0.25
_FOLLOWS, _STAYS, _RETURNS = 0.5, 0.78, 0.93


@dataclass(frozen=True)
class Rows:
    """Events as parallel arrays; -1 stands for absent."""

    session: Array
    kind: Array  # index into KINDS
    item: Array
    offset: Array  # microseconds since the start of the session
    position: Array
    worth: Array  # NaN: no value
    query: Array  # index into the day's queries


@dataclass(frozen=True)
class Popularity:
    """Draws items by weight, of all categories or of one."""

    order: Array  # item numbers by category
    heap: Array  # cumulative weights in that order, from 0
    edges: Array  # where a category starts in `order`

    @classmethod
    def on(cls, world: World, age: int, *, drifted: bool) -> Popularity:
        weights = world.later_appeal if drifted else world.appeal
        weights = weights * np.where((age - world.created >= 0) & (age - world.created < 7) & (world.created > 0), 3, 1)
        there = np.flatnonzero(world.created <= age)
        order = there[np.argsort(world.category[there], kind="stable")]
        edges = np.searchsorted(world.category[order], np.arange(len(CATEGORIES) + 1))
        return cls(order, np.r_[0.0, np.cumsum(weights[order])], edges)

    def of(self, category: Array, draws: Array) -> Array:
        """Draw an item of each category; of any where a category is empty."""
        low, high = self.edges[category], self.edges[category + 1]
        empty = low == high
        low, high = np.where(empty, 0, low), np.where(empty, len(self.order), high)
        target = self.heap[low] + draws * (self.heap[high] - self.heap[low])
        found: Array = self.order[np.clip(np.searchsorted(self.heap, target, "right") - 1, low, high - 1)]
        return found

    def any(self, draws: Array) -> Array:
        at = np.searchsorted(self.heap, draws * self.heap[-1], "right") - 1
        found: Array = self.order[np.clip(at, 0, len(self.order) - 1)]
        return found


def simulate_day(world: World, day: date, last_item: Array, *, drifted: bool) -> pa.Table:
    """Return EVENTS of one day, by time. `last_item` [M]: each shopper's last viewed item, -1 at first; updated."""
    age = (day - world.plan.opened).days
    random = np.random.default_rng([world.plan.seed, day.toordinal()])
    there = np.flatnonzero(world.joined <= age)
    number = int(random.poisson(len(there) * RATE * WEEK[day.weekday()]))
    if not number:
        return EVENTS.empty_table()
    heap = np.cumsum(world.activity[there])
    shopper = there[np.searchsorted(heap, random.random(number) * heap[-1], "right").clip(0, len(there) - 1)]
    popular = Popularity.on(world, age, drifted=drifted)
    lengths = np.minimum(random.geometric(0.24, number), SESSION_MAX_STEPS)
    tastes = world.tastes[shopper]
    if drifted:
        tastes = (tastes + len(CATEGORIES) // 2) % len(CATEGORIES)
    steps = _walk(world, popular, random, tastes, lengths, last_item[shopper])
    last_item[shopper] = steps[np.arange(number), lengths - 1]
    rows, queries, ends = _events(world, popular, random, tastes, lengths, steps, 1.3 if drifted else 1.0)
    return _table(world, day, random, shopper, rows, queries, ends)


def _walk(
    world: World, popular: Popularity, random: np.random.Generator, tastes: Array, lengths: Array, before: Array
) -> Array:
    """Return int64 [S, longest]: the items of each session, -1 after its end."""
    number, longest = len(lengths), int(lengths.max())
    steps = np.full((number, longest), -1, np.int64)
    favourite = tastes[np.arange(number), np.searchsorted([0.65, 0.9], random.random(number))]
    start = popular.of(favourite, random.random(number))
    again = (before >= 0) & (random.random(number) < 0.35)  # goes on where the last visit ended
    steps[:, 0] = np.where(again, world.successors[np.maximum(before, 0), 0], start)
    for at in range(1, longest):
        on = np.flatnonzero(lengths > at)
        here = steps[on, at - 1]
        way, which = random.random(len(on)), np.searchsorted([0.55, 0.9], random.random(len(on)))
        draws = random.random(len(on))
        steps[on, at] = np.select(
            [way < _FOLLOWS, way < _STAYS, way < _RETURNS],
            [world.successors[here, which], popular.of(world.category[here], draws), popular.of(favourite[on], draws)],
            popular.any(draws),
        )
    return steps


def _events(
    world: World,
    popular: Popularity,
    random: np.random.Generator,
    tastes: Array,
    lengths: Array,
    steps: Array,
    inflation: float,
) -> tuple[Rows, pa.Array, Array]:
    """Return the rows of all sessions, the day's queries, and the length of each session in microseconds."""
    number = len(lengths)
    session = np.repeat(np.arange(number), lengths)
    place = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = steps[session, place]
    gaps = (random.exponential(40, len(session)) + 4).clip(max=400)
    heap = np.cumsum(gaps)
    offset = ((heap - np.repeat(heap[np.cumsum(lengths) - lengths], lengths) + 30) * SECOND).astype(np.int64)
    price = np.round(world.price * inflation, 2)

    parts, queries, place_shown = _openings(world, popular, random, steps)
    clicked = (place == 0) & (place_shown[session] >= 0)
    seen = place_shown[session[clicked]]
    parts.append(_rows("click", session[clicked], item[clicked], offset[clicked], position=seen))
    parts.append(_rows("view", session[~clicked], item[~clicked], offset[~clicked]))
    liked = np.where(world.category[item] == tastes[session, 0], 1.5, 0.9)
    carted = random.random(len(item)) < 0.11 * world.quality[item] * liked
    when = offset[carted] + 3 * SECOND
    parts.append(_rows("add_to_cart", session[carted], item[carted], when, worth=price[item[carted]]))
    ends = offset[np.cumsum(lengths) - 1] + 60 * SECOND
    bought = carted & (random.random(len(item)) < 0.45)
    when = ends[session[bought]] + place[bought]
    parts.append(_rows("purchase", session[bought], item[bought], when, worth=price[item[bought]]))
    rows = Rows(*(np.concatenate([getattr(p, n) for p in parts]) for n in Rows.__dataclass_fields__))
    return rows, queries, ends + SECOND


def _openings(
    world: World, popular: Popularity, random: np.random.Generator, steps: Array
) -> tuple[list[Rows], pa.Array, Array]:
    """Open the sessions: searches and what was shown, the queries, and the first item's position in each.

    The place is -1 where nothing was shown.
    """
    number = len(steps)
    opening = random.random(number)
    searching = np.flatnonzero(opening < _SEARCHING)
    shown = np.flatnonzero(opening < _SEARCHING + _FRONT_PAGE)
    queries = _queries(world, random, steps[searching, 0])
    none, asked = np.full(len(searching), -1, np.int64), np.arange(len(searching))
    parts = [_rows("search", searching, none, np.zeros(len(searching), np.int64), query=asked)]
    target = np.minimum(random.geometric(0.4, len(shown)) - 1, SHOWN - 1)
    query_of = np.full(number, -1, np.int64)
    query_of[searching] = asked
    for position in range(SHOWN):
        draws = random.random(len(shown))
        other = np.where(
            opening[shown] < _SEARCHING, popular.of(world.category[steps[shown, 0]], draws), popular.any(draws)
        )
        seen = np.where(target == position, steps[shown, 0], other)
        when, places = np.full((2, len(shown)), [[2 * SECOND + position], [position]], np.int64)
        parts.append(_rows("impression", shown, seen, when, position=places, query=query_of[shown]))
    place_shown = np.full(number, -1, np.int64)
    place_shown[shown] = target
    return parts, queries, place_shown


def _rows(kind: str, session: Array, item: Array, offset: Array, **more: Array) -> Rows:
    """Return rows of one kind; `more` may give position, worth and query."""
    blank = np.full(len(session), -1, np.int64)
    return Rows(
        session=session,
        kind=np.full(len(session), KINDS.index(kind), np.int64),
        item=item,
        offset=offset,
        position=more.get("position", blank),
        worth=more.get("worth", np.full(len(session), np.nan)),
        query=more.get("query", blank),
    )


def _queries(world: World, random: np.random.Generator, items: Array) -> pa.Array:
    """Make the queries of shoppers who look for the items: the noun, with attribute, brand, or neither."""
    words = {name: values.take(pa.array(items)) for name, values in world.words.items()}
    join = pc.binary_join_element_wise
    way = pa.array(np.searchsorted([0.3, 0.65, 0.85], random.random(len(items))).astype(np.int64))
    return pc.utf8_lower(
        pc.choose(
            way,
            words["noun"],
            join(words["attribute"], words["noun"], " "),
            join(words["brand"], words["noun"], " "),
            join(words["colour"], words["noun"], " "),
        )
    )


def _table(
    world: World, day: date, random: np.random.Generator, shopper: Array, rows: Rows, queries: pa.Array, ends: Array
) -> pa.Table:
    weights = HOURS / HOURS.sum()
    starts = (random.choice(24, len(shopper), p=weights) + random.random(len(shopper))) * 3600 * SECOND
    starts = np.minimum(starts.astype(np.int64), DAY - SECOND - ends)  # no session goes over midnight
    moment = micros(datetime.combine(day, time(), UTC)) + starts[rows.session] + rows.offset
    order = np.lexsort((rows.kind, rows.session, moment))
    session, item = rows.session[order], rows.item[order]
    numbers = pc.utf8_lpad(pa.array(np.arange(len(order))).cast(pa.string()), 8, "0")
    name = day.isoformat()
    sessions = pc.binary_join_element_wise(name, pa.array(np.arange(len(shopper))).cast(pa.string()), "-s")
    padded = pc.utf8_lpad(pa.array(shopper).cast(pa.string()), 7, "0")
    people = pc.binary_join_element_wise("shopper", padded, "-")
    item_at, query_at, position = (pa.array(a, mask=a < 0) for a in (item, rows.query[order], rows.position[order]))
    worth = rows.worth[order]
    return pa.table(
        [
            pc.binary_join_element_wise(name, numbers, "-"),
            pa.array(moment[order], pa.int64()).cast(TIMESTAMP),
            people.take(pa.array(session)),
            sessions.take(pa.array(session)),
            pa.array(KINDS).take(pa.array(rows.kind[order])),
            world.item_ids.take(item_at),
            queries.take(query_at),
            position.cast(pa.int32()),
            pa.array(worth, mask=np.isnan(worth)),
        ],
        schema=EVENTS,
    )
