"""Trains on the days before the last ones, and lets the ranker learn from those last days, which no source has seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts import release as files
from retrieval.sources import SOURCES
from training.data import held_out
from training.data.datasets import Examples, Sequences, firsts_of_instants
from training.data.inputs import Inputs
from training.data.training_data import TrainingData
from training.jobs import job
from training.ranker import program
from training.ranker.pipeline import Pipeline
from training.recipes import Recipe
from training.sources.learn import category_codes, learn, reads_like

log = logging.getLogger(__name__)

#: What is said of a ranker that nothing was learned for.
NOT_ASKED: dict[str, Any] = {"ranks": "sequence", "best_source": "sequence", "questions": 0, "figures": {}}
#: job.json of a training -> the folder of its result
RunJob = Callable[[Path], Path]


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


def learn_ranker(read: Inputs, recipe: Recipe, folder: Path, run: RunJob, out: Path, *, key: str) -> FirstStage:
    """Train the first stage in `folder`, write the ranker below `out`, and return what the training goes on from.

    Where the last days ask too few questions, the sequence model alone ranks, and there is no first stage.
    """
    from training.ranker.fit import Learned, choose
    from training.ranker.network import OneSource

    split = held_out.ranker_split(read.train, read.available, recipe)
    if split is None:
        log.info("the last days ask too few questions to learn from: the sequence model alone ranks")
        program.write(OneSource(len(SOURCES), SOURCES.index("sequence")).eval(), dict(NOT_ASKED), out)
        return FirstStage()
    before, asked, shopper = split
    learned, questions = held_out.validation_split(before, recipe)
    data = data_of(read, learned, questions, recipe)
    result = run(job.write_job(folder, recipe, data, key=f"{key}-first"))
    pipeline = _pipeline(read, before, result, data, folder / "bundle", recipe)
    named = list(pipeline.named(asked, read.available))
    network, about = choose(Learned.of(named, asked.targets - 1, shopper), steps=recipe.ranker_steps, seed=recipe.seed)
    program.write(network, about, out)
    log.info(
        "%d questions of the last days before the held-out ones: %s; %s ranks",
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


def _pipeline(
    read: Inputs, before: Sequences, result: Path, data: TrainingData, bundle: Path, recipe: Recipe
) -> Pipeline:
    """Open the first stage's model with the sources that learned from the same days."""
    from training.models import export
    from training.models.ranking import scorer

    export.export(export.load_model(result, data.text), bundle)
    vectors = np.load(bundle / files.ITEM_VECTORS, allow_pickle=False)
    score = scorer(export.encoder(bundle / files.SEQUENCE_PROGRAM), vectors, None, recipe.max_length)
    sources = learn(before, category_codes(read.items), read.available, reads_like(read.text))
    return Pipeline(read.items["item_id"].combine_chunks(), score, sources)


def data_of(read: Inputs, learned: Sequences, questions: Examples, recipe: Recipe) -> TrainingData:
    """Put together what a training job learns from; see training.data.training_data.TrainingData."""
    return TrainingData(
        item_count=read.item_count, items=learned.items, offsets=learned.offsets,
        validation=questions.sample(recipe.validation_examples, recipe.seed), exclude_seen=False, text=read.text,
        firsts=firsts_of_instants(learned),
    )  # fmt: skip
