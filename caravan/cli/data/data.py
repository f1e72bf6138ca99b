"""`caravan ingest`, `convert`, `validate` and `shop generate`: data into the lake, or into files of the contract."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caravan.cli.console.os_user import os_user
from contracts.dates import read_day
from contracts.errors import SettingsError
from contracts.exit_codes import REFUSED
from contracts.settings import SOURCE_NAME, settings
from contracts.text import printable

if TYPE_CHECKING:
    from ingestion.landing.report import LandingReport

shop = typer.Typer(help="A synthetic shop of any size, from a seed.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="More event files; with --source the folder of the data set.")
    ] = None,
    events: Annotated[list[Path] | None, typer.Option(help="Event files: Parquet, CSV or JSON lines.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="The whole catalog; it replaces the one before.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Relevance judgments: query, item_id, relevance.")] = None,
    source: Annotated[str | None, typer.Option(help="Read a public data set from a folder instead.")] = None,
    shop: Annotated[str | None, typer.Option(help="Name that it has in the lake.")] = None,
    replace: Annotated[
        bool, typer.Option(help="Withdraw what other files brought for the days that these are about.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --replace: also where days lose rows by it.")] = False,
    as_json: Json = False,
) -> None:
    """Bring events, a catalog or a public data set into the lake. A bad file is set aside, the others go in."""
    from artifacts.lake import Lake
    from ingestion.landing.land import Replace, land, land_source
    from ingestion.pseudonymize import Pseudonymizer
    from ingestion.sources import get

    given = list(paths or [])
    if source is None and not (events or given or catalog or judgments):
        raise SettingsError("nothing to ingest", remedy="give --events, --catalog or --judgments, or --source NAME DIR")
    if source is not None and (events or catalog or judgments or len(given) != 1):
        raise SettingsError("--source takes one folder and no files", remedy="`caravan ingest --source NAME DIR`")
    adapter = get(source) if source is not None else None
    s = settings()
    name = _shop_name(shop or (adapter.name if adapter else s.shop))
    lake = Lake.of(s, name)
    key = Pseudonymizer(s.secret("pseudonym_key"))
    how: Replace = "confirmed" if replace and yes else replace
    if adapter is not None:
        report = land_source(lake, adapter, given[0], pseudonymizer=key, replace=how, progress=_say)
    else:
        report = land(
            lake,
            [*(events or []), *given],
            catalog,
            judgments,
            pseudonymizer=key,
            replace=how,
            progress=_say,
        )
    _show(report, as_json=as_json)
    if report.refused:
        raise typer.Exit(REFUSED)


def validate(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD (UTC).")],
    source: Annotated[str | None, typer.Option(help="Data source; default: the setting `shop`.")] = None,
    accept_changes: Annotated[
        bool, typer.Option(help="Let changed columns, and numbers far from the usual ones, pass.")
    ] = False,
    correct_catalog: Annotated[
        bool, typer.Option("--correct-catalog", help="Pin the newest catalog for a day that ran; asks for --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why the catalog is corrected; kept with it.")] = "",
    max_quarantined: Annotated[float, typer.Option(min=0, max=1, help="Largest share of bad rows.")] = 0.5,
    as_json: Json = False,
) -> None:
    """Publish the clean partition of a day, as the first step of the nightly chain does."""
    from artifacts.lake import Lake
    from ingestion.validation.pinned_catalog import CatalogCorrection
    from ingestion.validation.validate import validate_day

    why = " ".join(reason.split())[:500]
    if correct_catalog != bool(why):
        raise SettingsError(
            "a catalog is corrected for a reason that is kept, and a reason is for that alone",
            remedy="`caravan validate DAY --correct-catalog --reason WHY`",
        )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    s = settings()
    report = validate_day(
        Lake.of(s, _shop_name(source or s.shop)),
        read_day(day).isoformat(),
        event_log=s.paths.event_log,
        accept_changes=accept_changes,
        max_quarantined=max_quarantined,
        correction=CatalogCorrection(by=os_user(), at=at, reason=why) if correct_catalog else None,
    )
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else str(report))


def convert(
    name: Annotated[str, typer.Argument(help="Adapter: ml-100k, office, diginetica, ...")],
    directory: Annotated[Path, typer.Argument(help="Folder of the public data set.")],
    out: Annotated[Path, typer.Argument(help="Folder for events.parquet, catalog.parquet, judgments.parquet.")],
    as_json: Json = False,
) -> None:
    """Write a public data set as files of the contract; identifiers stay as they are."""
    from ingestion.landing.table_writer import write_converted
    from ingestion.sources import get

    written = write_converted(get(name).convert(directory), out)
    if as_json:
        typer.echo(json.dumps(written, indent=2))
        return
    _table(
        f"{name} -> {out}",
        ["file", "rows", "left out"],
        [[file, f"{c['rows']:,}", _reasons(c["left_out"])] for file, c in written.items()],
    )


@shop.command("generate")
def generate_shop(
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days of events.")] = 14,
    shoppers: Annotated[int, typer.Option(min=1, max=50_000_000, help="Shoppers on the first day.")] = 2_000,
    items: Annotated[int, typer.Option(min=20, max=5_000_000, help="Items on the first day.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same shop.")] = 7,
    end: Annotated[str | None, typer.Option(help="Last day, YYYY-MM-DD; default: yesterday (UTC).")] = None,
    opening: Annotated[
        str | None,
        typer.Option(help="Day the shop opened, YYYY-MM-DD; keep it to continue a shop; default: first day."),
    ] = None,
    drift: Annotated[
        bool, typer.Option(help="Tastes, prices and searches change for the last third of the days.")
    ] = False,
    bad_rows: Annotated[float, typer.Option(min=0, max=1, help="Share of broken rows.")] = 0.0,
    missing_column: Annotated[str | None, typer.Option(help="Column that the last day's file lacks.")] = None,
    ingest: Annotated[bool, typer.Option(help="Bring it into the lake, too.")] = False,
    name: Annotated[str | None, typer.Option("--shop", help="Name in the lake, with --ingest.")] = None,
    as_json: Json = False,
) -> None:
    """Make up a shop: catalog, shoppers with tastes, sessions of searches, views, carts and purchases."""
    from ingestion.sources.shop import generate
    from ingestion.sources.shop_world import ShopPlan

    last = read_day(end) if end else datetime.now(UTC).date() - timedelta(days=1)
    plan = ShopPlan(
        days=days,
        shoppers=shoppers,
        items=items,
        seed=seed,
        end=last,
        opening=read_day(opening) if opening else None,
        drift=drift,
        bad_rows=bad_rows,
        missing_column=missing_column,
    )
    made = generate(plan, out, progress=None if as_json else _say)
    if as_json and not ingest:
        typer.echo(json.dumps({**made.counts, "catalog": str(made.catalog), "events": [str(p) for p in made.events]}))
    elif not as_json:
        _table(f"a shop in {out}", ["what", "number"], [[k, f"{v:,}"] for k, v in made.counts.items()])
    if ingest:
        _ingest_files(made.events, made.catalog, made.judgments, name, as_json=as_json)


def _ingest_files(events: list[Path], catalog: Path, judgments: Path, name: str | None, *, as_json: bool) -> None:
    ingest(events=events, catalog=catalog, judgments=judgments, shop=name, as_json=as_json)


def _shop_name(name: str) -> str:
    if not SOURCE_NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no name for a shop", remedy="use small letters, digits and '-', at most 41")
    return name


def _say(line: str) -> None:
    typer.secho(f"  {line}", err=True, dim=True)


def _show(report: LandingReport, *, as_json: bool) -> None:
    if as_json:
        total = {"read": report.read, "kept": report.kept, "quarantined": report.quarantined}
        files = [asdict(f) for f in report.files]
        days = list(report.days)
        explained = _explained(report)
        found = {"source": report.source, **total, "explained": explained, "days": days, "files": files}
        found |= {"replaced": [asdict(d) for d in report.replaced], "early": asdict(report.early)}
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        [
            f.name,
            f.status,
            f"{f.read:,}",
            f"{f.kept:,}",
            _reasons(f.quarantined),
            _span(f.days),
            ", ".join(f.dropped[:8]),
        ]
        for f in report.files
    ]
    head = ["file", "", "read", "kept", "quarantined", "days", "columns left out"]
    _table(f"{report.source}: {report.read:,} rows read, {report.kept:,} kept", head, rows)
    for reason, meaning in _explained(report).items():
        typer.secho(f"{report.quarantined[reason]:,} x {reason}: {meaning}", err=True)
    for line in [*map(str, report.replaced), *str(report.early).splitlines()]:
        typer.secho(line, err=True)
    for file in report.refused:
        typer.secho(f"refused {file.reason}", fg=typer.colors.RED, err=True)


def _explained(report: LandingReport) -> dict[str, str]:
    """Return what each reason of quarantined rows means, with a value that would do."""
    from ingestion.rules.reasons import CATALOG_REASONS, EVENT_REASONS, JUDGMENT_REASONS

    meanings = JUDGMENT_REASONS | CATALOG_REASONS | EVENT_REASONS
    return {reason: meanings[reason] for reason in report.quarantined if reason in meanings}


def _reasons(found: dict[str, int]) -> str:
    return "\n".join(f"{number:,} {reason}" for reason, number in found.items()) or "-"


def _span(days: tuple[str, ...]) -> str:
    if not days:
        return "-"
    return days[0] if len(days) == 1 else f"{len(days)}: {days[0]} to {days[-1]}"


def _table(title: str, head: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*head, title=escape(title), title_justify="left")
    for row in rows:
        # file and column names come from outside: nothing in them may steer the terminal
        table.add_row(*(escape(printable(str(cell), keep="\n")) for cell in row))
    Console().print(table)
