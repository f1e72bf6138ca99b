"""Trains on what came before some questions, and lets the ranker learn from these, which no source has seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts import release as files
from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import SOURCES, SourceData
from training.data import held_out
from training.data.datasets import Examples, Ints, Sequences, firsts_of_instants
from training.data.inputs import Inputs
from training.data.training_data import TrainingData
from training.jobs import job
from training.ranker import program
from training.recipes import Recipe
from training.sources.learn import category_codes, learn, reads_like

if TYPE_CHECKING:
    from training.models.ranking import Score
    from training.ranker.pipeline import Pipeline

log = logging.getLogger(__name__)

#: What is said of a ranker that nothing was learned for.
NOT_ASKED: dict[str, Any] = {"ranks": "sequence", "best_source": "sequence", "questions": 0, "figures": {}}
#: job.json of a training -> the folder of its result
RunJob = Callable[[Path], Path]


@dataclass(frozen=True, eq=False)
class KnownItems:
    """The vocabulary of N items: category int32 [N], -1: none; available bool [N]; text float32 [N, E] or None.

    sets: the actions of one instant are a set; published protocols keep the order of their files instead.
    """

    item_ids: pa.Array
    category: npt.NDArray[np.int32]
    available: npt.NDArray[np.bool_]
    text: npt.NDArray[np.float32] | None
    sets: bool = True

    @classmethod
    def of(cls, read: Inputs) -> KnownItems:
        return cls(read.items["item_id"].combine_chunks(), category_codes(read.items), read.available, read.text)

    @cached_property
    def alike(self) -> ItemLists | None:
        """The items that read like each item; the same whatever sequences are learned from."""
        return reads_like(self.text)

    def learn(self, sequences: Sequences) -> SourceData:
        """Learn every source that needs no network."""
        return learn(sequences, self.category, self.available, self.alike)

    def training_data(
        self, learned: Sequences, questions: Examples, recipe: Recipe, *, exclude_seen: bool = False,
        start: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> TrainingData:  # fmt: skip
        """Put together what a training job learns from; see training.data.training_data.TrainingData."""
        return TrainingData(
            item_count=len(self.item_ids), items=learned.items, offsets=learned.offsets,
            validation=questions.sample(recipe.validation_examples, recipe.seed), exclude_seen=exclude_seen,
            text=self.text, start=dict(start or {}), firsts=firsts_of_instants(learned) if self.sets else None,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lessons:
    """What the first stage learns from, and what is asked then.

    watched: the questions of early stopping; asked, shopper [Q]: those by which the ranker learns; exclude_seen: items
    of a history are no candidates.
    """

    learned: Sequences
    watched: Examples
    asked: Examples
    shopper: Ints
    exclude_seen: bool = False

    @classmethod
    def of_last_days(cls, read: Inputs, recipe: Recipe) -> Lessons | None:
        """Take the days before the last ones; the last ones ask, or each shopper's last action (see ranker_split).

        None where that is too little.
        """
        split = held_out.ranker_split(read.train, read.available, recipe)
        if split is None:
            return None
        before, asked, shopper = split
        learned, watched = held_out.validation_split(before, recipe)
        return cls(learned, watched, asked, shopper)


@dataclass(frozen=True)
class FirstStage:
    """What a full training goes on from: weights, and their figures on questions that they have not seen."""

    start: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)

    def write_figures(self, result: Path) -> None:
        """Put this stage's figures and curve into the result of the training that went on from it.

        Steps and seconds are those of both.
        """
        later = json.loads((result / job.METRICS).read_text())
        both = {name: self.figures[name] + later[name] for name in ("steps", "train_seconds")}
        (result / job.METRICS).write_bytes(job.to_json({**self.figures, **both}))
        (result / job.CURVE).write_bytes(job.to_json(self.curve))


def learn_ranker(
    items: KnownItems, lessons: Lessons | None, recipe: Recipe, folder: Path, run: RunJob, out: Path, *, key: str
) -> FirstStage:
    """Train the first stage in `folder`, write the ranker below `out`, and return what the training goes on from.

    Without lessons the sequence model alone ranks, and there is no first stage.
    """
    from training.ranker.fit import Learned, choose
    from training.ranker.network import OneSource
    from training.ranker.pipeline import Pipeline

    if lessons is None:
        log.info("there are too few questions to learn a ranker from: the sequence model alone ranks")
        program.write(OneSource(len(SOURCES), SOURCES.index("sequence")).eval(), dict(NOT_ASKED), out)
        return FirstStage()
    data = items.training_data(lessons.learned, lessons.watched, recipe, exclude_seen=lessons.exclude_seen)
    result = run(job.write_job(folder, recipe, data, key=f"{key}-first"))
    with one_thread():
        score = open_model(result, items, folder / "bundle", recipe)
        pipeline = Pipeline(items.item_ids, score, items.learn(lessons.learned))
        named = list(pipeline.named(lessons.asked, items.available, exclude_seen=lessons.exclude_seen))
        learned = Learned.of(named, lessons.asked.targets - 1, lessons.shopper)
        network, about = choose(learned, steps=recipe.ranker_steps, seed=recipe.seed)
    program.write(network, about, out)
    log.info(
        "%d questions that no source has seen: %s; %s ranks",
        about["questions"],
        ", ".join(f"{name} {value:.4f}" for name, value in sorted(about["figures"].items(), key=lambda f: -f[1])),
        "all sources together" if about["ranks"] == "ranker" else f"{about['ranks']} alone",
    )
    from safetensors.numpy import load_file

    return FirstStage(
        start={name: np.asarray(value, dtype=np.float32) for name, value in load_file(result / job.WEIGHTS).items()},
        figures=json.loads((result / job.METRICS).read_text()),
        curve=json.loads((result / job.CURVE).read_text()),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: the ranker is small, and on a busy machine threads mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_model(result: Path, items: KnownItems, bundle: Path, recipe: Recipe) -> Score:
    """Export the model in a job's `result` below `bundle`, and score by the program, as a release does."""
    from training.models import export
    from training.models.ranking import scorer

    export.export(export.load_model(result, items.text), bundle)
    vectors = np.load(bundle / files.ITEM_VECTORS, allow_pickle=False)
    return scorer(export.encoder(bundle / files.SEQUENCE_PROGRAM), vectors, None, recipe.max_length)


def fit_pipeline(
    items: KnownItems,
    lessons: Lessons | None,
    before: Sequences,
    recipe: Recipe,
    folder: Path,
    run: RunJob,
    *,
    key: str,
) -> tuple[Pipeline, Path]:  # fmt: skip
    """Train in two stages below `folder`, as a night does, and return what ranks then, with the result of its job.

    The first stage learns from the lessons; the second goes on with all of `before`, from which every source learns.
    """
    from training.ranker.pipeline import Pipeline

    first = learn_ranker(items, lessons, recipe, folder / "first", run, folder / "bundle", key=key)
    watched = lessons.watched if lessons is not None else held_out.validation_split(before, recipe)[1]
    seen = lessons is not None and lessons.exclude_seen
    data = items.training_data(before, watched, recipe, exclude_seen=seen, start=first.start)
    result = run(job.write_job(folder / "second", recipe, data, key=key))
    if first.start:
        first.write_figures(result)
    score = open_model(result, items, folder / "bundle", recipe)
    return Pipeline(items.item_ids, score, items.learn(before), RankerProgram(folder / "bundle")), result
