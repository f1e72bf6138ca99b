"""`caravan features ...`: build the feature tables of a day, bring them online, look at a shopper."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from contracts.dates import read_day
from contracts.settings import settings

app = typer.Typer(help="Feature tables, and the online store.", no_args_is_help=True)

Day = Annotated[str, typer.Option(help="The day, YYYY-MM-DD (UTC).")]
Source = Annotated[str, typer.Option(help="The data source; by default the setting CARAVAN_SHOP.")]


@app.command()
def build(day: Day, source: Source = "") -> None:
    """Compute the feature tables of a day from its clean events, and publish them in the lake."""
    from artifacts.lake import Lake
    from feature_repo.tables import build as build_tables
    from retrieval.encoder import TextEncoder
    from training.models.text import encoder_directory

    s, day = settings(), read_day(day).isoformat()
    encoder = TextEncoder.load(encoder_directory(s))
    lake = Lake.of(s, source or s.shop)
    for table, manifest in build_tables(lake, day, engine=s.feature_engine, encode=encoder.encode).items():
        typer.echo(f"{table:17} {manifest.digest[:12]}  {manifest.meta['rows']} rows")


@app.command()
def materialize(
    day: Day,
    source: Source = "",
    force: Annotated[bool, typer.Option(help="Write even what is noted as written.")] = False,
) -> None:
    """Bring the online store up to the end of a day, never into the future. A rerun writes nothing twice."""
    from feature_repo import store

    s, day = settings(), read_day(day).isoformat()
    report = store.materialize(s, source or s.shop, day, force=force)
    for view, did in report.views.items():
        typer.echo(f"{view:17} {did.day or '-'}  {did.outcome}, {did.rows} rows")
    typer.echo(f"online up to {report.end.isoformat() if report.end else 'nothing'}, {report.seconds:.1f} s")


@app.command()
def show(
    user: Annotated[str, typer.Argument(help="The shopper: an identifier in the clear, or its hash (u_...).")],
    source: Source = "",
) -> None:
    """Print what is known online about a shopper, as JSON."""
    from feature_repo.reader import OnlineReader, ShopperFeatures
    from ingestion.pseudonymize import PSEUDONYM, Pseudonymizer

    s = settings()
    name = Pseudonymizer(s.secret("pseudonym_key")).hash(user)

    async def read(user_id: str) -> ShopperFeatures:
        reader = OnlineReader(s, source or s.shop)
        try:
            return await reader.shopper(user_id, s.request_deadline)
        finally:
            await reader.close()

    found = asyncio.run(read(name))
    if not found.known and PSEUDONYM.match(user):  # a shop's own identifiers may look so, too: they come first
        name, found = user, asyncio.run(read(user))
    typer.echo(json.dumps({"user_id": name, **asdict(found)}, default=str, indent=2))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def feast(context: typer.Context) -> None:
    """Run Feast's own command line on the default source, e.g. `caravan features feast feature-views list`."""
    from feature_repo.registry import REPOSITORY, environment

    s = settings()
    program = os.path.join(os.path.dirname(sys.executable), "feast")
    command = [program, "--chdir", str(REPOSITORY), *context.args]
    # the folder above, because Feast puts only the repository itself on the path
    path = os.pathsep.join(filter(None, (str(REPOSITORY.parent), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, **environment(s, s.shop), "CARAVAN_HOME": str(s.home), "PYTHONPATH": path}
    raise typer.Exit(subprocess.run(command, env=environ, check=False).returncode)
