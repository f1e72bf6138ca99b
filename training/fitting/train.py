"""Trains a model of one source's day and publishes it under its digest; the same inputs are trained once."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.lake import Lake, write_table
from artifacts.publish import fetch, point, publish, resolve
from contracts import release as files
from contracts.errors import TakenOver, TrainingError
from contracts.settings import Settings
from training import recipes
from training.data import held_out, inputs
from training.data.inputs import Inputs, Partitions
from training.data.training_data import TrainingData
from training.fitting import launch, warm_start
from training.fitting.first_stage import FirstStage, KnownItems, Lessons, learn_ranker
from training.fitting.tracking import TrackedRun
from training.jobs import checkpoint, job
from training.ranker import program
from training.recipes import Recipe

log = logging.getLogger(__name__)

#: In a model artifact, beside weights.safetensors, config.json, curve.json and metrics.json.
INPUTS = "inputs.json"
#: In a training's folder: the job of the first stage, and the ranker.
FIRST, RANKER = "first", "ranker-made"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One training that was asked for: everything that decides what it gives."""

    lake: Lake
    day: str
    recipe: Recipe
    which: Partitions
    start_from: str | None

    @property
    def key(self) -> str:
        return inputs.key_of(self.lake.source, self.day, self.recipe, self.which, self.start_from)

    @property
    def ref(self) -> str:
        """Where the digest of its model is kept."""
        return f"models/{self.lake.source}/{self.key}"


def train(s: Settings, source: str, day: str, recipe_name: str, *, start_from: str | None = None) -> str:
    """Train `recipe_name` on `source` up to the end of `day`; return the digest of the model.

    `start_from` is the release whose weights it goes on from (see training.evaluation.rivals); None: from nothing.
    Trained before on the same partitions from the same release: that digest. Interrupted before: goes on from the
    last checkpoint.
    Raises NotFound without data, NotEnoughData with too little, TrainingError when training itself fails.
    """
    lake = Lake.of(s, source)
    asked = _Asked(
        lake=lake, day=day, recipe=recipes.get(recipe_name), which=inputs.partitions(lake, day), start_from=start_from
    )
    done = resolve(lake.store, asked.ref)
    if done is not None:
        log.info("the same inputs were trained before: model %s", done[:12])
        return done
    read = inputs.read_inputs(lake, day, asked.recipe, asked.which)
    items = KnownItems.of(read)
    data, origin = _prepare(asked, read, items, cache=s.cache / "objects")
    first = FirstStage()
    folder = s.paths.training / source / asked.key
    for other in _half_done(folder):
        log.info(
            "does not go on with the half-done training in %s: it has other inputs, or is of an earlier version", other
        )
    run = _track(s, asked, read)
    ranker = folder / RANKER

    def first_job(path: Path) -> Path:
        return launch.run(s, path, say=lambda line: log.info("first stage: %s", line), on_curve=run.curve)

    try:
        if origin["start_from"] is None:
            lessons = Lessons.of_last_days(read, asked.recipe)
            first = learn_ranker(items, lessons, asked.recipe, folder / FIRST, first_job, ranker, key=asked.key)
            if first.start:  # the last days are learned too, from the weights of the days before
                data = items.training_data(read.train, data.validation, asked.recipe, start=first.start)
        else:
            _keep_ranker(fetch(lake.store, origin["start_from"], s.cache / "objects"), ranker)
        path = job.write_job(folder, asked.recipe, data, key=asked.key)
        follow = (lambda _: None) if first.start else run.curve  # the second stage's questions are learned already
        result = launch.run(s, path, say=lambda line: log.info("%s", line), on_curve=follow)
    except TakenOver:  # the other process decides what becomes of the run
        raise
    except TrainingError:
        run.finish("FAILED")
        raise
    if first.start:
        first.write_figures(result)
    run.metrics({k: v for k, v in json.loads((result / job.METRICS).read_text()).items() if k != "events_per_second"})
    digest = _publish(asked, read, result, ranker, origin, run_id=run.run_id)
    point(lake.store, asked.ref, digest, expected=None)  # Conflict for one that wakes up when another has published
    run.finish()
    shutil.rmtree(folder, ignore_errors=True)
    return digest


