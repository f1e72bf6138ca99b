"""Makes up the synthetic shop at rest: its items and its shoppers.

Every property of an item or a shopper is a hash of (seed, property, number), so an item is the same however many
others there are and on whichever day one looks: a shop can be continued tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import DataError
from contracts.events import EVENTS, TIMESTAMP
from ingestion.sources.base import as_json, catalog_table
from ingestion.sources.calendar import DAY, micros, seed_of, uniform
from ingestion.sources.shop_words import ATTRIBUTES, BRANDS, CATEGORIES, COLOURS

Array = np.ndarray[Any, np.dtype[Any]]
#: New items and new shoppers per day, as a share of those on the first day.
NEW_ITEMS, NEW_SHOPPERS = 0.004, 0.01
SUCCESSORS = 3


@dataclass(frozen=True, kw_only=True)
class ShopPlan:
    """What to make up: size, dates, seed, and what shall be broken."""

    days: int
    shoppers: int
    items: int
    seed: int
    end: date
    opening: date | None = None
    drift: bool = False
    bad_rows: float = 0.0
    missing_column: str | None = None

    def __post_init__(self) -> None:
        if self.days < 1 or self.shoppers < 1 or self.items < 20:
            raise DataError("a shop needs a day, a shopper and 20 items", remedy="choose larger numbers")
        if not 0 <= self.bad_rows <= 1:
            raise DataError(f"bad_rows is {self.bad_rows}", remedy="give a share from 0 to 1")
        if self.missing_column is not None and self.missing_column not in EVENTS.names:
            raise DataError(
                f"events have no column {self.missing_column!r}", remedy=f"choose one of {', '.join(EVENTS.names)}"
            )
        if self.opened > self.first:
            raise DataError(f"the shop opens on {self.opened}, after its first day", remedy="choose an earlier opening")

    @property
    def first(self) -> date:
        return self.end - timedelta(days=self.days - 1)

    @property
    def opened(self) -> date:
        return self.opening or self.first

    @property
    def age(self) -> int:
        """Days from the opening to the last day."""
        return (self.end - self.opened).days


@dataclass(frozen=True)
class World:
    """Items 0..N-1 and shoppers 0..M-1 as they are by the plan's last day."""

    plan: ShopPlan
    _seeds: dict[str, Array] = field(default_factory=dict)

    def draw(self, what: str, numbers: Array) -> Array:
        """Draw evenly in [0, 1), one per number."""
        if what not in self._seeds:
            self._seeds[what] = np.array(seed_of(f"{self.plan.seed}/{what}"), np.uint64)
        return uniform(self._seeds[what], numbers)

    def pick(self, what: str, numbers: Array, choices: int | Array) -> Array:
        """Draw a whole number below `choices`, one per number."""
        return (self.draw(what, numbers) * choices).astype(np.int64)

    # items
    @cached_property
    def item(self) -> Array:
        return np.arange(self.plan.items + int(np.ceil(self.plan.items * NEW_ITEMS)) * self.plan.age)

    @cached_property
    def category(self) -> Array:
        """Index into CATEGORIES; the shop sells more of some than of others."""
        sizes = 0.4 + self.draw("category size", np.arange(len(CATEGORIES)))
        return np.searchsorted(np.cumsum(sizes / sizes.sum()), self.draw("category", self.item)).clip(
            0, len(CATEGORIES) - 1
        )

    @cached_property
    def noun(self) -> Array:
        return self.pick("noun", self.item, np.array([len(c.nouns) for c in CATEGORIES])[self.category])

    @cached_property
    def brand(self) -> Array:
        return (self.draw("brand", self.item) ** 1.5 * 6).astype(np.int64)

    @cached_property
    def attribute(self) -> Array:
        return self.pick("attribute", self.item, 6)

    @cached_property
    def price(self) -> Array:
        typical = np.array([c.typical_price for c in CATEGORIES])[self.category]
        spread = np.exp((self.draw("price", self.item) - 0.5) * 1.8)
        prices: Array = np.maximum(np.round(typical * spread * (0.9 + 0.1 * self.brand)), 2) - 0.01
        return prices

    @cached_property
    def appeal(self) -> Array:
        """Long-tailed popularity weight."""
        return np.minimum((1 - self.draw("appeal", self.item)) ** -0.9, 200.0)

    @cached_property
    def later_appeal(self) -> Array:
        """What popularity drifts to: the categories change places, and so do the items in them."""
        shift = np.exp(2.5 * (self.draw("fashion", np.arange(len(CATEGORIES))) - 0.5))[self.category]
        weights: Array = np.minimum((1 - self.draw("later", self.item)) ** -0.9, 200.0) * shift
        return weights

    @cached_property
    def quality(self) -> Array:
        """How readily what is looked at is bought, about 1."""
        return 0.4 + 1.2 * self.draw("quality", self.item)

    @cached_property
    def created(self) -> Array:
        """Day of arrival, counted from the opening; negative for the first items."""
        per_day = max(int(np.ceil(self.plan.items * NEW_ITEMS)), 1)
        return np.where(
            self.item < self.plan.items,
            -1 - self.pick("created", self.item, 300),
            1 + (self.item - self.plan.items) // per_day,
        )

    @cached_property
    def successors(self) -> Array:
        """int64 [N, 3]: what is looked at after an item: two of its kind, one that goes with it. First items only."""
        first = np.arange(self.plan.items)
        order = np.argsort(self.category[first], kind="stable")
        starts = np.searchsorted(self.category[first][order], np.arange(len(CATEGORIES) + 1))
        names = {(c.department, c.name): i for i, c in enumerate(CATEGORIES)}
        with_it = np.array([names[c.department, c.goes_with] for c in CATEGORIES])[self.category]
        columns = []
        for number, wanted in enumerate((self.category, with_it, self.category)):
            size = starts[wanted + 1] - starts[wanted]
            place = starts[wanted] + self.pick(f"successor {number}", self.item, np.maximum(size, 1))
            columns.append(np.where(size > 0, order[np.minimum(place, len(order) - 1)], self.item % self.plan.items))
        return np.stack(columns, axis=1)

    # shoppers
    @cached_property
    def shopper(self) -> Array:
        return np.arange(self.plan.shoppers + int(np.ceil(self.plan.shoppers * NEW_SHOPPERS)) * self.plan.age)

    @cached_property
    def joined(self) -> Array:
        """Day of the first possible visit, counted from the opening."""
        per_day = max(int(np.ceil(self.plan.shoppers * NEW_SHOPPERS)), 1)
        return np.where(self.shopper < self.plan.shoppers, 0, 1 + (self.shopper - self.plan.shoppers) // per_day)

    @cached_property
    def activity(self) -> Array:
        weights: Array = np.minimum((1 - self.draw("activity", self.shopper)) ** -0.5, 12.0)
        return weights

    @cached_property
    def tastes(self) -> Array:
        """int64 [M, 3]: a shopper's categories, the dearest first."""
        return np.stack([self.pick(f"taste {n}", self.shopper, len(CATEGORIES)) for n in range(3)], axis=1)

    # words
    @cached_property
    def words(self) -> dict[str, pa.Array]:
        """Per item: brand, attribute, noun and category, as strings."""
        departments = [c.department for c in CATEGORIES]
        table = {
            "brand": [b for d in departments for b in BRANDS[d]],
            "attribute": [a for d in departments for a in ATTRIBUTES[d]],
        }
        nouns = pa.array([n for c in CATEGORIES for n in c.nouns])
        first_noun = np.cumsum([0, *(len(c.nouns) for c in CATEGORIES)])[:-1]
        return {
            "brand": pa.array(table["brand"]).take(pa.array(self.category * 6 + self.brand)),
            "attribute": pa.array(table["attribute"]).take(pa.array(self.category * 6 + self.attribute)),
            "noun": nouns.take(pa.array(first_noun[self.category] + self.noun)),
            "category": pa.array([c.name for c in CATEGORIES]).take(pa.array(self.category)),
            "department": pa.array(departments).take(pa.array(self.category)),
            "colour": pa.array(COLOURS).take(pa.array(self.pick("colour", self.item, len(COLOURS)))),
        }

    @cached_property
    def item_ids(self) -> pa.Array:
        """Return ids that no shop of another seed has, so that its catalog cannot pass for this one's."""
        numbers = pc.utf8_lpad(pa.array(self.item).cast(pa.string()), 7, "0")
        return pc.binary_join_element_wise(f"item-{self.plan.seed}", numbers, "-")

    def catalog(self) -> pa.Table:
        """Return CATALOG columns of every item up to the last day."""
        w, join = self.words, pc.binary_join_element_wise
        model = pa.array(100 + self.item % 900).cast(pa.string())
        opened = micros(datetime.combine(self.plan.opened, time(), UTC))
        created = opened + self.created * DAY + (self.draw("hour", self.item) * DAY / 3).astype(np.int64)
        told = join("The", w["brand"], w["attribute"], w["noun"], "in", w["colour"], " ")
        use = join("A", w["noun"], "for your", pc.utf8_lower(w["department"]), "shelf, model", model, " ")
        return catalog_table(
            len(self.item),
            item_id=self.item_ids,
            title=join(w["brand"], w["attribute"], w["noun"], model, w["colour"], " "),
            description=join(told, use, ". "),
            brand=w["brand"],
            category=join(w["department"], w["category"], "/"),
            price=pa.array(self.price),
            currency=pa.array(["EUR"] * len(self.item)),
            available=pa.array(self.draw("available", self.item) > 0.02),
            created_at=pa.array(created, pa.int64()).cast(TIMESTAMP),
            attributes=pa.array([as_json({"colour": c}) for c in w["colour"].to_pylist()]),
        )

    def judgments(self, most: int = 150) -> pa.Table:
        """Return JUDGMENTS: of `<attribute> <noun>` 3 if both fit, 1 where the noun alone does; first items only."""
        w = pa.table({"query": pc.binary_join_element_wise(self.words["attribute"], self.words["noun"], " ")})
        w = (
            w.append_column("noun", self.words["noun"])
            .append_column("item_id", self.item_ids)
            .slice(0, self.plan.items)
        )
        queries = pc.unique(w.column("query")).sort()
        chosen = queries.take(
            pa.array(np.unique(np.linspace(0, len(queries) - 1, min(most, len(queries))).astype(int)))
        )
        rows: dict[str, list[Any]] = {"query": [], "item_id": [], "relevance": []}
        for query in chosen.to_pylist():
            noun = w.filter(pc.equal(w.column("query"), query)).column("noun")[0]
            same = w.filter(pc.equal(w.column("noun"), noun)).slice(0, 200)
            rows["query"] += [query] * same.num_rows
            rows["item_id"] += same.column("item_id").to_pylist()
            rows["relevance"] += [3.0 if q == query else 1.0 for q in same.column("query").to_pylist()]
        return pa.table(rows)
