"""`caravan recover`: another region takes over, from the snapshots in its own store and with nothing else."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from contracts.errors import SettingsError
from contracts.region import named
from contracts.settings import settings


def recover(
    reason: Annotated[str, typer.Option(help="Why, in a few words; it stays in the ledger.")] = "",
    to: Annotated[
        str, typer.Option(help="newest, an id of `caravan snapshot list`, or a time, in UTC or with its offset.")
    ] = "newest",
    region: Annotated[str, typer.Option(help="The region that is restored.")] = "standby",
    although_alive: Annotated[
        bool, typer.Option("--although-alive", help="Go on although the other region still answers.")
    ] = False,
    although_active: Annotated[
        bool,
        typer.Option(
            "--although-active", help="Go on although the restored region is the active one: all it took since is lost."
        ),
    ] = False,
    control_is_lost: Annotated[
        bool, typer.Option("--control-is-lost", help="Go on although nobody can deny the other region its lease.")
    ] = False,
    through: Annotated[str, typer.Option(metavar="STEP", help="Stop after this step; run it again to go on.")] = "",
    name: Annotated[str, typer.Option(help="Goes on with the restore of this name, also when it has ended.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and what would refuse it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Restore a region and let it serve. Uses only that region's resources; run it again after whatever stopped it."""
    from caravan.cli.console.step_board import StepBoard
    from caravan.stack.machine import EmbeddedMachine
    from recovery.restore.options import RestoreOptions
    from recovery.restore.recovery_point import Point
    from recovery.restore.restore import plan_restore, restore

    if not reason and not dry_run:
        raise SettingsError("a restore needs a reason", remedy='give one: --reason "the primary is gone"')
    s = settings().of_region(named(region))
    machine, point = EmbeddedMachine(s), Point.parse(to)
    options = RestoreOptions(
        reason=reason, through=through, name=name, although_alive=although_alive, although_active=although_active,
        control_is_lost=control_is_lost,
    )  # fmt: skip
    if dry_run:
        plan = plan_restore(s, machine, point, options)
        typer.echo(json.dumps(plan, indent=None if as_json else 2))
        return
    with StepBoard() as board:
        done = restore(
            s, machine, point, options,
            progress=lambda step, what, seconds: board(step, f"{seconds:6.1f} s  {what}"),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"plan": done.plan, "steps": done.steps, "seconds": round(done.seconds, 1)}))
        return
    if through:
        typer.echo(f"{through}: {done.steps[through]['said']}")
        return
    plan = done.plan
    typer.echo(f"{region} has the state of {plan['snapshot']} ({plan['taken_at']}) and "
               f"{plan['log_after_cut'] / 1e6:.1f} MB of log after it, after {done.seconds:.0f} s")  # fmt: skip
    for passed in plan["passed_over"]:
        typer.secho(f"  passed over: {passed}", fg=typer.colors.YELLOW)
    typer.echo(f"  {done.steps['edge']['said']}: {s.edge_address}")
