"""`caravan region`: which region is the active one, since when, and who made it so."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, get_args

import typer

from contracts.errors import StoreUnavailable
from contracts.region import RegionName
from contracts.settings import settings

app = typer.Typer(help="The active region, and the shop that it serves.", invoke_without_command=True)


@app.callback()
def region(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show the active region, its lease, and every change of it."""
    if context.invoked_subcommand is None:
        _show(as_json=as_json)


def _show(*, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from artifacts import fence
    from recovery.region_lease.lease import RegionLease

    s = settings()
    try:
        with closing(RegionLease.of(s)) as active:
            held, history = active.look(), active.history()
    except StoreUnavailable:
        held, history = None, []
    rights = {name: fence.read_right(s.of_region(name)) for name in get_args(RegionName)}
    if as_json:
        found = {
            "active": asdict(held) if held else None,
            "regions": {name: asdict(right) if right else None for name, right in rights.items()},
            "history": history,
        }
        typer.echo(json.dumps(found, default=str))
        return
    if held is None:
        typer.echo("no lease: the control group does not run, or no region has asked for one yet")
    else:
        state = "draining" if held.draining else "active" if held.left > 0 else "its lease ran out"
        typer.echo(f"{held.region}: {state}, epoch {held.epoch}, for another {max(held.left, 0):.0f} s unless renewed")
    for name, right in rights.items():
        if right is not None:
            left = right.until - fence.boottime()
            may = (
                f"takes writes for another {left:.0f} s"
                if right.standing == "active" and left > 0
                else "takes no writes"
            )
            typer.echo(f"  {name} believes: {right.standing}, epoch {right.epoch}; {may}")
    if history:
        table = Table("epoch", "region", "since", "by", "reason", box=None, pad_edge=False)
        for row in history:
            table.add_row(
                str(row["epoch"]), row["region"], f"{row['since']:%Y-%m-%d %H:%M:%S}", row["actor"], row["reason"]
            )
        Console().print(table)