def _prepare(asked: _Asked, read: Inputs, items: KnownItems, *, cache: Path) -> tuple[TrainingData, dict[str, Any]]:
    """Put together what the job learns from, with the weights it starts from, and say where these come from."""
    recipe = asked.recipe
    learned, questions = held_out.validation_split(read.train, recipe)
    log.info(
        "read %d interactions of %d shoppers on %d days; %d are trained on, %d ask in early stopping; held out: %s",
        len(read.known.items), len(read.known), len(read.days), len(learned.items), len(questions),
        ", ".join(read.held_out),
    )  # fmt: skip
    log.info("%s", read.machines)
    data = items.training_data(learned, questions, recipe)
    from_nothing = {"start_from": None, "full_training_day": asked.day}
    if asked.start_from is None:
        return data, from_nothing
    release = fetch(asked.lake.store, asked.start_from, cache)
    text_dim = 0 if data.text is None or not recipe.text else data.text.shape[1]
    start = warm_start.read_weights(release, read.items["item_id"].combine_chunks(), recipe, text_dim)
    if start and not program.fits(release / files.RANKER_ABOUT):
        log.info("release %s has no ranker of this version: trained from nothing", asked.start_from[:12])
        return data, from_nothing
    if not start:
        log.info(
            "the model of %s has another shape than recipe %s: trained from nothing", asked.start_from[:12], recipe.name
        )
        return data, from_nothing
    lineage = json.loads((release / files.LINEAGE).read_text())
    full_training_day = lineage.get("full_training_day", lineage["day"])
    return replace(data, start=start), {"start_from": asked.start_from, "full_training_day": full_training_day}


def _half_done(folder: Path) -> list[Path]:
    """Find other trainings of this source that have a checkpoint and no end; none if this one goes on with its own."""
    if (folder / checkpoint.FILE).exists():
        return []
    return sorted(found.parent for found in folder.parent.glob(f"*/{checkpoint.FILE}"))


def _track(s: Settings, asked: _Asked, read: Inputs) -> TrackedRun:
    """Start the training's run in MLflow, or go on with it."""
    tags = {"caravan.day": asked.day, "caravan.source": asked.lake.source, "caravan.recipe": asked.recipe.name}
    run = TrackedRun.start(s, asked.lake.source, asked.day, key=asked.key, tags=tags)
    run.parameters({**asked.recipe.to_dict(), "held_out": ",".join(read.held_out), "text": read.text is not None})
    return run


def _keep_ranker(release: Path, out: Path) -> None:
    """Copy the ranker of the release that a training goes on from: it is learned again with the next full one."""
    for name in (files.RANKER, files.RANKER_ABOUT):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release / name, out / name)


def _publish(asked: _Asked, read: Inputs, result: Path, ranker: Path, origin: dict[str, Any], *, run_id: str) -> str:
    """Publish weights, ranker, vocabulary and what they were made from as an artifact "model"; return its digest."""
    with tempfile.TemporaryDirectory(prefix="caravan-model-") as name:
        out = Path(name)
        for part in (job.WEIGHTS, job.CONFIG, job.CURVE, job.METRICS):
            shutil.copyfile(result / part, out / part)
        _keep_ranker(ranker, out)
        write_table(read.items, out / files.ITEMS)
        if read.text is not None:
            np.save(out / files.ITEM_TEXT_VECTORS, read.text, allow_pickle=False)
        about = {"source": asked.lake.source, "day": asked.day, "key": asked.key, "held_out": read.held_out}
        made_from = {
            **about,
            "recipe": asked.recipe.to_dict(),
            "cutoff_us": read.cutoff,
            "days": read.days,
            "partitions": asked.which.to_dict(),
            "machines": read.machines.to_dict(),
            **origin,
        }
        (out / INPUTS).write_bytes(job.to_json(made_from))
        metrics = json.loads((result / job.METRICS).read_text())
        meta = {
            **about,
            "recipe": asked.recipe.name,
            "run_id": run_id,
            job.VALIDATION: metrics[job.VALIDATION],
        }
        return publish(asked.lake.store, out, kind="model", meta=meta).digest
