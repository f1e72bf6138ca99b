"""Tells what served when and who let it, and holds the commands of `caravan release`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caravan.cli.release import approve, emergency, extend, model, rollback
from contracts.dates import read_moment
from contracts.errors import IllegalMove, NotFound
from contracts.exit_codes import REFUSED
from contracts.settings import settings

if TYPE_CHECKING:
    from artifacts.ledger import Ledger, Move
    from releases.rollout.region import LiveRegion

app = typer.Typer(help="Releases: where they are, who let them, and back.", no_args_is_help=True)

Source = Annotated[str, typer.Option("--source", help="Data source; default: the setting `shop`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_releases(source: Source = "", as_json: Json = False) -> None:
    """List every release, those moved last first, and the state it is in."""
    from rich.console import Console
    from rich.markup import escape

    from caravan.cli.console import tables
    from releases.overview import listed
    from releases.rollout.freeze import frozen

    shop, ledger = source or settings().shop, _ledger()
    found = listed(ledger, shop)
    if as_json:
        rows = [{**_plain(told.moved), "version": told.version, "state": told.release.state} for told in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console()
    if (held := frozen(ledger)) is not None:
        console.print(tables.banner(held, datetime.now(UTC)))
    table = tables.plain("since (UTC)", "release", "v", "state", "why", title=f"Releases of {shop}")
    for told in found:
        why = tables.said(told.moved)
        if told.note is not None:
            why = f"{tables.state(told.note.to_state)} {escape(told.note.actor)}, {tables.said(told.note)}"
        table.add_row(
            tables.when(told.moved.at), told.release.digest[:tables.SHORT], str(told.version or ""),
            tables.state(told.release.state), tables.one_line(why),
        )  # fmt: skip
    console.print(table)
    if not found:
        console.print("none yet")


@app.command()
def show(digest: Annotated[str, typer.Argument(help="A digest, or its beginning.")], as_json: Json = False) -> None:
    """Show the whole story of one release, with the evidence of every step."""
    from rich.console import Console

    from caravan.cli.console import tables

    moves = [move for move in _ledger().history() if move.digest and move.digest.startswith(digest.strip().lower())]
    found = {move.digest for move in moves}
    if not found:
        raise NotFound(f"no release begins with {digest}", remedy="`caravan release list` shows them all")
    if len(found) > 1:
        raise NotFound(f"{len(found)} releases begin with {digest}", remedy="give more of the digest")
    if as_json:
        _json(moves)
        return
    console = Console()
    console.print(f"Release {found.pop()}\nof {moves[0].source}", highlight=False)
    _story(console, moves, title="")
    for move in moves:
        if move.evidence:
            console.print(f"\n{tables.when(move.at, seconds=True)}  {tables.state(move.to_state)}", highlight=False)
            for line in tables.evidence(move.evidence):
                console.print(line, markup=False, highlight=False)


@app.command()
def history(
    source: Source = "",
    at: Annotated[str, typer.Option(help="Only: what was serving at this time (ISO 8601, UTC unless it says).")] = "",
    as_json: Json = False,
) -> None:
    """Show every move of every release of a shop; with --at, what served then, of whichever shop, and who let it."""
    from rich.console import Console

    from releases.served_shop import find_served

    shop, ledger = source or settings().shop, _ledger()
    if not at:
        moves = ledger.history(shop)
        if as_json:
            _json(moves)
        else:
            _story(Console(), moves, title=f"Moves of {shop}", releases=True)
        return
    moment = read_moment(at)
    move = find_served(ledger, moment)
    if move is None or source not in ("", move.source):
        served = f", but {move.digest[:12]} of {move.source}" if move else ""
        whose = f" of {source}" if source else ""
        raise NotFound(
            f"no release{whose} served at {moment.isoformat()}{served}", remedy="leave out --at to see every move"
        )
    _served(ledger, move, moment, as_json=as_json)


@app.command("verify-ledger")
def verify_ledger() -> None:
    """Recompute the hash chain; exit code 3, naming the first move that does not fit."""
    typer.echo(f"the ledger is whole: {_ledger().verify()} moves")


@app.command()
def stop(
    digest: approve.Digest,
    reason: rollback.Reason,
    user: rollback.As = "oncall",
    password_file: rollback.PasswordFile = None,
    dry_run: rollback.DryRun = False,
) -> None:
    """Stop a release in progress. Needs no approval; waits until all shoppers have the champion."""
    from caravan.cli.release.sign_in import person_or_os_user
    from monitoring import alerts
    from releases import rollback as back
    from releases.rollout.region import LiveRegion
    from releases.served_shop import find_served
    from releases.text import reason_given

    s, ledger, reason = settings(), _ledger(), reason_given(reason)
    source, found = approve.resolve(ledger, digest)
    serving = find_served(ledger)
    region = LiveRegion(s)
    try:
        if dry_run:
            _foresee_stop(ledger, region, source, found, serving.digest if serving else None)
            return
        back.stoppable(ledger, source, found)
        person, signed_in = person_or_os_user(s, user, password_file=password_file)
        move = back.stop(ledger, source, found, person=person, reason=reason)
        typer.echo(f"release {found[:12]} of {source} was in progress ({move.from_state}); {person} stops it: {reason}")
        if not signed_in:
            what = f"release {found[:12]} of {source} stopped by {person}"
            text = f"{what}: neither Airflow nor MLflow answered; find out who it was"
            alerts.tell(s, part="releases", severity="warning", text=text)
        if serving is not None:
            rollback.arrive(s, region, serving.digest)
    finally:
        region.close()


app.command()(extend.extend)
app.command()(approve.approve)
app.command()(approve.reject)
app.command()(rollback.rollback)
app.command()(emergency.emergency)
app.command()(model.model)


def _foresee_stop(ledger: Ledger, region: LiveRegion, source: str, digest: str, champion: str | None) -> None:
    """Print what would happen; exit code 3 when it would be refused. No password is asked for."""
    from releases import rollback as back
    from releases.rollout.traffic import Deployed, describe, plan

    typer.echo(f"dry run: nothing is changed. Stop of a release of {source}:")
    try:
        state = back.stoppable(ledger, source, digest)
    except IllegalMove as refusal:
        typer.echo(f"it would be refused: {refusal}")
        raise typer.Exit(REFUSED) from refusal
    present = region.split()
    serves = {slot: said.serves for slot, said in region.readiness().items()}
    typer.echo(f"  release      {digest[:12]}: {state} -> rolled_back; it returns only with a new approval")
    typer.echo(f"  traffic now  {describe(present) if present else 'no routes'}")
    typer.echo(f"  traffic then {describe(plan(Deployed(champion=champion), serves).split)}")
    typer.echo("  ledger       1 row")
    typer.echo("nothing would refuse it")


def _served(ledger: Ledger, crowned: Move, moment: datetime, *, as_json: bool) -> None:
    """Print what served at a moment, since when, and who let it."""
    from rich.console import Console
    from rich.markup import escape

    from caravan.cli.console import tables
    from releases.overview import let_by

    story = ledger.history(crowned.source, crowned.digest)
    people = let_by(story, crowned.sequence)
    if as_json:
        _json([crowned], approvals=[_plain(move) for move in people])
        return
    approved = next((m for m in reversed(story) if m.to_state == "approved" and m.sequence <= crowned.sequence), None)
    ended = _ended(ledger, crowned)
    version = next((m.version for m in reversed(story) if m.version is not None), None)
    lines = [
        ("serving", f"{crowned.digest}" + (f" (version {version})" if version else "")),
        ("at", f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, to the shoppers of {crowned.source}"),
        ("champion since", f"{crowned.at:%Y-%m-%d %H:%M:%S}, by {crowned.actor}: {crowned.reason}"),
    ]
    if ended is not None:
        what = ended.to_state if ended.digest == crowned.digest else f"{ended.digest[: tables.SHORT]} of {ended.source}"
        lines.append(("until", f"{ended.at:%Y-%m-%d %H:%M:%S}, {what} by {ended.actor}: {ended.reason}"))
    lines += [("approved by", f"{m.actor}, {m.at:%Y-%m-%d %H:%M:%S}: {m.reason}") for m in people]
    if not people:
        let = (
            f"nobody: {approved.actor} let it go on: {approved.reason}"
            if approved
            else "nobody: the ledger has no approval of it"
        )
        lines.append(("approved by", let))
    table = tables.plain("", "")
    table.show_header = False
    for name, text in lines:
        table.add_row(f"[dim]{name}[/]", escape(text))
    Console().print(table, highlight=False)


def _ended(ledger: Ledger, crowned: Move) -> Move | None:
    """Find the move by which a champion served no more: its own, or another shop's release became champion."""
    for move in ledger.history():
        own = (move.source, move.digest) == (crowned.source, crowned.digest) and move.from_state == "champion"
        other = move.source != crowned.source and move.to_state in ("champion", "serves")
        if move.sequence > crowned.sequence and (own or other):
            return move
    return None


def _ledger() -> Ledger:
    from artifacts.ledger import Ledger

    return Ledger.of(settings())


def _story(console: Any, moves: list[Move], *, title: str, releases: bool = False) -> None:
    from rich.markup import escape

    from caravan.cli.console import tables

    titles = ["when (UTC)", *(["release"] if releases else []), "to", "by", "why"]
    table = tables.plain(*titles, title=title)
    table.columns[-2].max_width, table.columns[-2].no_wrap, table.columns[-2].overflow = 16, False, "fold"
    for move in moves:
        release = [move.digest[: tables.SHORT]] if releases else []
        about = [tables.state(move.to_state), escape(move.actor), tables.said(move)]
        table.add_row(tables.when(move.at, seconds=True), *release, *about)
    console.print(table)


def _json(moves: list[Move], **more: Any) -> None:
    rows = [{**_plain(move), **more} for move in moves]
    typer.echo(json.dumps(rows, indent=2))


def _plain(move: Move) -> dict[str, Any]:
    return {**asdict(move), "at": move.at.isoformat()}
