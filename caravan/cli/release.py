"""`caravan release …`: what was serving when, who let it, and whether the ledger is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caravan.cli import approve
from contracts.errors import NotFound, SettingsError
from contracts.settings import settings

if TYPE_CHECKING:
    from artifacts.ledger import Ledger, Move

app = typer.Typer(help="Releases, as the ledger tells them.", no_args_is_help=True)
app.command()(approve.approve)
app.command()(approve.reject)

Source = Annotated[str, typer.Option("--source", help="Data source; default: the setting `shop`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_releases(source: Source = "", as_json: Json = False) -> None:
    """Every release, newest first, and where it stands."""
    newest: dict[str, Move] = {}
    for move in _ledger().history(source or settings().shop):
        version = move.version or (newest[move.digest].version if move.digest in newest else None)
        newest[move.digest] = _with_version(move, version)
    _show("Releases", sorted(newest.values(), key=lambda m: -m.sequence), as_json=as_json)


@app.command()
def show(digest: Annotated[str, typer.Argument(help="A digest, or its beginning.")], as_json: Json = False) -> None:
    """The whole story of one release, with the evidence of every step."""
    moves = [move for move in _ledger().history() if move.digest.startswith(digest)]
    found = {move.digest for move in moves}
    if not found:
        raise NotFound(f"no release begins with {digest}", remedy="`caravan release list` shows them all")
    if len(found) > 1:
        raise NotFound(f"{len(found)} releases begin with {digest}", remedy="give more of the digest")
    _show(f"Release {found.pop()}", moves, as_json=as_json)
    if not as_json:
        for move in moves:
            if move.evidence:
                typer.echo(f"\n{move.to_state}: {json.dumps(move.evidence, indent=2, sort_keys=True)}")


@app.command()
def history(
    source: Source = "",
    at: Annotated[str, typer.Option(help="Only: what was serving at this time (ISO 8601, UTC unless it says).")] = "",
    as_json: Json = False,
) -> None:
    """Every move of every release; with --at, the champion of that moment and who let it."""
    shop = source or settings().shop
    if not at:
        _show(f"Moves of {shop}", _ledger().history(shop), as_json=as_json)
        return
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise SettingsError(f"{at!r} is not a time", remedy="write it as 2026-01-31T14:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    move = _ledger().champion(shop, moment)
    if move is None:
        raise NotFound(f"no release of {shop} was champion at {moment.isoformat()}", remedy="leave out --at to see all")
    _show(f"Champion of {shop} at {moment.isoformat()}", [move], as_json=as_json)


@app.command("verify-ledger")
def verify_ledger() -> None:
    """Recompute the hash chain; exit code 1, naming the first move that does not fit."""
    typer.echo(f"the ledger is whole: {_ledger().verify()} moves")


def _ledger() -> Ledger:
    from artifacts.ledger import Ledger

    return Ledger.of(settings())


def _with_version(move: Move, version: int | None) -> Move:
    from dataclasses import replace

    return replace(move, version=version)


def _show(title: str, moves: list[Move], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps([_plain(move) for move in moves], indent=2))
        return
    table = Table("when (UTC)", "release", "version", "state", "by", "why", title=title, title_justify="left")
    for move in moves:
        when = move.at.strftime("%Y-%m-%d %H:%M:%S")
        state = f"{move.from_state or 'new'} -> {move.to_state}"
        table.add_row(when, move.digest[:12], str(move.version or ""), state, move.actor, move.reason)
    Console().print(table)


def _plain(move: Move) -> dict[str, Any]:
    return {**asdict(move), "at": move.at.isoformat()}
