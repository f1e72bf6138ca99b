"""Measures several rankers on the same questions: metrics, intervals, differences, slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts import release as files
from contracts.errors import Tampered
from contracts.release import HEADLINE, PER_SHOPPER
from retrieval import metrics
from training.data.datasets import Examples, Ints

if TYPE_CHECKING:
    from training.models.ranking import Ranking, Score

KS = (5, 10, 20)
#: Slices with fewer questions say nothing.
SMALLEST_SLICE = 20


@dataclass(frozen=True)
class Bundle:
    """The part of a release that scores, in that release's own vocabulary."""

    item_ids: pa.Array
    score: Score


def open_bundle(folder: Path, max_length: int) -> Bundle:
    """Open the program and vectors of a release directory, run by ONNX Runtime. Raises Tampered."""
    from training.models import export
    from training.models.ranking import scorer

    vectors = np.load(folder / files.ITEM_VECTORS, allow_pickle=False)
    bias_path = folder / files.ITEM_BIAS
    bias = np.load(bias_path, allow_pickle=False) if bias_path.exists() else None
    items = pq.read_table(folder / files.ITEMS, columns=["item_id"])["item_id"].combine_chunks()
    if len(items) != len(vectors):
        raise Tampered(
            f"{folder.name[:12]} has {len(items)} items but {len(vectors)} vectors", remedy="publish it again"
        )
    return Bundle(items, scorer(export.encoder(folder / files.SEQUENCE_PROGRAM), vectors, bias, max_length))


def translated(bundle: Bundle, examples: Examples, item_ids: pa.Array) -> Score:
    """Score in the vocabulary `item_ids` by a bundle that has another one.

    Histories lose the items the bundle does not know; those items score minus infinity.
    """
    import torch

    index = pc.index_in(item_ids, value_set=bundle.item_ids)
    there = np.concatenate([[0], np.asarray(index.fill_null(-1), dtype=np.int64) + 1])  # 0: unknown
    columns = torch.from_numpy(np.maximum(there[1:] - 1, 0))
    unknown = torch.from_numpy(there[1:] == 0)
    items = there[examples.items]
    kept = np.concatenate([[0], np.cumsum(items > 0)])
    theirs = Examples(items[items > 0], kept[examples.starts], kept[examples.stops], np.ones_like(examples.targets))

    def score(_: Examples, chosen: Ints) -> torch.Tensor:
        scores = bundle.score(theirs, chosen)[:, columns]
        return scores.masked_fill_(unknown, -torch.inf)

    return score


def summary(ranking: Ranking, item_counts: npt.NDArray[np.float32], seed: int, groups: Ints) -> dict[str, Any]:
    """Measure one ranker; the headline per question and per shopper, with intervals that draw whole shoppers."""
    count = len(item_counts)
    top = ranking.top[:, : max(KS)] - 1
    values = metrics.headline(ranking.ranks)
    shoppers = per_shopper(values, groups)
    return {
        **metrics.summarize(ranking.ranks, KS),
        **{f"coverage_at_{k}": metrics.coverage(top[:, :k], count) for k in KS},
        "novelty_at_10": float(metrics.novelty(top[:, :10], item_counts).mean()),
        f"{HEADLINE}_interval": list(metrics.bootstrap_interval(values, seed, groups=groups)),
        PER_SHOPPER: float(shoppers.mean()),
        f"{PER_SHOPPER}_interval": list(metrics.bootstrap_interval(shoppers, seed)),
    }


def difference(ours: Ranking, theirs: Ranking, seed: int, groups: Ints) -> dict[str, Any]:
    """Compare our headline with theirs on the same questions: ours minus theirs, shoppers weighing alike.

    Mean, 95 % interval, standard error; and the mean per question beside it.
    """
    a, b = metrics.headline(ours.ranks), metrics.headline(theirs.ranks)
    lost = per_shopper(a - b, groups)
    error = float(lost.std(ddof=1) / math.sqrt(len(lost))) if len(lost) > 1 else math.nan
    return {
        "mean": float(lost.mean()),
        "interval": list(metrics.bootstrap_interval(lost, seed)),
        "standard_error": error,
        "mean_per_question": float((a - b).mean()),
    }


def mean_per_shopper(ranking: Ranking, groups: Ints) -> float:
    """Return the mean headline of one ranker, shoppers weighing alike."""
    return float(per_shopper(metrics.headline(ranking.ranks), groups).mean())


def per_shopper(values: metrics.Values, groups: Ints) -> metrics.Values:
    """Average each shopper's `values` [Q]; `groups` [Q] names the shopper. [S], ordered by that name."""
    _, member = np.unique(groups, return_inverse=True)
    means: metrics.Values = np.bincount(member, weights=values) / np.bincount(member)
    return means


def slices(rankings: Mapping[str, Ranking], membership: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """Count the questions of every slice and, where there are enough of them, measure each ranker on them."""
    found: dict[str, Any] = {}
    for name, member in sorted(membership.items()):
        questions = int(member.sum())
        found[name] = {"questions": questions}
        if questions >= SMALLEST_SLICE:
            found[name] |= {
                ranker: {
                    HEADLINE: float(metrics.headline(r.ranks[member]).mean()),
                    "hr_at_10": float(metrics.hit_rate(r.ranks[member], 10).mean()),
                    "median_rank": float(np.median(r.ranks[member])),
                }
                for ranker, r in sorted(rankings.items())
            }
    return found


def finite(value: Any, replace: Callable[[float], Any] = lambda _: None) -> Any:
    """Replace every number in `value` that is not finite (by null), so that it is JSON; the gate refuses nulls."""
    if isinstance(value, dict):
        return {k: finite(v, replace) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v, replace) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return replace(value)
    return value
