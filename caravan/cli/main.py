"""Defines the command `caravan`: mounts one file per subject, and turns our errors into two lines and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from caravan.cli import alerts, nightly, replay, stack
from caravan.cli.console.ending import tell
from caravan.cli.console.json_answer import answer_in_json
from caravan.cli.data import data, features
from caravan.cli.demo import demo
from caravan.cli.evaluate import recommend, search
from caravan.cli.recovery import export, fail_back, forget, recover, region, rehearse, snapshot, sweep
from caravan.cli.release import canary, freeze, overlay, release, shop_switch
from contracts.errors import CaravanError

app = typer.Typer(
    name="caravan",
    help="From a shop's raw events to served search and recommendations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluate = typer.Typer(
    help="Measure the default recipe or the search on any data in the contract.", no_args_is_help=True
)
evaluate.command("recommend")(recommend.recommend)
evaluate.command("search")(search.search)
app.add_typer(evaluate, name="evaluate")

for _command in (
    stack.up,
    stack.down,
    stack.status,
    stack.logs,
    data.ingest,
    data.convert,
    data.validate,
    nightly.nightly,
    nightly.backfill,
):
    app.command()(_command)
app.command()(demo.demo)
app.command()(replay.replay)
app.command()(freeze.freeze)
app.command()(freeze.thaw)
app.command()(alerts.alerts)
app.command()(recover.recover)
app.command()(rehearse.rehearse)
app.command()(fail_back.fail_back)
app.command()(forget.forget)
app.command()(export.export)
app.command()(sweep.sweep)
region.app.command()(shop_switch.serve)
app.add_typer(region.app, name="region")
app.add_typer(data.shop, name="shop")
app.add_typer(features.app, name="features")
app.add_typer(release.app, name="release")
app.add_typer(overlay.app, name="overlay")
app.add_typer(canary.app, name="canary")
app.add_typer(snapshot.app, name="snapshot")
answer_in_json(app)


def main() -> None:
    """Run the command line. Set CARAVAN_TRACE=1 to see the whole traceback of an error."""
    before = os.umask(0o077)  # what a command writes, shoppers' data among it, is its user's alone
    try:
        app()
    except CaravanError as error:
        if os.environ.get("CARAVAN_TRACE"):
            raise
        sys.exit(tell(error, as_json="--json" in sys.argv))
    finally:
        os.umask(before)  # of whoever calls this from code
