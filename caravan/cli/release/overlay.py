"""`caravan overlay`: what holds over the release that serves, because a newer catalog says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import NotFound
from contracts.settings import settings

if TYPE_CHECKING:
    from artifacts.lake import Lake

app = typer.Typer(help="Availability between two releases: sold out at noon is gone at noon.", no_args_is_help=True)

Source = Annotated[str, typer.Option("--source", help="Data source; default: the setting `shop`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("make")
def make_overlay(
    source: Source = "",
    accept_changes: Annotated[
        bool, typer.Option(help="Take the newest catalog, however many items it lost or says are sold out.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the overlay of the catalog that landed last, now; the controller does the same within seconds."""
    from artifacts.fence import Fence
    from releases.overlay import make

    s = settings()
    Fence(s).demand()
    made = make(_lake(source), s, accept_changes=accept_changes)
    _tell(made.to_dict(), as_json=as_json)


@app.command("show")
def show_overlay(source: Source = "", as_json: Json = False) -> None:
    """Say which overlay holds: its number, time and catalog, and how many items it names."""
    from releases.overlay import MadeOverlay, newest_trusted

    lake = _lake(source)
    found = newest_trusted(lake.store, lake.source, settings())
    if found is None:
        raise NotFound(
            f"{lake.source} has no overlay: availability is that of the release",
            remedy="a newer catalog makes one: `caravan ingest --catalog FILE`",
        )
    _tell(MadeOverlay(overlay=found, made=False).to_dict(), as_json=as_json)


def _lake(source: str) -> Lake:
    from artifacts.lake import Lake

    s = settings()
    return Lake.of(s, source or s.shop)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    new = "is new" if told["made"] else "holds"
    typer.echo(
        f"overlay {told['digest'][:12]} of {told['shop']} {new}: number {told['number']} of {told['at']}, "
        f"sold out: {told['unavailable']}, available again: {told['available_again']} (catalog {told['catalog']})"
    )
