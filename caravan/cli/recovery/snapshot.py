"""`caravan snapshot`: take, list, look at, verify and prune the recovery points of a region."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caravan.cli.console.ending import error_facts, tell
from contracts.errors import RecoveryError
from contracts.exit_codes import code_of
from contracts.region import named
from contracts.settings import Settings, settings

if TYPE_CHECKING:
    from recovery.vault.manifest import Snapshot
    from recovery.vault.vault import Vault

app = typer.Typer(help="Take, list, verify and prune recovery points.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Region = Annotated[str, typer.Option(help="The region whose snapshots are meant.")]
Name = Annotated[str, typer.Argument(help="An id of `caravan snapshot list`, or newest.")]


@app.command()
def create(
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="A full base backup; every byte in the vault is read, and what is damaged is uploaded again. "
            "The first snapshot of a day is one.",
        ),
    ] = False,
    region: Region = "",
    as_json: Json = False,
) -> None:
    """Take a snapshot of the region into the standby's store."""
    from caravan.stack.machine import EmbeddedMachine
    from recovery.snapshots import create

    s = _of(region)
    with _board(as_json) as progress:
        taken = create.create(s, EmbeddedMachine(s), full=full, progress=progress)
    if as_json:
        about = {"full": taken.full, "moved": taken.moved, "seconds": round(taken.seconds, 2)}
        typer.echo(json.dumps(_facts(taken.snapshot) | about))
        return
    one = taken.snapshot
    typer.echo(f"snapshot {one.id} after {taken.seconds:.1f} s: {one.objects.count} objects, {one.backups[-1].kind} "
               f"backup, {taken.moved / 1e6:.1f} MB moved")  # fmt: skip


@app.command("list")
def list_them(region: Region = "", as_json: Json = False) -> None:
    """Every snapshot, newest first; those that are not valid with the reason."""
    from rich.console import Console

    from caravan.cli.console.tables import plain, when
    from recovery.snapshots.retention import proven
    from recovery.vault.catalog import Catalog
    from recovery.vault.manifest import Snapshot
    from recovery.vault.vault import Vault

    s = _of(region)
    vault = Vault.of(s)
    found, good = list(Catalog(vault, s).newest_first()), proven(vault, s)
    if as_json:
        rows = [
            _facts(one) | {"proven": one.sequence in good} if isinstance(one, Snapshot)
            else {"id": f"s{one[0]:06d}", "problem": one[1]}
            for one in found
        ]  # fmt: skip
        typer.echo(json.dumps(rows, indent=2))
        return
    if not found:
        typer.echo("there is no snapshot yet; `caravan snapshot create` takes one")
        return
    table = plain("snapshot", "taken (UTC)", "region", "backup", "size", "notes")
    for one in found:
        if isinstance(one, Snapshot):
            size = one.objects.size + sum(part.size for part in one.parts())
            note = "[green]restored[/]" if one.sequence in good else ""
            table.add_row(one.id, when(one.at, seconds=True), one.region, one.backups[-1].kind, _bytes(size), note)
        else:
            table.add_row(f"s{one[0]:06d}", "", "", "", "", f"[red]{one[1]}")
    Console().print(table)


@app.command()
def show(name: Name = "newest", region: Region = "", as_json: Json = False) -> None:
    """Show what a snapshot holds."""
    from recovery.vault.catalog import Catalog
    from recovery.vault.vault import Vault

    s = _of(region)
    one = Catalog(Vault.of(s), s).named(name)
    if as_json:
        typer.echo(json.dumps(_facts(one), indent=2))
        return
    typer.echo(
        f"{one.id} of {one.region}, {one.at:%Y-%m-%d %H:%M:%S} UTC, after {one.parent or 'none'}, epoch {one.epoch}"
    )
    typer.echo(f"  code       {one.commit[:12] or 'unknown'}, PostgreSQL {one.versions['postgresql']}")
    typer.echo(f"  database   {' + '.join(backup.kind for backup in one.backups)}, log up to {one.cut:X}")
    for table in one.tables:
        typer.echo(f"  table      {table.name}: {table.rows} rows, sha256 {table.sha256[:12]}")
    typer.echo(f"  objects    {one.objects.count}, {_bytes(one.objects.size)}")
    typer.echo(f"  events     {len({segment.of for segment in one.events})} files of the event log")
    typer.echo(f"  keys       {', '.join(f'{name} {print_}' for name, print_ in one.keys.items())}")
    typer.echo(f"  root       {one.root}")


