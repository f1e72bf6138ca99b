"""Ranks by a whole release, sources and ranker, exactly as the engine does; and by each of its sources alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts import release as files
from retrieval.ranking.item_lists import Floats
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import SOURCES, Named, SourceData, name_candidates
from training.data.datasets import Examples, Ints
from training.models.ranking import Ranking, Score

CHUNK = 256


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A release's model, sources and ranker in its own vocabulary of N items; without a ranker it only names."""

    item_ids: pa.Array
    score: Score
    data: SourceData
    ranker: RankerProgram | None = None

    @classmethod
    def open(cls, folder: Path, item_ids: pa.Array, score: Score) -> Pipeline:
        """Open the sources and the ranker of the release directory `folder`."""
        return cls(item_ids, score, SourceData.load(folder / files.SOURCES, len(item_ids)), RankerProgram(folder))

    def named(
        self, examples: Examples, allowed: npt.NDArray[np.bool_], *, exclude_seen: bool = False
    ) -> Iterator[Named]:
        """Name the candidates of each question, in order; only items that may be shown, `allowed` bool [N].

        exclude_seen leaves out what is in a history, but not where the answer is (as training.models.ranking.rank).
        """
        hidden = np.where(allowed, np.float32(0), np.float32(-np.inf))
        for start in range(0, len(examples), CHUNK):
            index = np.arange(start, min(start + CHUNK, len(examples)))
            scores = self.score(examples, index).numpy()
            for row, example in enumerate(index.tolist()):
                history = examples.history(example) - 1
                one = name_candidates(self.data, history, scores[row] + hidden if len(history) else None)
                kept = allowed[one.index]
                if exclude_seen and examples.targets[example] - 1 not in history:
                    kept = kept & ~np.isin(one.index, history)
                yield one.keep(kept)

    def rankings(
        self, examples: Examples, allowed: npt.NDArray[np.bool_], *, top: int, exclude_seen: bool = False
    ) -> dict[str, Ranking]:
        """Rank by the ranker ("ranker", where there is one) and by every source alone, in one pass."""
        names = [*(["ranker"] if self.ranker else []), *SOURCES]
        worst = max(1, int(allowed.sum()))
        ranks = {name: np.full(len(examples), worst, dtype=np.int64) for name in names}
        tops = {name: np.zeros((len(examples), top), dtype=np.int64) for name in names}
        for place, one in enumerate(self.named(examples, allowed, exclude_seen=exclude_seen)):
            answer = int(examples.targets[place]) - 1
            columns: list[Floats] = [one.shares[:, column] for column in range(len(SOURCES))]
            if self.ranker is not None and len(one.index):
                columns.insert(0, self.ranker.scores(one))
            own = int(np.searchsorted(one.index, answer))
            there = own < len(one.index) and one.index[own] == answer
            for name, values in zip(names, columns, strict=bool(len(one.index))):
                if there and (name == "ranker" or values[own] > 0):
                    # every equal score counts against the answer, so that scoring all alike gains nothing
                    ranks[name][place] = int((values >= values[own]).sum())
                best = np.lexsort((one.index, -values))[:top]
                best = best if name == "ranker" else best[values[best] > 0]
                tops[name][place, : len(best)] = one.index[best] + 1
        return {name: Ranking(ranks[name], tops[name]) for name in names}


def in_vocabulary(
    pipeline: Pipeline, examples: Examples, item_ids: pa.Array, allowed: npt.NDArray[np.bool_], *, top: int
) -> Ranking:
    """Rank by a release that has another vocabulary: the answer's ranks, and top lists in `item_ids`.

    Histories lose the items that the release does not know; an answer that it does not know is ranked last.
    """
    index = pc.index_in(item_ids, value_set=pipeline.item_ids)
    there = np.concatenate([[0], np.asarray(index.fill_null(-1), dtype=np.int64) + 1])  # 0: unknown
    items = there[examples.items]
    kept = np.concatenate([[0], np.cumsum(items > 0)])
    targets = there[examples.targets]
    theirs = Examples(items[items > 0], kept[examples.starts], kept[examples.stops], np.maximum(targets, 1))
    back = np.zeros(len(pipeline.item_ids), dtype=np.int64)  # 0-based own item -> 1-based item here
    known = there[1:] > 0
    back[there[1:][known] - 1] = np.flatnonzero(known) + 1
    may = np.zeros(len(pipeline.item_ids), dtype=bool)
    may[there[1:][known] - 1] = allowed[known]
    found = pipeline.rankings(theirs, may, top=top)["ranker"]
    ranks: Ints = np.where(targets > 0, found.ranks, max(1, int(allowed.sum())))
    return Ranking(ranks, np.where(found.top > 0, back[np.maximum(found.top - 1, 0)], 0))
