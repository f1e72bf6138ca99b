"""`caravan evaluate search`: BM25, dense and fused search over any catalog with relevance judgments."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.encoder import TextEncoder
    from retrieval.graded import Judgments

    Floats = NDArray[np.float32]

DEPTH = 100
WAYS = ("bm25", "dense", "fused")


def search(
    catalog: Annotated[Path, typer.Option(help="The catalog in the contract: Parquet, CSV, JSON lines.", exists=True)],
    judgments: Annotated[Path, typer.Option(help="query, item_id, relevance, in the contract.", exists=True)],
    json_out: Annotated[Path, typer.Option("--json", help="Where the report goes.")],
    limit_queries: Annotated[int, typer.Option(help="Take so many queries by lot; 0 takes all.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the text encoder.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the lot and of the intervals.")] = 0,
) -> None:
    """Search the whole catalog for every judged query: NDCG, recall, MRR and latency; unjudged is irrelevant."""
    import numpy as np

    from caravan.cli.evaluate.report import demand_writable, write
    from contracts.errors import NotEnoughData
    from contracts.settings import read_settings
    from ingestion.landing.table_reader import read_catalog, read_judgments
    from retrieval import fusion
    from retrieval.bm25 import BM25Index
    from retrieval.encoder import QUERY_MODEL, TextEncoder
    from training.data.texts import item_texts
    from training.models.text import encoder_directory

    demand_writable(json_out)
    s = read_settings()
    clock = _Clock()
    items, judged = read_catalog(catalog), read_judgments(judgments)
    texts = item_texts(items)
    queries, truth, counts = _questions(items, judged, limit_queries, seed)
    if not queries:
        raise NotEnoughData(
            f"no judgment in {judgments} is of an item in {catalog}", remedy="check that both use the same item_id"
        )
    clock.lap("read")
    typer.echo(f"{counts['items']:,} items, {len(queries):,} queries, {counts['judgments']:,} judgments")
    index = BM25Index.build(texts)
    clock.lap("index")
    folder = encoder_directory(s)
    encoder = TextEncoder.load(folder, threads=threads)
    asked = TextEncoder.load(folder, threads=1, program=QUERY_MODEL)
    clock.lap("load_encoder")
    vectors, remembered = _vectors(encoder, texts, s.cache / "text-vectors")
    clock.lap("encode_catalog")

    lists = {way: np.full((len(queries), DEPTH), -1, dtype=np.int64) for way in WAYS}
    took = {way: np.zeros(len(queries)) for way in WAYS}
    with typer.progressbar(queries, label="searching") as bar:
        for row, query in enumerate(bar):
            stop = _Clock()
            lexical = index.scores(query)
            _best(lists["bm25"], row, lexical)
            took["bm25"][row] = words = stop.lap("words")
            dense = vectors @ asked.encode([query])[0]
            _best(lists["dense"], row, dense)
            took["dense"][row] = meaning = stop.lap("meaning")
            _best(lists["fused"], row, fusion.fuse(lexical, dense))
            took["fused"][row] = words + meaning + stop.lap("fuse")
    clock.lap("search")

    report: dict[str, Any] = {
        "counts": counts,
        "settings": {"seed": seed, "depth": DEPTH, "relevant_above": 0.0, "dense_weight": fusion.DENSE_WEIGHT}
        | {"k1": index.k1, "b": index.b, "encoder": encoder.config["version"], "threads": threads},
        "catalog_vectors_remembered": remembered,
        **_measure(lists, took, truth, seed),
    }
    report["seconds"] = clock.laps | {"total": sum(clock.laps.values())}
    write(json_out, report)
    typer.echo(table_of(report))
    typer.echo(f"wrote {json_out}")


class _Clock:
    """Names what each stretch of time was spent on."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> float:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
        return self.laps[name]


def _questions(items: Any, judged: Any, limit: int, seed: int) -> tuple[list[str], Judgments, dict[str, int]]:
    """The queries, what is relevant to each, and counts; `items` and `judged` are CATALOG and JUDGMENTS tables."""
    import numpy as np

    from retrieval.graded import Judgments

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


def _vectors(encoder: TextEncoder, texts: Sequence[str], folder: Path) -> tuple[Floats, bool]:
    """Vectors of `texts`, and whether they were remembered in `folder` under the hash of encoder and texts."""
    import numpy as np

    from artifacts.files import replacing
    from retrieval.encoder import MODEL, TOKENIZER

    program = [encoder.config["sha256"][name] for name in (MODEL, TOKENIZER)]
    key = hashlib.sha256(json.dumps([program, encoder.max_length, list(texts)]).encode()).hexdigest()
    path = folder / f"{key}.npy"
    if path.is_file():
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(texts), encoder.dimension):
            return found, True
    with typer.progressbar(length=len(texts), label="encoding the catalog") as bar:
        made = encoder.encode(texts, progress=bar.update)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, made, allow_pickle=False)
    return made, False


def _best(lists: NDArray[np.int64], row: int, scores: Floats) -> None:
    """Write the best documents into row `row`; a score of 0 says that nothing speaks for a document."""
    from retrieval.topk import top_k

    best, _ = top_k(scores, lists.shape[1], exclude=scores <= 0)
    lists[row, : len(best)] = best


def _measure(
    lists: dict[str, NDArray[np.int64]], took: dict[str, NDArray[np.float64]], truth: Judgments, seed: int
) -> dict[str, Any]:
    """Figures of each way of searching, with 95 % bootstrap intervals, and how far fused is above the others."""
    import numpy as np

    from retrieval import graded, metrics

    figures: dict[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]] = {
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


def table_of(report: dict[str, Any]) -> str:
    """The report's figures as a Markdown table."""
    columns = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr")
    lines = [f"| | {' | '.join(columns)} | p50 ms | p99 ms |", f"|---|{'---:|' * (len(columns) + 2)}"]
    for way in WAYS:
        row, (low, high) = report[way], report[way]["interval"]["ndcg_at_10"]
        figures = [f"{row[c]:.4f}" for c in columns]
        figures[0] += f" ({low:.4f} to {high:.4f})"
        lines.append(
            f"| {way} | {' | '.join(figures)} | {row['latency_ms']['p50']:.1f} | {row['latency_ms']['p99']:.1f} |"
        )
    return "\n".join(lines)
