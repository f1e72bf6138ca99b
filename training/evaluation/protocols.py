"""Measures a recipe by published protocols on any data in the contract: leave-one-out, and next item in a session."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts import release as files
from contracts.release import HEADLINE
from contracts.settings import Settings
from retrieval import metrics
from retrieval.ranking.sources import SOURCES
from training.data.datasets import sampled
from training.data.texts import texts_of
from training.evaluation import splits
from training.evaluation.splits import DataSplit
from training.fitting import launch
from training.fitting.first_stage import KnownItems, Lessons, fit_pipeline
from training.jobs import job
from training.recipes import Recipe
from training.sources.learn import category_codes

if TYPE_CHECKING:
    from training.models.ranking import Ranking

#: texts [n] -> unit vectors float32 [n, E]
EncodeTexts = Callable[[list[str]], npt.NDArray[np.float32]]
Say = Callable[[str], object]
Report = dict[str, Any]

KS = (5, 10, 20)


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """The outcome of a training: figures, curve, what ranks, answers to the test, and when it ended (monotonic)."""

    figures: dict[str, float]
    curve: list[dict[str, float]]
    ranker: dict[str, Any]
    rankings: dict[str, Ranking]
    ended: float


def leave_one_out(
    s: Settings, events: pa.Table, catalog: pa.Table, recipe: Recipe, *, encode: EncodeTexts | None = None,
    say: Say | None = None,
) -> Report:  # fmt: skip
    """Test each shopper's last event, validate by the one before it; rank all items but those already seen.

    Where the answer itself was seen before, nothing is left out of the ranking (see ranking.rank); the report
    counts these as `repeat_questions`. See splits.leave_one_out. Raises NotEnoughData when nobody can be asked.
    """
    started = time.monotonic()
    split = splits.leave_one_out(events, catalog)
    return _measure(s, split, catalog, recipe, started=started, encode=encode, say=say)


def sessions(
    s: Settings, events: pa.Table, catalog: pa.Table, recipe: Recipe, *, test_events: pa.Table | None = None,
    encode: EncodeTexts | None = None, say: Say | None = None,
) -> Report:  # fmt: skip
    """Predict the next item of every prefix of a test session; repeats are allowed, nothing is excluded.

    See splits.sessions. Raises NotEnoughData when nobody can be asked, or nothing learned.
    """
    started = time.monotonic()
    split = splits.sessions(events, catalog, recipe, test_events=test_events)
    return _measure(s, split, catalog, recipe, started=started, encode=encode, say=say)


def _measure(
    s: Settings, split: DataSplit, catalog: pa.Table, recipe: Recipe, *, started: float, encode: EncodeTexts | None,
    say: Say | None,
) -> Report:  # fmt: skip
    """Train the recipe, rank everything for every question, and report on it."""
    text = _text_vectors(catalog, len(split.item_ids), encode) if recipe.text else None
    prepared = time.monotonic()
    trained = _train(s, split, _items_of(split, catalog, text), recipe, say)
    rankings = {**trained.rankings, **_baselines(split)}
    ended = time.monotonic()
    whole, others = rankings["ranker"], {name: found for name, found in rankings.items() if name != "ranker"}
    return {
        "protocol": split.protocol,
        "recipe": recipe.to_dict(),
        "model": _summary(whole, split, recipe.seed),
        "ranker": trained.ranker,
        "sources": {name: _summary(others.pop(name), split, recipe.seed) for name in SOURCES},
        "baselines": {name: _summary(ranking, split, recipe.seed) for name, ranking in others.items()},
        "differences": {
            name: _difference(whole, ranking, split, recipe.seed)
            for name, ranking in rankings.items()
            if name != "ranker"
        },
        "counts": _counts(split, recipe, len(catalog)),
        "training": trained.figures,
        "curve": trained.curve,
        "text": text is not None,
        "seconds": {
            "prepare": prepared - started,
            "train": trained.ended - prepared,
            "evaluate": ended - trained.ended,
            "total": ended - started,
        },
    }


def _items_of(split: DataSplit, catalog: pa.Table, text: npt.NDArray[np.float32] | None) -> KnownItems:
    """Describe the vocabulary: items that only the events know have no category, and all may be shown."""
    count = len(split.item_ids)
    category = np.full(count, -1, dtype=np.int32)
    category[: len(catalog)] = category_codes(catalog)
    return KnownItems(split.item_ids, category, np.ones(count, dtype=bool), text, sets=False)


def _train(s: Settings, split: DataSplit, items: KnownItems, recipe: Recipe, say: Say | None) -> _Trained:
    """Train in two stages in processes of their own, and answer the test with the exported programs.

    The first stage sees nothing of the validation's answers, by which the ranker learns.
    """
    with tempfile.TemporaryDirectory(prefix="caravan-protocol-") as name:
        folder = Path(name)

        def run(path: Path) -> Path:
            return launch.run(s, path, say=say)

        watched = split.validation.sample(recipe.validation_examples, recipe.seed)
        chosen = sampled(len(split.validation), recipe.ranker_questions, recipe.seed)
        lessons = Lessons(
            split.learned, watched, split.validation.take(chosen), split.asked[chosen], split.exclude_seen
        )
        pipeline, result = fit_pipeline(items, lessons, split.before, recipe, folder, run, key=split.protocol)
        ended = time.monotonic()
        return _Trained(
            figures=json.loads((result / job.METRICS).read_text()),
            curve=json.loads((result / job.CURVE).read_text()),
            ranker=json.loads((folder / "bundle" / files.RANKER_ABOUT).read_text()),
            rankings=pipeline.rankings(split.test, items.available, top=max(KS), exclude_seen=split.exclude_seen),
            ended=ended,
        )


def _baselines(split: DataSplit) -> dict[str, Ranking]:
    from training.evaluation import baselines
    from training.models.ranking import rank

    count = len(split.item_ids)
    popular = baselines.popularity(split.before.items, count)
    scores = {
        "popularity": baselines.popularity_score(popular),
        "last_item_neighbours": baselines.neighbours_score(baselines.neighbours(split.before, count), popular),
    }
    return {name: rank(score, split.test, exclude_seen=split.exclude_seen) for name, score in scores.items()}


def _summary(ranking: Ranking, split: DataSplit, seed: int) -> Report:
    interval = metrics.bootstrap_interval(metrics.headline(ranking.ranks), seed, groups=split.groups)
    return {
        **metrics.summarize(ranking.ranks, KS),
        **{f"coverage_at_{k}": metrics.coverage(ranking.top[:, :k] - 1, len(split.item_ids)) for k in KS},
        f"{HEADLINE}_interval": list(interval),
    }


def _difference(whole: Ranking, other: Ranking, split: DataSplit, seed: int) -> Report:
    """Compare the whole with `other` on the same questions: mean and 95 % interval of the headline's difference."""
    lost = metrics.headline(whole.ranks) - metrics.headline(other.ranks)
    interval = metrics.bootstrap_interval(lost, seed, groups=split.groups)
    return {"mean": float(lost.mean()), "interval": list(interval)}


def _counts(split: DataSplit, recipe: Recipe, catalog_items: int) -> dict[str, int]:
    """Count what was trained on and asked."""
    return {
        "items": len(split.item_ids),
        "items_only_in_events": len(split.item_ids) - catalog_items,
        "items_trained": len(np.unique(split.learned.items)),
        "sequences": len(split.sequences),
        "train_interactions": len(split.learned.items),
        "validation_questions": min(len(split.validation), recipe.validation_examples),
        "test_questions": len(split.test),
        **({"repeat_questions": int(split.test.repeats().sum())} if split.exclude_seen else {}),
        "dropped_interactions": split.sequences.dropped,
    }


def _text_vectors(catalog: pa.Table, count: int, encode: EncodeTexts | None) -> npt.NDArray[np.float32] | None:
    """Encode the texts of the vocabulary's items, float32 [N, E]; items without a catalog entry get zeros."""
    texts = texts_of(catalog) if encode is not None else None
    if encode is None or texts is None:
        return None
    known = encode(texts)
    return np.concatenate([known, np.zeros((count - len(known), known.shape[1]), dtype=np.float32)])