@app.command()
def verify(
    name: Name = "newest",
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte again, and unseal every part.")] = False,
    region: Region = "",
    as_json: Json = False,
) -> None:
    """Whether a snapshot is whole. Exit code 1, and the bad files, when it is not."""
    from recovery.snapshots import verify as verification
    from recovery.vault.catalog import Catalog
    from recovery.vault.vault import Vault

    s = _of(region)
    vault = Vault.of(s)
    one = Catalog(vault, s).named(name)
    with _board(as_json) as progress:
        report = verification.verify(
            vault, one, s, deep=deep, progress=lambda done, whole: progress("files", f"{done} of {whole}")
        )
    error = None
    if report.problems:
        what = f"{one.id} is not whole: {'; '.join(report.problems[:20])}"
        error = RecoveryError(what, remedy="`caravan snapshot create --full` uploads again what the region still has")
    if as_json:
        facts = {"id": one.id, "deep": deep, **asdict(report)}
        typer.echo(json.dumps({**facts, **(error_facts(error) if error else {})}))
        if error:
            raise typer.Exit(tell(error))
    else:
        for problem in report.problems:
            typer.secho(f"  {problem}", fg=typer.colors.RED)
        how = "every byte" if deep else "existence, size and closure"
        state = f"{len(report.problems)} files are bad" if report.problems else "is whole"
        typer.echo(f"{one.id} {state}: {report.files} files, {_bytes(report.size)}, {how}")
    if error:
        typer.echo(f"  try: {error.remedy}", err=True)
        raise typer.Exit(code_of(type(error)))


@app.command()
def prune(
    keep: Annotated[
        int | None,
        typer.Option(min=2, help="Keep this many of the newest, instead of going by age."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    region: Region = "",
    as_json: Json = False,
) -> None:
    """Remove older snapshots, and what only they name, passing their lock. A person's act: it asks.

    All of two days stay, then the first of each day for 15 days, then the first of each week for 64.
    It takes the credential of the administrator of the store that keeps them, from the folder of the secrets.
    """
    from recovery.snapshots import retention

    s = _of(region)
    vault = _administered(s)
    if sys.stdin.isatty() and not (dry_run or yes):
        going = len(retention.prune(s, vault, keep=keep, dry_run=True).snapshots)
        if going:
            typer.confirm(f"remove {going} snapshots of {s.region} for good?", abort=True, err=as_json)
    report = retention.prune(s, vault, keep=keep, dry_run=dry_run)
    if vault.foreign:
        vault.foreign.alert(s)
        typer.echo(vault.foreign.sentence(), err=True)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    verb = "would go" if dry_run else "are gone"
    typer.echo(f"{len(report.snapshots)} snapshots and {report.files} files ({_bytes(report.size)}) {verb}; "
               f"{len(report.kept)} snapshots stay")  # fmt: skip


def _administered(s: Settings) -> Vault:
    """Open the vault of the region `s.region` as the administrator of the other region's store."""
    from caravan.stack.services.object_store import store_administrator
    from contracts.region import other
    from recovery.vault.bucket import LockedBucket
    from recovery.vault.encryption import Sealer
    from recovery.vault.vault import Vault

    keys = store_administrator(s.of_region(other(s.region)))
    return Vault(LockedBucket.administrator(s, *keys), Sealer.of(s))


def _of(region: str) -> Settings:
    """Return the settings of a region, by default that of the environment."""
    s = settings()
    return s.of_region(named(region)) if region else s


def _facts(one: Snapshot) -> dict[str, Any]:
    """Return a snapshot for programs: all but the lists of files."""
    body = asdict(one)
    for name in ("log", "events"):
        body[name] = len(body[name])
    body["backups"] = [{"kind": b.kind, "size": sum(p.size for p in b.parts)} for b in one.backups]
    full_at = one.full_at.isoformat() if one.full_at else None
    return {"id": one.id, **body, "at": one.at.isoformat(), "full_at": full_at}


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _board(quiet: bool) -> AbstractContextManager[Callable[[str, str], None]]:
    """One line per step, which changes in place on a terminal; nothing beside JSON."""
    if quiet:
        return nullcontext(lambda _step, _what: None)
    from caravan.cli.console.step_board import StepBoard

    return StepBoard()
