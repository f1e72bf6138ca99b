"""`caravan export`: everything that the shop holds of one shopper, in one file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from caravan.cli.console.ending import tell
from caravan.cli.recovery.forget import board, regions_of
from contracts.errors import SettingsError, StoreUnavailable
from contracts.settings import settings


def export(
    user_id: Annotated[
        str, typer.Argument(help="As the shop sends it, or a pseudonym (u_…); - reads it from standard input.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write, as JSON lines; readable by you alone.")] = Path(
        "shopper.jsonl"
    ),
    region: Annotated[str, typer.Option(help="Only this region; default: each that has a home here.")] = "",
    hashed: Annotated[
        bool | None, typer.Option("--pseudonym/--identifier", help="What u_… is; default: where something is found.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write what lake, features, online store and logs hold of one shopper into a file."""
    from recovery.erasure.export import export_shopper
    from recovery.erasure.forget import is_pseudonym

    s, shopper = settings(), sys.stdin.readline().strip() if user_id == "-" else user_id
    if out.is_dir():
        raise SettingsError(f"{out} is a folder", remedy="name the file to write: --out shopper.jsonl")
    regions = regions_of(s, region)
    with board(as_json) as progress:
        if hashed is None:
            hashed = is_pseudonym(s, regions, shopper, progress=progress)
        reports = export_shopper(s, regions, shopper, out, hashed=hashed, progress=progress)
    wrong = [f"{one.region} {place}: {why}" for one in reports for place, why in one.unreached.items()]
    error = StoreUnavailable("; ".join(wrong), remedy="what is written is not all: run it again when they answer")
    if as_json:
        typer.echo(json.dumps({"file": str(out), "regions": [asdict(one) for one in reports]}, indent=2))
        if wrong:
            raise typer.Exit(tell(error))
        return
    for one in reports:
        kinds = ", ".join(f"{number} {kind}" for kind, number in one.rows.items()) or "nothing"
        typer.echo(f"{one.region}: {kinds}")
    typer.echo(f"written to {out}")
    if wrong:
        raise error
