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
from training.data.datasets import Examples, Ints, Sequences, from_events, last_items, sampled
from training.data.texts import texts_of
from training.recipes import Recipe

#: Rises when the same inputs would give another model.
FORMAT = 3
DAY_US = 86_400_000_000


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
    each ends (exclusive, before `cutoff`); all_text float32 [N, E] unit length, or None; cutoff in microseconds.
    """

    items: pa.Table
    known: Sequences
    train_stops: Ints
    cutoff: int
    days: list[str]
    held_out: list[str]
    all_text: npt.NDArray[np.float32] | None
    words: bool

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

    The cut-off part is held out. `about` names the data in an error. Raises NotEnoughData.
    """
    events = events.filter(pc.is_in(events["kind"], value_set=pa.array(INTERACTIONS)))
    # A history is what feature_repo.sequences says: no action twice; by time, then item, then kind.
    events = events.group_by(["user_id", "event_time", "item_id", "kind"]).aggregate([]).combine_chunks()
    events = events.sort_by([("event_time", "ascending"), ("item_id", "ascending"), ("kind", "ascending")])
    catalog = catalog.sort_by("item_id")
    known = from_events(events, catalog["item_id"].combine_chunks())
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
    )


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


def held_out_examples(inputs: Inputs, recipe: Recipe) -> tuple[Examples, npt.NDArray[np.bool_], Ints]:
    """Make questions of the held-out days: (examples, shopper is new [E], time [E]).

    The history is all a shopper did strictly before, held-out days included, as the engine would know it: actions at
    one instant are a set, none of which tells of another. Not asked: the repeat of the very last item, and first
    actions ever (the engine answers those with what is popular).
    """
    known = inputs.known
    place = np.arange(len(known.items))
    first = firsts_of_instants(known)
    starts = np.repeat(known.offsets[:-1], known.lengths)
    fresh_shopper = np.repeat(inputs.train_stops == known.offsets[:-1], known.lengths)
    previous = known.items[np.maximum(place - 1, 0)]
    asked = (known.times >= inputs.cutoff) & (first > starts) & (previous != known.items)
    asked &= inputs.available[known.items - 1]
    chosen = place[asked]
    chosen = chosen[sampled(len(chosen), recipe.evaluation_examples, recipe.seed)]
    return (
        Examples(known.items, starts[chosen], first[chosen], known.items[chosen]),
        fresh_shopper[chosen],
        known.times[chosen],
    )


def firsts_of_instants(sequences: Sequences) -> Ints:
    """Return for each action the place of the first one of its sequence at the same instant, int64 [T]."""
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    new = np.ones(len(sequences.items), dtype=bool)
    new[1:] = (owner[1:] != owner[:-1]) | (sequences.times[1:] != sequences.times[:-1])
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def validation_split(train: Sequences, recipe: Recipe) -> tuple[Sequences, Examples]:
    """Split off the questions that watch for overfitting, the last item of the shoppers seen last: (rest, questions).

    At most a tenth of the shoppers with three interactions or more; their last item is not trained on.
    """
    askable = np.flatnonzero(train.lengths >= 3)
    if not len(askable):
        raise NotEnoughData("no shopper has three interactions before the held-out days", remedy="ingest more days")
    last_seen = train.times[train.offsets[1:][askable] - 1]
    count = min(recipe.validation_examples, max(min(len(askable), 50), len(askable) // 10))
    chosen = np.sort(askable[np.argsort(-last_seen, kind="stable")[:count]])
    questions = last_items(train.take(chosen))
    stops = train.offsets[1:].copy()
    stops[chosen] -= 1
    keep = np.arange(len(train.items)) < np.repeat(stops, train.lengths)
    offsets = np.concatenate([[0], np.cumsum(stops - train.offsets[:-1])]).astype(np.int64)
    return Sequences(train.items[keep], train.times[keep], offsets, train.keys), questions


def ranker_split(
    train: Sequences, available: npt.NDArray[np.bool_], recipe: Recipe
) -> tuple[Sequences, Examples, Ints] | None:
    """Split off what the ranker learns by: (what the sources learn from, questions, shopper of each question).

    The questions are of the last days of `train`, at most a fifth of its days and interactions; the sources see
    nothing of those days. None where they ask too few, or leave too little.
    """
    days, counts = np.unique(train.times // DAY_US, return_counts=True)
    starts = np.repeat(train.offsets[:-1], train.lengths)
    place = np.arange(len(train.items))
    first = firsts_of_instants(train)
    previous = train.items[np.maximum(place - 1, 0)]
    askable = (first > starts) & (previous != train.items) & available[train.items - 1]
    held = 0
    while held + 1 < len(days) and counts[len(days) - held - 1 :].sum() <= 0.2 * counts.sum():
        held += 1
        begin = int(days[len(days) - held]) * DAY_US
        if int((askable & (train.times >= begin)).sum()) >= recipe.ranker_questions:
            break
    if not held:
        return None
    begin = int(days[len(days) - held]) * DAY_US
    chosen = place[askable & (train.times >= begin)]
    chosen = chosen[sampled(len(chosen), recipe.ranker_questions, recipe.seed)]
    owner = np.searchsorted(train.offsets, chosen, side="right") - 1
    kept = train.times < begin
    if len(chosen) < recipe.ranker_least or int(kept.sum()) < recipe.min_train_interactions:
        return None
    lengths = np.bincount(np.repeat(np.arange(len(train)), train.lengths)[kept], minlength=len(train))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    before = Sequences(train.items[kept], train.times[kept], offsets, train.keys)
    return before, Examples(train.items, starts[chosen], first[chosen], train.items[chosen]), owner


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
