"""Nights of generated shops, trained and measured as the chain does, without a stack around them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from contracts.events import CATALOG, EVENTS
from contracts.settings import settings
from ingestion.sources.shop import generate
from ingestion.sources.shop_world import ShopPlan
from retrieval.encoder import TextEncoder
from training import recipes
from training.data import held_out, inputs
from training.data.datasets import Examples, Ints
from training.data.texts import item_texts
from training.evaluation import baselines, compare
from training.fitting import warm_start
from training.fitting.first_stage import KnownItems
from training.fitting.loop import DistributedRank, Trainer
from training.fitting.validation import encoder_of
from training.models.ranking import Ranking, Score, rank, scorer
from training.models.sequence import SequenceModel
from training.models.text import encoder_directory

#: The demo's shop and recipe.
SHOPPERS, ITEMS, FIRST_DAYS, RECIPE = 1_500, 800, 14, "quick"


@dataclass(frozen=True)
class Model:
    """A trained model in its own vocabulary."""

    items: pa.Array
    model: SequenceModel

    def bundle(self) -> compare.Bundle:
        with torch.inference_mode():
            vectors = self.model.all_item_vectors().numpy()
        return compare.Bundle(self.items, scorer(encoder_of(self.model), vectors, None, self.model.config.max_length))

    def start(self, item_ids: pa.Array) -> warm_start.Weights:
        """Weights for the vocabulary `item_ids`, as warm_start.read_weights reads them from a release."""
        found = {name: value.numpy() for name, value in self.model.state_dict().items()}
        return warm_start.carry(found, self.items, item_ids)


@dataclass(frozen=True)
class Questions:
    """What a night asks, and of whom."""

    examples: Examples
    shopper: Ints
    allowed: np.ndarray[Any, np.dtype[np.bool_]]
    items: pa.Array

    def rank(self, score: Score) -> Ranking:
        return rank(score, self.examples, exclude_seen=False, top=max(compare.KS), allowed=self.allowed)

    def asked(self, model: Model) -> Ranking:
        return self.rank(compare.translated(model.bundle(), self.examples, self.items))


class Shop:
    """One generated shop of the demo's size; night n sees its first FIRST_DAYS + n days.

    Seeds also draw the date: holidays and weekdays differ. `changing`: its tastes and fashions turn in the last third.
    """

    def __init__(self, seed: int, nights: int, *, changing: bool = False, size: float = 1.0) -> None:
        self.end = date(2024, 1, 15) + timedelta(days=37 * seed)
        self.plan = ShopPlan(
            days=FIRST_DAYS + nights - 1, shoppers=round(SHOPPERS * size), items=round(ITEMS * size), seed=seed,
            end=self.end, drift=changing,
        )  # fmt: skip
        self.nights = nights

    @cached_property
    def _files(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        with tempfile.TemporaryDirectory(prefix="caravan-nights-") as name:
            made = generate(self.plan, Path(name))
            events = pa.concat_tables(pq.read_table(f, columns=EVENTS.names, schema=EVENTS) for f in made.events)
            catalog = pq.read_table(made.catalog, columns=CATALOG.names, schema=CATALOG)
        encoder = TextEncoder.load(encoder_directory(settings()))
        vectors = pa.array(list(encoder.encode(item_texts(catalog))), type=pa.list_(pa.float32()))
        return events, catalog, pa.table({"item_id": catalog["item_id"], "vector": vectors})

    def night(self, number: int) -> inputs.Inputs:
        """What the chain reads in that night."""
        events, catalog, text = self._files
        until = pa.scalar(self.end - timedelta(days=self.nights - 1 - number) + timedelta(days=1), pa.date32())
        before = pc.less(events["event_time"].cast(pa.timestamp("us")), until.cast(pa.timestamp("us")))
        there = pc.less(catalog["created_at"].cast(pa.timestamp("us")), until.cast(pa.timestamp("us")))
        return inputs.assemble(
            events.filter(before), catalog.filter(there), text, recipes.get(RECIPE), about=f"shop {self.plan.seed}"
        )


def train(read: inputs.Inputs, start: Model | None = None, **changes: Any) -> Model:
    """Train the demo's recipe on a night, from nothing or from another night's model."""
    recipe = replace(recipes.get(RECIPE), **changes)
    learned, asked = held_out.validation_split(read.train, recipe)
    data = KnownItems.of(read).training_data(learned, asked, recipe)
    items = read.items["item_id"].combine_chunks()
    if start is not None:
        data = replace(data, start=start.start(items))
    with tempfile.TemporaryDirectory(prefix="caravan-nights-") as name:
        trainer = Trainer(recipe, data, Path(name), key="night", place=DistributedRank(torch.device("cpu")))
        trainer.fit(lambda *_: None)
        trainer.model.load_state_dict(trainer.best)
    return Model(items, trainer.model.eval())


def questions(read: inputs.Inputs) -> Questions:
    """Ask what the chain's evaluation asks."""
    examples, _, _ = held_out.held_out_examples(read, recipes.get(RECIPE))
    shopper = np.searchsorted(read.known.offsets, examples.stops, side="right") - 1
    available = np.asarray(read.items["available"].combine_chunks().fill_null(True)).astype(bool)
    return Questions(examples, shopper, available, read.items["item_id"].combine_chunks())


def simple(read: inputs.Inputs, asked: Questions) -> dict[str, Ranking]:
    """Rank by the baselines of the gate."""
    train_part, count = read.train, read.item_count
    counts = baselines.popularity(train_part.items, count)
    near = baselines.neighbours_score(baselines.neighbours(train_part, count), counts)
    return {"popularity": asked.rank(baselines.popularity_score(counts)), "last_item_neighbours": asked.rank(near)}
