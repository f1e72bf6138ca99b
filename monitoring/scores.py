"""Scores the shoppers of a day with a release: the other half of drift.

The program in the bundle is run as the engine runs it, over the day's recent sequences.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts import release as files
from retrieval.onnx_session import open_session
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import SourceData, name_candidates

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = npt.NDArray[np.float32]
#: Histories [B] of 1-based items, the model's scores [B, N] -> the best score of each
BestScores = Callable[[list[list[int]], Floats], Floats]

#: Shoppers scored at most, evenly thinned.
MAX_SHOPPERS = 2_000
#: Shoppers scored in one run of the program.
SCORE_BATCH = 64


def score_champion(bundle: Path, sequences: Path) -> pa.Table:
    """Return `top_score` float64, the score of the best item by the release in `bundle`, for each shopper.

    The score is the ranker's, as in the release's reference; of an earlier release without one, its model's.
    `sequences` is a partition's data of the table shopper_sequence. Shoppers without a known item are left out.
    """
    table = pq.read_table(sequences, columns=["user_id", "items"]).sort_by("user_id")
    if len(table) > MAX_SHOPPERS:
        table = table.take(pa.array([i * len(table) // MAX_SHOPPERS for i in range(MAX_SHOPPERS)]))
    catalog = pq.read_table(bundle / files.ITEMS, columns=["item_id", "available"])
    index = {item: row + 1 for row, item in enumerate(catalog["item_id"].to_pylist())}
    longest = int(json.loads((bundle / files.MODEL_CONFIG).read_text()).get("max_length", files.LONGEST_HISTORY))
    known = ([index[item] for item in items if item in index][-longest:] for items in table["items"].to_pylist())
    histories = sorted((history for history in known if history), key=len)
    vectors = np.load(bundle / files.ITEM_VECTORS, allow_pickle=False)
    bias = (
        np.load(bundle / files.ITEM_BIAS, allow_pickle=False) if (bundle / files.ITEM_BIAS).exists() else np.float32(0)
    )
    best_of = _open_ranker(bundle, np.asarray(catalog["available"].fill_null(fill_value=True), dtype=bool))
    program, width = _open_program(bundle / files.SEQUENCE_PROGRAM)
    best = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(histories), SCORE_BATCH):
        part = histories[start : start + SCORE_BATCH]
        lengths = np.array([len(history) for history in part], dtype=np.int64)
        items = np.zeros((len(part), width or int(lengths.max())), dtype=np.int64)
        for row, history in enumerate(part):
            items[row, : len(history)] = history
        (query,) = program.run(["query"], {"items": items, "lengths": lengths})
        best.append(best_of(part, query @ vectors.T + bias))
    return pa.table({"top_score": pa.array(np.concatenate(best).astype(np.float64))})


def _open_ranker(bundle: Path, available: npt.NDArray[np.bool_]) -> BestScores:
    """Return what gives the score of the best item for each of B histories, by all that ranks in `bundle`."""
    if not (bundle / files.RANKER_ABOUT).exists():
        return lambda _, scores: scores.max(axis=1)
    data, ranker = SourceData.load(bundle / files.SOURCES, len(available)), RankerProgram(bundle)
    hidden = np.where(available, np.float32(0), np.float32(-np.inf))

    def best_of(histories: list[list[int]], scores: Floats) -> Floats:
        found = []
        for history, own in zip(histories, scores + hidden, strict=True):
            named = name_candidates(data, np.array(history) - 1, own)
            named = named.keep(available[named.index])
            if len(named.index):
                found.append(ranker.scores(named).max())
        return np.array(found, dtype=np.float32)

    return best_of


def _open_program(path: Path) -> tuple[InferenceSession, int | None]:
    """Open the exported program; return its history length too, where that is fixed.

    One thread: the night shares the machine.
    """
    session = open_session(path)
    width = next(value.shape[1] for value in session.get_inputs() if value.name == "items")
    return session, width if isinstance(width, int) else None
