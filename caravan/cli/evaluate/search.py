"""`caravan evaluate search`: BM25, dense and fused search over any catalog with relevance judgments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer


def search(
    catalog: Annotated[Path, typer.Option(help="The catalog in the contract: Parquet, CSV, JSON lines.", exists=True)],
    judgments: Annotated[Path, typer.Option(help="query, item_id, relevance, in the contract.", exists=True)],
    json_out: Annotated[Path, typer.Option("--json", help="Where the report goes.")],
    limit_queries: Annotated[int, typer.Option(help="Take so many queries at random; 0 takes all.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the text encoder.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the lot and of the intervals.")] = 0,
) -> None:
    """Search the whole catalog for every judged query: NDCG, recall, MRR and latency; unjudged is irrelevant."""
    from caravan.cli.evaluate.report import demand_writable, write
    from contracts.errors import NotEnoughData
    from contracts.settings import read_settings
    from ingestion.landing.table_reader import read_catalog, read_judgments
    from training.evaluation.search import SearchOptions, evaluate_search
    from training.models.text import encoder_directory

    demand_writable(json_out)
    s = read_settings()
    items, judged = read_catalog(catalog), read_judgments(judgments)
    options = SearchOptions(
        encoder=encoder_directory(s), vectors=s.cache / "text-vectors", limit=limit_queries, threads=threads, seed=seed
    )
    try:
        report = evaluate_search(items, judged, options, _bar)
    except NotEnoughData as error:
        raise NotEnoughData(f"no judgment in {judgments} is of an item in {catalog}", remedy=error.remedy) from None
    counts = report["counts"]
    typer.echo(f"{counts['items']:,} items, {counts['queries']:,} queries, {counts['judgments']:,} judgments")
    write(json_out, report)
    typer.echo(table_of(report))
    typer.echo(f"wrote {json_out}")


@contextmanager
def _bar(label: str, length: int) -> Iterator[Callable[[int], object]]:
    with typer.progressbar(length=length, label=label) as bar:
        yield bar.update


def table_of(report: dict[str, Any]) -> str:
    """Return the report's figures as a Markdown table."""
    from training.evaluation.search import WAYS

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
