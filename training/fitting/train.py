"""A day of one source -> a trained model, published under its digest; the same inputs are trained once."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artifacts.lake import Lake, write_table
from artifacts.publish import fetch, point, publish, resolve
from contracts import release as files
from contracts.errors import TakenOver, TrainingError
from contracts.settings import Settings
from training import recipes
from training.data import inputs
from training.data.datasets import Examples, Sequences
from training.data.inputs import Inputs, Partitions
from training.fitting import launch, warm_start
from training.fitting.tracking import TrackedRun
from training.jobs import checkpoint, job
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.data.training_data import TrainingData

log = logging.getLogger(__name__)

#: In a model artifact, beside weights.safetensors, config.json, curve.json and metrics.json.
INPUTS = "inputs.json"


def train(s: Settings, source: str, day: str, recipe_name: str, *, start_from: str | None = None) -> str:
    """Train `recipe_name` on `source` up to the end of `day`; return the digest of the model.

    `start_from` is the release whose weights it goes on from (see training.evaluation.rivals); None: from nothing.
    Trained before on the same partitions from the same release: that digest. Interrupted before: goes on from the
    last checkpoint.
    Raises NotFound without data, NotEnoughData with too little, TrainingError when training itself fails.
    """
    recipe = recipes.get(recipe_name)
    lake = Lake.of(s, source)
    which = inputs.partitions(lake, day)
    key = inputs.key_of(source, day, recipe, which, start_from)
    ref = f"models/{source}/{key}"
    done = resolve(lake.store, ref)
    if done is not None:
        log.info("the same inputs were trained before: model %s", done[:12])
        return done
    read = inputs.read(lake, day, recipe, which)
    learned, questions = inputs.validation_split(read.train, recipe)
    log.info(
        "read %d interactions of %d shoppers on %d days; %d are trained on, %d ask in early stopping; held out: %s",
        len(read.known.items), len(read.known), len(read.days), len(learned.items), len(questions),
        ", ".join(read.held_out),
    )  # fmt: skip
    folder = s.region_home / "training" / source / key
    data = data_of(read, learned, questions, recipe)
    line = _line(lake, start_from, day, cache=s.cache / "objects")
    if start_from is not None:
        release = fetch(lake.store, start_from, s.cache / "objects")
        text_dim = 0 if data.text is None or not recipe.text else data.text.shape[1]
        data = replace(
            data, start=warm_start.weights(release, read.items["item_id"].combine_chunks(), recipe, text_dim)
        )
        if not data.start:
            log.info(
                "the model of %s has another shape than recipe %s: trained from nothing", start_from[:12], recipe.name
            )
            line = {"start_from": None, "full_training_day": day}
    for other in _half_done(folder):
        log.info(
            "does not go on with the half-done training in %s: it has other inputs, or is of an earlier version", other
        )
    path = job.write(folder, recipe, data, key=key)
    tags = {"caravan.day": day, "caravan.source": source, "caravan.recipe": recipe.name}
    run = TrackedRun.start(s, source, day, key=key, tags=tags)
    run.parameters({**recipe.to_dict(), "held_out": ",".join(read.held_out), "text": read.text is not None})
    try:
        result = launch.run(s, path, say=lambda line: log.info("%s", line), on_curve=run.curve)
    except TakenOver:  # what becomes of the run is the other one's to say
        raise
    except TrainingError:
        run.finish("FAILED")
        raise
    run.metrics({k: v for k, v in json.loads((result / job.METRICS).read_text()).items() if k != "events_per_second"})
    digest = _publish(lake, result, read, recipe, which, line, key=key, day=day, run_id=run.run_id)
    point(lake.store, ref, digest, expected=None)  # Conflict for one that wakes up when another has published
    run.finish()
    shutil.rmtree(folder, ignore_errors=True)
    return digest


def _half_done(folder: Path) -> list[Path]:
    """Other trainings of this source that have a checkpoint and no end; none when this one goes on with its own."""
    if (folder / checkpoint.FILE).exists():
        return []
    return sorted(found.parent for found in folder.parent.glob(f"*/{checkpoint.FILE}"))


def _line(lake: Lake, start_from: str | None, day: str, *, cache: Path) -> dict[str, Any]:
    """Say where the weights come from: the release they start from, and the day of the last full training."""
    if start_from is None:
        return {"start_from": None, "full_training_day": day}
    lineage = json.loads((fetch(lake.store, start_from, cache) / files.LINEAGE).read_text())
    return {"start_from": start_from, "full_training_day": lineage.get("full_training_day", lineage["day"])}


def data_of(read: Inputs, learned: Sequences, questions: Examples, recipe: Recipe) -> TrainingData:
    """Put together what a training job learns from; see training.data.training_data.TrainingData."""
    from training.data.training_data import TrainingData

    return TrainingData(
        item_count=read.item_count, items=learned.items, offsets=learned.offsets,
        validation=questions.sample(recipe.validation_examples, recipe.seed), exclude_seen=False, text=read.text,
    )  # fmt: skip


def _publish(
    lake: Lake, result: Path, read: Inputs, recipe: Recipe, which: Partitions, line: dict[str, Any], *, key: str,
    day: str, run_id: str,
) -> str:  # fmt: skip
    """Weights, vocabulary and what they were made from, as one artifact of kind "model"."""
    with tempfile.TemporaryDirectory(prefix="caravan-model-") as name:
        out = Path(name)
        for part in (job.WEIGHTS, job.CONFIG, job.CURVE, job.METRICS):
            shutil.copyfile(result / part, out / part)
        write_table(read.items, out / files.ITEMS)
        if read.text is not None:
            np.save(out / files.ITEM_TEXT_VECTORS, read.text, allow_pickle=False)
        about = {
            "source": lake.source,
            "day": day,
            "key": key,
            "recipe": recipe.to_dict(),
            "cutoff_us": read.cutoff,
            "days": read.days,
            "held_out": read.held_out,
            "partitions": which.to_dict(),
            **line,
        }
        (out / INPUTS).write_bytes(job.to_json(about))
        metrics = json.loads((result / job.METRICS).read_text())
        meta = {
            "source": lake.source,
            "day": day,
            "recipe": recipe.name,
            "run_id": run_id,
            "key": key,
            "held_out": read.held_out,
            job.VALIDATION: metrics[job.VALIDATION],
        }
        return publish(lake.store, out, kind="model", meta=meta).digest
