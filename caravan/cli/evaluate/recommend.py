"""`caravan evaluate recommend`: the default recipe on any data in the contract, by a published protocol."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer


class Protocol(enum.StrEnum):
    """How questions and answers are cut out of the events."""

    leave_one_out = "leave-one-out"
    sessions = "sessions"


def recommend(
    events: Annotated[Path, typer.Option(help="Events in the contract: Parquet, CSV or JSON lines.", exists=True)],
    catalog: Annotated[Path, typer.Option(help="The catalog in the contract.", exists=True)],
    json_out: Annotated[Path, typer.Option("--json", help="Where the report goes.")],
    protocol: Annotated[
        Protocol, typer.Option(help="Each shopper's last event, or every next event of later sessions.")
    ] = Protocol.leave_one_out,
    test_events: Annotated[
        Path | None, typer.Option(help="Test sessions; else the last tenth of sessions in time.", exists=True)
    ] = None,
    recipe: Annotated[str, typer.Option(help="Name of the training recipe.")] = "default",
) -> None:
    """Train a recipe and rank the whole catalog: HR, NDCG, MRR, recall, coverage, beside every source and floors."""
    from caravan.cli.evaluate.report import demand_writable, write
    from contracts.errors import SettingsError
    from contracts.settings import read_settings
    from ingestion.landing.table_reader import read_catalog, read_events
    from training import recipes
    from training.evaluation import protocols

    if test_events is not None and protocol is not Protocol.sessions:
        raise SettingsError("--test-events belongs to --protocol sessions", remedy="leave it out, or add the protocol")
    demand_writable(json_out)
    s = read_settings()
    chosen = recipes.get(recipe)
    table, items = read_events(events), read_catalog(catalog)
    typer.echo(f"{len(table):,} events, {len(items):,} items, recipe {chosen.name}, {protocol.value}")

    def encode(texts: list[str]) -> Any:
        from retrieval.encoder import TextEncoder
        from training.models.text import encoder_directory

        typer.echo(f"encoding {len(texts):,} texts")
        return TextEncoder.load(encoder_directory(s), threads=2).encode(texts)

    if protocol is Protocol.leave_one_out:
        report = protocols.leave_one_out(s, table, items, chosen, encode=encode)
    else:
        tests = read_events(test_events) if test_events is not None else None
        report = protocols.sessions(s, table, items, chosen, test_events=tests, encode=encode)
    write(json_out, report)
    typer.echo(table_of(report))
    typer.echo(f"wrote {json_out}")


def table_of(report: dict[str, Any]) -> str:
    """Return the report's figures as a Markdown table."""
    columns = ("hr_at_10", "hr_at_20", "ndcg_at_10", "ndcg_at_20", "mrr_at_20", "coverage_at_20")
    rows = {"model": report["model"], **_by_quality(report["sources"]), **report["baselines"]}
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(f'{row[c]:.4f}' for c in columns)} |" for name, row in rows.items()]
    best = report["ranker"]["best_source"]
    low, high = report["differences"][best]["interval"]
    mean, level = report["differences"][best]["mean"], report["sources"][best]["ndcg_at_10"]
    lines.append(
        f"ranked by {report['ranker']['ranks']}; against {best}, the best source of the validation: "
        f"NDCG@10 {mean:+.4f} ({low:+.4f} to {high:+.4f}), {mean / max(level, 1e-12):+.1%}"
    )
    seconds = report["seconds"]
    lines.append(
        f"{report['counts']['test_questions']:,} questions over {report['counts']['items']:,} items; "
        f"{seconds['total']:.0f} s, of which training {seconds['train']:.0f} s"
    )
    return "\n".join(lines)


def _by_quality(rows: dict[str, Any]) -> dict[str, Any]:
    """Order sources by their figure, those without any left out."""
    found = {name: row for name, row in rows.items() if row["hr_at_20"] > 0}
    return dict(sorted(found.items(), key=lambda row: -float(row[1]["ndcg_at_10"])))
