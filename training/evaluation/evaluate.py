"""Measures challenger and champion on the same later days: the whole catalog, by the programs that will serve."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from artifacts.lake import Lake
from artifacts.publish import fetch, point, publish, read_manifest, refs, resolve
from contracts import release as files
from contracts.settings import Settings
from training.data import inputs
from training.data.datasets import Examples
from training.data.inputs import Inputs
from training.evaluation import compare, noise
from training.evaluation.questions import Activity, Questions
from training.fitting.first_stage import KnownItems
from training.fitting.train import INPUTS
from training.jobs import job
from training.ranker.pipeline import Pipeline
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.models.ranking import Ranking

log = logging.getLogger(__name__)

#: Pointers `evaluated/<source>/<day>` to the newest evaluation of each day.
EVALUATED = "evaluated"
#: So many of the anchors that answered better than a release stay anchors of what follows it.
KEPT_ANCHORS = 3
#: Shoppers whose best score becomes the reference of drift.
REFERENCE_SHOPPERS = 2_000


def evaluate(
    s: Settings, source: str, model_digest: str, champion_digest: str | None, *, anchors: Sequence[str] = (),
    activity: Activity | None = None,
) -> str:  # fmt: skip
    """Measure a model beside `champion_digest` (a release), popularity and neighbours; return the evaluation's digest.

    `anchors` are present and former champions (training/evaluation/rivals.py); the best of them is compared too.
    The artifact holds the exported program and vectors, which are what was measured, and evaluation.json.
    `activity` slices the questions by how active a shopper was, from point-in-time features.
    Raises NotEnoughData when the held-out days ask too few questions.
    """
    lake = Lake.of(s, source)
    model_folder = fetch(lake.store, model_digest, s.cache / "objects")
    about = json.loads((model_folder / INPUTS).read_text())
    recipe = Recipe.from_dict(about["recipe"])
    read = inputs.read_inputs(lake, about["day"], recipe, inputs.Partitions.from_dict(about["partitions"]))
    with tempfile.TemporaryDirectory(prefix="caravan-evaluation-") as name:
        out = Path(name)
        _export(model_folder, out)
        _add_sources(read, model_folder, out)
        rivals = {digest: fetch(lake.store, digest, s.cache / "objects") for digest in dict.fromkeys(anchors)}
        champion = fetch(lake.store, champion_digest, s.cache / "objects") if champion_digest else None
        report = measure(read, recipe, out, champion, activity, anchors=rivals)
        before = _nights_before(lake, about["day"])
        report["noise"] = {"training": noise.training_noise(before, recipe.training_noise), "nights": len(before)}
        report["model"], report["champion"] = model_digest, champion_digest
        (out / files.EVALUATION).write_bytes(job.to_json(compare.finite(report)))
        (out / INPUTS).write_bytes((model_folder / INPUTS).read_bytes())
        _reference_scores(read, recipe, out)
        meta = {
            **{k: v for k, v in read_manifest(lake.store, model_digest).meta.items() if k != "key"},
            "model": model_digest,
            "champion": champion_digest,
            "metrics": registry_figures(report),
            "anchors": report["anchor"]["better"],
            "against_champion": report["differences"].get("champion"),
        }
        digest = publish(lake.store, out, kind="evaluation", meta=compare.finite(meta)).digest
        point(lake.store, f"{EVALUATED}/{source}/{about['day']}", digest)
        _track(s, str(meta["run_id"]), report, out / files.EVALUATION)
    return digest


def registry_figures(report: dict[str, Any]) -> dict[str, float]:
    """Pick the figures that the registry shows: the challenger's, and the headline of every other ranker."""
    figures = {k: v for k, v in report["rankers"]["challenger"].items() if isinstance(v, float)}
    for name, ranker in report["rankers"].items():
        if name != "challenger":
            figures |= {f"{name}_{key}": ranker[key] for key in (files.HEADLINE, files.PER_SHOPPER)}
    return {k: v for k, v in sorted(figures.items()) if np.isfinite(v)}


