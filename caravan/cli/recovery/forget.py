"""`caravan forget`: one shopper, gone from every place, and from every restore."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from caravan.cli.console.ending import tell
from caravan.cli.console.os_user import os_user
from contracts.errors import ErasureUnfinished, SettingsError
from contracts.region import RegionName, named
from contracts.settings import Settings, settings

if TYPE_CHECKING:
    from recovery.erasure.forget import ErasureReport


def forget(
    user_id: Annotated[
        str, typer.Argument(help="As the shop sends it, or a pseudonym (u_…); - reads it from standard input.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, without naming the shopper; it stays in the list.")] = "",
    region: Annotated[str, typer.Option(help="Only this region; default: each that has a home here.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Apply the whole list of erasures again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    without_vault: Annotated[
        bool, typer.Option("--without-vault", help="No region keeps snapshots: the list stays in this region's store.")
    ] = False,
    hashed: Annotated[
        bool | None, typer.Option("--pseudonym/--identifier", help="What u_… is; default: where something is found.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; needs --yes or --dry-run.")] = False,
) -> None:
    """Erase one shopper from lake, features, online store and logs, and from whatever is restored later."""
    from recovery.erasure import forget as forgetting
    from recovery.erasure.list_of_erased import checked_reason

    s, shopper = settings(), sys.stdin.readline().strip() if user_id == "-" else user_id
    regions = regions_of(s, region)
    if bool(shopper) == again:
        raise SettingsError("name one shopper", remedy="caravan forget USER_ID, or --again for the whole list")
    if as_json and not (again or yes or dry_run):
        raise SettingsError("nobody can be asked beside JSON", remedy="add --yes, or --dry-run to see what would go")
    if again:
        with board(as_json) as progress:
            reports = forgetting.apply_again(s, regions, without_vault=without_vault, progress=progress)
        _end(reports, as_json=as_json)
        return
    checked_reason(reason, shopper)
    if hashed is None:
        with board(as_json) as progress:
            hashed = forgetting.is_pseudonym(s, regions, shopper, progress=progress)
    if dry_run or not yes:
        with board(as_json) as progress:
            found = forgetting.plan_erasure(s, regions, shopper, hashed=hashed, progress=progress)
        _show(found, as_json=as_json, foreseen=True)
        if dry_run:
            return
        typer.confirm("Erase this shopper? It cannot be undone.", abort=True)
    with board(as_json) as progress:
        reports = forgetting.erase_shopper(
            s,
            regions,
            shopper,
            by=os_user(),
            reason=reason,
            without_vault=without_vault,
            hashed=hashed,
            progress=progress,
        )
    _end(reports, as_json=as_json)


def regions_of(s: Settings, region: str) -> tuple[RegionName, ...]:
    """Return the region of this name, or each that has a home on this machine. Raises SettingsError."""
    if region:
        return (named(region),)
    if s.s3_endpoint:
        return (s.region,)  # addresses that are set are those of one region
    others = (name for name in get_args(RegionName) if name != s.region and (s.home / "regions" / name).is_dir())
    return (s.region, *others)


def board(quiet: bool) -> Any:
    """Return what shows progress: one line per place, or nothing when `quiet`."""
    from contextlib import nullcontext

    from caravan.cli.console.step_board import StepBoard

    return nullcontext(lambda _place, _what: None) if quiet else StepBoard()


def _end(reports: list[ErasureReport], *, as_json: bool) -> None:
    """Show what was done; an error when it is not all."""
    _show(reports, as_json=as_json, foreseen=False)
    wrong = [f"{r.region} {place}: {why}" for r in reports for place, why in r.unreached.items()]
    wrong += [f"{r.region}: {number} left in {kind}" for r in reports for kind, number in r.left.items()]
    if wrong:
        held = any(kind == "release" for r in reports for kind in r.left)
        error = ErasureUnfinished(
            "; ".join(wrong),
            remedy="the erasure is written down: `caravan forget --again` finishes it when every place answers"
            + ("; a release signed by an older version holds rows, let the next one take its place" if held else ""),
        )
        if as_json:  # the reports are the JSON; a second document beside them could not be parsed
            raise typer.Exit(tell(error))
        raise error


def _show(reports: list[ErasureReport], *, as_json: bool, foreseen: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(r) | {"removed": r.removed, "finished": r.finished} for r in reports], indent=2))
        return
    from rich.console import Console

    from caravan.cli.console.tables import plain

    if not any(report.found or report.unreached for report in reports):
        typer.echo(f"nothing is found in {' and '.join(report.region for report in reports)}")
        return
    table = plain("region", "where", "found") if foreseen else plain("region", "where", "found", "removed", "left")
    for report in reports:
        for kind, number in report.found.items():
            more = () if foreseen else (str(report.removed[kind]), str(report.left.get(kind, 0)))
            table.add_row(report.region, kind, str(number), *more)
        for place in report.unreached:
            table.add_row(report.region, place, "[red]?", *(() if foreseen else ("?", "?")))
    Console().print(table)
    if foreseen:  # else the error says it
        for report in reports:
            for place, why in report.unreached.items():
                typer.secho(f"{report.region} {place}: {why}", fg=typer.colors.RED)
