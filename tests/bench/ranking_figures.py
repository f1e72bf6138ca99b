"""Figures of one trained night: by length of history, by the knob of diversity, and whether named causes are causes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from contracts import release as files
from retrieval import metrics
from retrieval.ranking.because import find_causes
from retrieval.ranking.diversity import choose_diverse, list_diversity
from retrieval.ranking.sources import SOURCES, Named, name_candidates
from tests.bench.night_shops import Questions
from training.models import export
from training.models.ranking import Ranking
from training.ranker.pipeline import Pipeline

#: Knobs at which quality and diversity of a list are measured.
KNOBS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
#: Questions of a night whose answers are asked again without one of the actions.
ASKED_AGAIN = 150


def levels(rankings: dict[str, Ranking], which: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Mean NDCG@10 of each ranker over the questions where `which` is true."""
    return {name: float(metrics.headline(found.ranks[which]).mean()) for name, found in rankings.items()}


def diversity_by_knob(pipeline: Pipeline, asked: Questions, text: npt.NDArray[np.float32]) -> list[dict[str, float]]:
    """NDCG@10 and the diversity of lists of ten by texts, at each knob, on the first thousand questions."""
    few = asked.examples.take(np.arange(min(1000, len(asked.examples))))
    found: dict[float, list[tuple[float, float]]] = {knob: [] for knob in KNOBS}
    for place, named in enumerate(pipeline.named(few, asked.allowed)):
        scores = _scores(pipeline, named)
        best = np.lexsort((named.index, -scores))[:100]
        vectors = text[named.index[best]]
        for knob in KNOBS:
            chosen = choose_diverse(scores[best], vectors, 10, knob)
            where = np.flatnonzero(named.index[best][chosen] == few.targets[place] - 1)
            found[knob].append((1 / np.log2(2 + where[0]) if len(where) else 0.0, list_diversity(vectors[chosen])))
    means = {knob: np.nanmean(np.array(rows), axis=0).tolist() for knob, rows in found.items()}
    return [{"knob": knob, "ndcg_at_10": mean[0], "diversity": mean[1]} for knob, mean in means.items()]


def pages(pipeline: Pipeline, asked: Questions) -> dict[str, dict[str, float]]:
    """NDCG@10 of the whole and of each source on two pages, on the first two thousand questions.

    category: only items of the answer's category; item: all but the one that was looked at last.
    """
    few = asked.examples.take(np.arange(min(2000, len(asked.examples))))
    category = pipeline.data.category
    found: dict[str, dict[str, list[float]]] = {"category": {}, "item": {}}
    for place, named in enumerate(pipeline.named(few, asked.allowed)):
        answer, last = int(few.targets[place]) - 1, int(few.history(place)[-1]) - 1
        columns = {"whole": _scores(pipeline, named)} | {n: named.shares[:, s] for s, n in enumerate(SOURCES)}
        for page, shown in (
            ("category", category[named.index] == category[answer]),
            ("item", named.index != last),
        ):
            own = np.flatnonzero(named.index[shown] == answer)
            for name, values in columns.items():
                there = values[shown]
                hit = len(own) and (name == "whole" or there[own[0]] > 0)
                rank = int((there >= there[own[0]]).sum()) if hit else 0
                gain = 1 / np.log2(1 + rank) if 0 < rank <= 10 else 0.0
                found[page].setdefault(name, []).append(gain)
    return {page: {name: float(np.mean(g)) for name, g in names.items()} for page, names in found.items()}


def deletions(pipeline: Pipeline, bundle: Path, asked: Questions, longest: int, seed: int = 0) -> dict[str, float]:
    """Ask again without the action that an item's `because` names, and without another one drawn at random.

    Of histories of five actions and more: how often an item of the first ten leaves these, either way; how often the
    named source had the item among its own first fifty. `longest`: the items that the program reads.
    """
    if pipeline.ranker is None:
        return {}
    draw, examples = np.random.default_rng(seed), asked.examples
    long = np.flatnonzero(examples.lengths >= 5)
    chosen = draw.permutation(long)[:ASKED_AGAIN]
    vectors = np.load(bundle / files.ITEM_VECTORS, allow_pickle=False)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    encode = export.encoder(bundle / files.SEQUENCE_PROGRAM)

    def name(history: npt.NDArray[np.int64]) -> Named:
        own = history[-longest:] + 1
        scores = (encode(own[None], np.array([len(own)])) @ vectors.T)[0]
        scores = np.where(asked.allowed, scores, -np.inf).astype(np.float32)
        named = name_candidates(pipeline.data, history, scores)
        return named.keep(asked.allowed[named.index])

    counts: dict[str, list[bool]] = {"named": [], "other": [], "foremost": []}
    for question in chosen.tolist():
        history = examples.history(question) - 1
        named = name(history)
        parts = pipeline.ranker.parts(named)
        best = named.index[np.lexsort((named.index, -parts.sum(axis=1)))[:10]]
        causes = find_causes(pipeline.data, named, parts, best, history, lambda a, b: unit[a] @ unit[b].T)
        for item, cause in zip(best.tolist(), causes, strict=True):
            own = int(np.searchsorted(named.index, item))
            share = named.shares[:, cause.source]
            counts["foremost"].append(bool(share[own] > 0 and (share > share[own]).sum() < 50))
        place = int(draw.integers(len(best)))
        item, cause = int(best[place]), causes[place]
        others = np.setdiff1d(np.unique(history[-20:]), [cause.action, item])
        if cause.action < 0 or not len(others):
            continue
        for kind, action in (("named", cause.action), ("other", int(draw.choice(others)))):
            again = name(history[history != action])
            left = _scores(pipeline, again)
            counts[kind].append(item not in again.index[np.lexsort((again.index, -left))[:10]])
    return {
        "asked": len(counts["named"]),
        **{kind: float(np.mean(values)) if values else 0.0 for kind, values in counts.items()},
        **{f"{kind}_left": float(np.sum(counts[kind])) for kind in ("named", "other")},
    }


def _scores(pipeline: Pipeline, named: Named) -> npt.NDArray[np.float32]:
    if pipeline.ranker is not None:
        return pipeline.ranker.scores(named)
    return named.shares[:, SOURCES.index("sequence")]
