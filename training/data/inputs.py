"""Reads the inputs of a nightly run from the lake, and makes the key that names exactly these inputs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import NotEnoughData, NotFound
from contracts.events import CATALOG, EVENTS, INTERACTIONS
from feature_repo.sequences import Action, tie_break
from ingestion.rules.machines import Machines, find_machines
from training.data.datasets import DAY_US, Ints, Sequences, from_events
from training.data.texts import texts_of
from training.recipes import Recipe

#: Rises when the same inputs would give another model.
FORMAT = 3


@dataclass(frozen=True)
class Partitions:
    """Digests of every partition a run of one day reads."""

    events: dict[str, str]
    catalog: tuple[str, str]  # (day, digest)
    item_text: tuple[str, str] | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "catalog": dict([self.catalog]),
            "item_text": dict([self.item_text]) if self.item_text else {},
        }

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, str]]) -> Partitions:
        (catalog,) = values["catalog"].items()
        return cls(events=values["events"], catalog=catalog, item_text=next(iter(values["item_text"].items()), None))


def partitions(lake: Lake, day: str) -> Partitions:
    """Find all clean events up to `day`, and the newest catalog and text vectors. Raises NotFound."""
    events = {d: str(lake.digest("events", d)) for d in lake.partitions("events") if d <= day}
    if not events:
        raise NotFound(f"{lake.source} has no clean events up to {day}", remedy="run `caravan ingest`, then the chain")

    def newest(table: str) -> tuple[str, str] | None:
        days = [d for d in lake.partitions(table) if d <= day]
        return (days[-1], str(lake.digest(table, days[-1]))) if days else None

    catalog = newest("catalog")
    if catalog is None:
        raise NotFound(f"{lake.source} has no catalog up to {day}", remedy="ingest a catalog with `caravan ingest`")
    return Partitions(events=events, catalog=catalog, item_text=newest("item_text"))


def key_of(source: str, day: str, recipe: Recipe, read: Partitions, start_from: str | None = None) -> str:
    """Name one training: the same key, the same inputs, choices and release to start from."""
    body = {"format": FORMAT, "source": source, "day": day, "recipe": recipe.digest, "read": read.to_dict()}
    if start_from is not None:
        body["start_from"] = start_from
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Inputs:
    """Events and catalog of one day's run, in one vocabulary.

    known: every sequence up to the day, for histories; train_stops int64 [S]: where the training part of
    each ends (exclusive, before `cutoff`); all_text float32 [N, E] unit length, or None; cutoff in microseconds;
    machines, the shoppers that were set aside before anything else.
    """

    items: pa.Table
    known: Sequences
    train_stops: Ints
    cutoff: int
    days: list[str]
    held_out: list[str]
    all_text: npt.NDArray[np.float32] | None
    words: bool
    machines: Machines

    @property
    def text(self) -> npt.NDArray[np.float32] | None:
        """The text vectors worth learning from: None where the titles only number the items."""
        return self.all_text if self.words else None

    @property
    def available(self) -> npt.NDArray[np.bool_]:
        """Whether each item may be shown, bool [N]."""
        return np.asarray(self.items["available"].combine_chunks().fill_null(fill_value=True)).astype(bool)

    @property
    def item_count(self) -> int:
        return len(self.items)

    @property
    def train(self) -> Sequences:
        """The part of the sequences before the cut-off."""
        keep = np.arange(len(self.known.items)) < np.repeat(self.train_stops, self.known.lengths)
        lengths = self.train_stops - self.known.offsets[:-1]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Sequences(self.known.items[keep], self.known.times[keep], offsets, self.known.keys, self.known.dropped)


def read_inputs(lake: Lake, day: str, recipe: Recipe, which: Partitions) -> Inputs:
    """Read the partitions and cut off the days to hold out. Raises NotEnoughData."""
    tables = [
        pq.read_table(lake.fetch("events", d) / DATA, columns=EVENTS.names, schema=EVENTS) for d in sorted(which.events)
    ]
    catalog = pq.read_table(lake.fetch("catalog", which.catalog[0]) / DATA, columns=CATALOG.names, schema=CATALOG)
    text = None
    if which.item_text is not None:
        text = pq.read_table(lake.fetch("item_text", which.item_text[0]) / DATA, columns=["item_id", "vector"])
    return assemble(pa.concat_tables(tables), catalog, text, recipe, about=f"{lake.source} up to {day}")


def assemble(events: pa.Table, catalog: pa.Table, text: pa.Table | None, recipe: Recipe, *, about: str) -> Inputs:
    """Put EVENTS, a CATALOG and its text vectors (item_id, vector) into one vocabulary, and cut off the last days.

    The cut-off part is held out. What machines did is in none of it: no model, no list and no question is about them.
    `about` names the data in an error. Raises NotEnoughData.
    """
    events = events.filter(pc.is_in(events["kind"], value_set=pa.array(INTERACTIONS)))
    machines = find_machines(events)
    events = events.filter(pc.invert(machines.of(events["user_id"])))
    catalog = catalog.sort_by("item_id")
    known = from_events(in_order(events), catalog["item_id"].combine_chunks())
    if len(known.items) < recipe.min_train_interactions:
        raise NotEnoughData(
            f"{about} has {len(known.items)} interactions with items of its catalog, and the recipe {recipe.name} "
            f"needs {recipe.min_train_interactions}",
            remedy="ingest more days; every item_id of the events must be in the catalog",
        )
    owner = np.repeat(np.arange(len(known)), known.lengths)
    cutoff = cut_off(known.times, owner, recipe)
    before = np.bincount(owner[known.times < cutoff], minlength=len(known)).astype(np.int64)
    days = [_date(d) for d in np.unique(known.times // DAY_US).tolist()]
    return Inputs(
        items=catalog,
        known=known,
        train_stops=known.offsets[:-1] + before,
        cutoff=cutoff,
        days=days,
        held_out=[d for d in days if d >= _date(cutoff // DAY_US)],
        all_text=_vectors(text, catalog),
        words=texts_of(catalog) is not None,
        machines=machines,
    )


def in_order(events: pa.Table) -> pa.Table:
    """Put interactions into the order of histories that feature_repo.sequences has: no action twice, ties by its hash.

    By shopper first, so that neither the rows' own order nor the names of events show.
    """
    events = events.filter(pc.is_valid(events["item_id"]))
    events = events.group_by(["user_id", "event_time", "item_id", "kind"]).aggregate([]).combine_chunks()
    events = events.sort_by([("user_id", "ascending"), ("event_time", "ascending")])
    users = np.asarray(events["user_id"].combine_chunks().dictionary_encode().indices)
    times = np.asarray(events["event_time"].combine_chunks().cast(pa.int64()), dtype=np.int64)
    same = np.zeros(len(events) + 1, dtype=bool)
    same[1:-1] = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied = np.flatnonzero(same[1:] | same[:-1])  # only these are hashed
    columns = (events[name].take(pa.array(tied)).to_pylist() for name in ("user_id", "item_id", "kind"))
    said = [
        tie_break(u, Action(t, i, k))
        for t, (u, i, k) in zip(times[tied].tolist(), zip(*columns, strict=True), strict=True)
    ]
    places = np.zeros(len(events), dtype=np.int64)
    places[tied[np.argsort(np.asarray(said, dtype="S64"))]] = np.arange(len(tied))
    return events.take(pa.array(np.lexsort((places, times, users))))


def cut_off(times: Ints, owner: Ints, recipe: Recipe) -> int:
    """Find the first microsecond of the held-out days, which are whole days where there are several.

    As many of the last days as the recipe asks for, but no more than its share of the days and of the
    interactions; at least one day. Where fewer shoppers (`owner`, one per time) come on them than a verdict wants,
    more days, up to twice the share. A single day is cut within.
    """
    days, counts = np.unique(times // DAY_US, return_counts=True)
    if len(days) == 1:
        return int(np.quantile(times, 1 - recipe.holdout_share, method="nearest"))
    share = np.cumsum(counts[::-1]) / counts.sum()
    allowed = int((share <= recipe.holdout_share).sum())
    held = max(1, min(recipe.holdout_days, int(len(days) * recipe.holdout_share), allowed))
    most = min(int(len(days) * 2 * recipe.holdout_share), int((share <= 2 * recipe.holdout_share).sum()))
    while held < most and len(np.unique(owner[times // DAY_US >= days[len(days) - held]])) < recipe.holdout_shoppers:
        held += 1
    return int(days[len(days) - held]) * DAY_US


def _vectors(table: pa.Table | None, catalog: pa.Table) -> npt.NDArray[np.float32] | None:
    """Sort text vectors into catalog order, zeros for an item without one; None without a table of them."""
    if table is None:
        return None
    place = pc.index_in(catalog["item_id"], value_set=table["item_id"].combine_chunks())
    flat = table["vector"].combine_chunks().flatten()
    vectors = np.asarray(flat, dtype=np.float32).reshape(len(table), -1)
    rows = np.asarray(pc.fill_null(place, 0).combine_chunks(), dtype=np.int64)
    missing = np.asarray(pc.is_null(place).combine_chunks()).astype(bool)
    found: npt.NDArray[np.float32] = np.where(missing[:, None], np.float32(0), vectors[rows])
    return found


def _date(day_number: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day_number)).date().isoformat()
