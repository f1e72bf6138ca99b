"""Measures BM25, dense and fused search over a catalog with relevance judgments: NDCG, recall, MRR and latency."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.files import replacing
from contracts.errors import NotEnoughData
from retrieval import fusion, graded, metrics
from retrieval.bm25 import BM25Index
from retrieval.encoder import MODEL, QUERY_MODEL, TOKENIZER, TextEncoder
from retrieval.graded import Judgments
from retrieval.topk import top_k
from training.data.texts import item_texts

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
#: (what is done, how many steps it has) -> a context whose value is called with the steps done since the last call
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]

DEPTH = 100
WAYS = ("bm25", "dense", "fused")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of one measurement: `limit` queries at random (0: all); `vectors` is the folder of remembered vectors."""

    encoder: Path
    vectors: Path
    limit: int = 0
    threads: int = 2
    seed: int = 0


def evaluate_search(items: pa.Table, judged: pa.Table, options: SearchOptions, progress: Progress) -> dict[str, Any]:
    """Search the whole catalog for every judged query; what is not judged is irrelevant.

    `items` and `judged` are tables in the contract, CATALOG and JUDGMENTS. Raises NotEnoughData when no judgment is of
    an item in the catalog.
    """
    clock = _Clock()
    texts = item_texts(items)
    queries, truth, counts = _questions(items, judged, options.limit, options.seed)
    if not queries:
        raise NotEnoughData("no judgment is of an item in the catalog", remedy="check that both use the same item_id")
    clock.lap("read")
    index = BM25Index.build(texts)
    clock.lap("index")
    encoder = TextEncoder.load(options.encoder, threads=options.threads)
    asked = TextEncoder.load(options.encoder, threads=1, program=QUERY_MODEL)
    clock.lap("load_encoder")
    vectors, remembered = _vectors(encoder, texts, options.vectors, progress)
    clock.lap("encode_catalog")
    with progress("searching", len(queries)) as done:
        lists, took = _search_all(queries, index, asked, vectors, done)
    clock.lap("search")
    return {
        "counts": counts,
        "settings": {
            "seed": options.seed, "depth": DEPTH, "relevant_above": 0.0, "dense_weight": fusion.DENSE_WEIGHT,
            "dense_floor": fusion.chance(len(texts)), "tokenizer": index.tokenizer.version,
            "k1": index.k1, "b": index.b, "encoder": encoder.config["version"], "threads": options.threads,
        },
        "catalog_vectors_remembered": remembered,
        **_measure(lists, took, truth, options.seed),
        "seconds": clock.laps | {"total": sum(clock.laps.values())},
    }  # fmt: skip


def _search_all(
    queries: Sequence[str], index: BM25Index, asked: TextEncoder, vectors: Floats, done: Callable[[int], object]
) -> tuple[dict[str, Ints], dict[str, NDArray[np.float64]]]:
    """Return the best documents of each query, int64 [Q, DEPTH] with -1 for none, and its seconds, by way."""
    lists = {way: np.full((len(queries), DEPTH), -1, dtype=np.int64) for way in WAYS}
    took = {way: np.zeros(len(queries)) for way in WAYS}
    for row, query in enumerate(queries):
        stop = _Clock()
        lexical = index.scores(query)
        _best(lists["bm25"], row, lexical)
        took["bm25"][row] = words = stop.lap("words")
        dense = vectors @ asked.encode([query])[0]
        _best(lists["dense"], row, dense)
        took["dense"][row] = meaning = stop.lap("meaning")
        fused = fusion.fuse_what_fits(index, query, lexical, dense, asked)
        if fused is not None:
            _best(lists["fused"], row, fused)
        took["fused"][row] = words + meaning + stop.lap("fuse")
        done(1)
    return lists, took


class _Clock:
    """Measures how long each part took, by name, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> float:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
        return self.laps[name]


def _questions(items: pa.Table, judged: pa.Table, limit: int, seed: int) -> tuple[list[str], Judgments, dict[str, int]]:
    """Return the queries, what is relevant to each, and counts."""
    number = {item: n for n, item in enumerate(items["item_id"].to_pylist())}
    rows = list(zip(*(judged[name].to_pylist() for name in ("query", "item_id", "relevance")), strict=True))
    known = [row for row in rows if row[1] in number]
    queries = sorted({query for query, _, _ in known})
    if limit and limit < len(queries):
        drawn = np.random.default_rng(seed).choice(len(queries), size=limit, replace=False)
        queries = [queries[i] for i in np.sort(drawn)]
    place = {query: n for n, query in enumerate(queries)}
    kept = [(place[query], number[item], relevance) for query, item, relevance in known if query in place]
    truth = Judgments.of(*(zip(*kept, strict=True) if kept else ((), (), ())), count=len(queries))
    counts = {"items": len(number), "queries": len(queries), "judgments": len(kept)}
    return queries, truth, counts | {"judgments_of_unknown_items": len(rows) - len(known)}


def _vectors(encoder: TextEncoder, texts: Sequence[str], folder: Path, progress: Progress) -> tuple[Floats, bool]:
    """Return vectors of `texts`, and whether they were remembered in `folder` under the hash of encoder and texts."""
    program = [encoder.config["sha256"][name] for name in (MODEL, TOKENIZER)]
    key = hashlib.sha256(json.dumps([program, encoder.max_length, list(texts)]).encode()).hexdigest()
    path = folder / f"{key}.npy"
    if path.is_file():
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(texts), encoder.dimension):
            return found, True
    with progress("encoding the catalog", len(texts)) as done:
        made = encoder.encode(texts, progress=done)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, made, allow_pickle=False)
    return made, False


def _best(lists: Ints, row: int, scores: Floats) -> None:
    """Write the best documents into row `row`; a score of 0 says that nothing speaks for a document."""
    best, _ = top_k(scores, lists.shape[1], exclude=scores <= 0)
    lists[row, : len(best)] = best


def _measure(
    lists: dict[str, Ints], took: dict[str, NDArray[np.float64]], truth: Judgments, seed: int
) -> dict[str, Any]:
    """Return the figures of each way, with 95 % bootstrap intervals, and how far fused is above the others."""
    figures: dict[str, Callable[[Ints], NDArray[np.float64]]] = {
        "ndcg_at_10": lambda found: graded.ndcg(found, truth, 10),
        "recall_at_10": lambda found: graded.recall(found, truth, 10),
        "recall_at_100": lambda found: graded.recall(found, truth, 100),
        "mrr": lambda found: graded.mrr(found, truth),
    }
    values = {way: {name: figure(lists[way]) for name, figure in figures.items()} for way in WAYS}
    report: dict[str, Any] = {}
    for way in WAYS:
        report[way] = {name: float(value.mean()) for name, value in values[way].items()}
        report[way]["interval"] = {name: metrics.bootstrap_interval(value, seed) for name, value in values[way].items()}
        p50, p95, p99 = np.percentile(took[way], (50, 95, 99)) * 1e3
        report[way]["latency_ms"] = {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
    fused = values["fused"]["ndcg_at_10"]
    report["fused_above"] = {
        way: {
            "ndcg_at_10": float((fused - values[way]["ndcg_at_10"]).mean()),
            "interval": metrics.paired_difference_interval(fused, values[way]["ndcg_at_10"], seed),
        }
        for way in ("bm25", "dense")
    }
    return report