def measure(
    read: Inputs, recipe: Recipe, bundle: Path, champion: Path | None, activity: Activity | None = None, *,
    anchors: Mapping[str, Path] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Report on the bundle directory, as plain values. Raises NotEnoughData."""
    questions = Questions.of(read, recipe)
    rankings = _without_releases(read, recipe, bundle, questions)
    anchor: dict[str, Any] = {"asked": len(anchors or {}), "release": None, "better": []}
    if champion is not None:
        rankings["champion"] = questions.rank_release(champion, recipe)
        release, best, better = _best_anchor(questions, rankings, champion, anchors or {}, recipe)
        anchor |= {"release": release, "better": better[:KEPT_ANCHORS]}
        if best is not None:
            rankings["anchor"] = best
    counts, shopper = questions.counts, questions.shopper
    return {
        "held_out": read.held_out,
        "cutoff_us": read.cutoff,
        "questions": len(questions),
        "shoppers": len(np.unique(shopper)),
        "first_actions_not_asked": int(((read.known.times >= read.cutoff) & _firsts(read)).sum()),
        "anchor": anchor,
        "ranker": json.loads((bundle / files.RANKER_ABOUT).read_text()),
        "items_ranked": int(questions.available.sum()),
        "train_interactions": len(read.train.items),
        "machines": read.machines.to_dict(),
        "rankers": {name: compare.summary(r, counts, recipe.seed, shopper) for name, r in rankings.items()},
        "differences": {
            name: compare.difference(rankings["challenger"], r, recipe.seed, shopper)
            for name, r in rankings.items()
            if name != "challenger"
        },
        "slices": compare.slices(rankings, questions.slices(activity)),
    }


def _without_releases(read: Inputs, recipe: Recipe, bundle: Path, questions: Questions) -> dict[str, Ranking]:
    """Rank by the challenger in `bundle` and by the floor that it must beat."""
    from training.evaluation import baselines

    counts, neighbours = questions.counts, baselines.neighbours(read.train, read.item_count)
    parts = questions.rank_parts(bundle, recipe)
    scores = {
        "popularity": baselines.popularity_score(counts),
        "last_item_neighbours": baselines.neighbours_score(neighbours, counts),
    }
    return {
        "challenger": parts.pop("ranker"),
        **{name: questions.rank(score) for name, score in scores.items()},
        **{name: ranking for name, ranking in parts.items() if name != "popular" and ranking.top.any()},
    }


def _best_anchor(
    questions: Questions, rankings: Mapping[str, Ranking], champion: Path, anchors: Mapping[str, Path], recipe: Recipe
) -> tuple[str | None, Ranking | None, list[str]]:
    """Ask all anchors: (the best one, if better than the champion, its ranking, those better than the challenger).

    The last are ordered best first.
    """
    ours, best = (questions.level(rankings[name]) for name in ("challenger", "champion"))
    levels: dict[str, float] = {}
    release, ranking = None, None
    for digest, folder in anchors.items():  # one after the other: a ranking is large
        found = rankings["champion"] if folder == champion else questions.rank_release(folder, recipe)
        levels[digest] = questions.level(found)
        if levels[digest] > best:
            best, release, ranking = levels[digest], digest, found
    better = sorted((digest for digest in levels if levels[digest] > ours), key=lambda digest: -levels[digest])
    return release, ranking, better


def _nights_before(lake: Lake, day: str) -> list[noise.Night]:
    """Read how the newest nights before `day` differed from the champion they met, oldest first."""
    prefix = f"{EVALUATED}/{lake.source}"
    days = sorted(name.removeprefix(f"{prefix}/") for name in refs(lake.store, prefix))
    found = []
    for earlier in [d for d in days if d < day][-noise.NEWEST_NIGHTS :]:
        digest = resolve(lake.store, f"{prefix}/{earlier}")
        about = read_manifest(lake.store, digest).meta if digest else {}
        difference = about.get("against_champion")
        level = about.get("metrics", {}).get(f"champion_{files.PER_SHOPPER}")
        if difference and level:
            relative = (float(difference["mean"]) / level, float(difference["standard_error"]) / level)
            found.append(noise.Night(difference=relative[0], standard_error=relative[1]))
    return found


def _firsts(read: Inputs) -> npt.NDArray[np.bool_]:
    """Mark each shopper's first interaction, bool [T]."""
    first = np.zeros(len(read.known.items), dtype=bool)
    first[read.known.offsets[:-1]] = True
    return first


def _export(model_folder: Path, out: Path) -> None:
    """Copy the model's files to where a release has them, and make the program from them."""
    from training.models import export

    text_path = model_folder / files.ITEM_TEXT_VECTORS
    text = np.load(text_path, allow_pickle=False) if text_path.exists() else None
    for path in (files.ITEMS, files.ITEM_TEXT_VECTORS):
        if (model_folder / path).exists():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model_folder / path, out / path)
    (out / files.WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model_folder / job.WEIGHTS, out / files.WEIGHTS)
    shutil.copyfile(model_folder / job.CONFIG, out / files.MODEL_CONFIG)
    export.export(export.load_model(model_folder, text), out)


def _add_sources(read: Inputs, model_folder: Path, out: Path) -> None:
    """Learn the sources again, up to the cut-off, and put the ranker beside them."""
    KnownItems.of(read).learn(read.train).save(out / files.SOURCES)
    for name in (files.RANKER, files.RANKER_ABOUT):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model_folder / name, out / name)


def _reference_scores(read: Inputs, recipe: Recipe, out: Path) -> None:
    """Write the score of each shopper's best item by the challenger, as shoppers stood at the cut-off."""
    from artifacts.histograms import write_histograms
    from training.data.datasets import sampled

    train = read.train
    seen = np.flatnonzero(train.lengths > 0)
    seen = seen[sampled(len(seen), REFERENCE_SHOPPERS, recipe.seed)]
    examples = Examples(train.items, train.offsets[:-1][seen], train.offsets[1:][seen], np.ones_like(seen))
    bundle = compare.open_bundle(out, recipe.max_length)
    pipeline = Pipeline.open(out, bundle.item_ids, bundle.score)
    best = [
        float(pipeline.ranker.scores(one).max())
        for one in pipeline.named(examples, read.available)
        if pipeline.ranker is not None and len(one.index)
    ]
    write_histograms(pa.table({"top_score": pa.array(best, pa.float64())}), out / files.REFERENCE_SCORES)


def _track(s: Settings, run_id: str, report: dict[str, Any], path: Path) -> None:
    from training.fitting.tracking import resume

    run = resume(s, run_id)
    run.metrics({f"test_{k}": v for k, v in registry_figures(report).items()})
    run.file(path, "evaluation")
