"""`caravan fail-back`: the region that was lost is rebuilt, and takes over again without losing anything."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from contracts.errors import SettingsError
from contracts.region import named, other
from contracts.settings import settings


def fail_back(
    reason: Annotated[str, typer.Option(help="Why, in a few words; it stays with the lease.")] = "",
    region: Annotated[str, typer.Option(help="The region that is to serve again.")] = "primary",
    through: Annotated[str, typer.Option(metavar="STEP", help="Stop after this step; run it again to go on.")] = "",
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Let the drained region take writes again, and stop there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring over what the region had accepted, rebuild it from the active one, switch. Run it again to go on."""
    from caravan.cli.console.step_board import StepBoard
    from caravan.stack.machine import EmbeddedMachine
    from recovery.failback import failback

    target = settings().of_region(named(region))
    if give_up:
        typer.echo(failback.give_up(target))
        return
    if not reason:
        raise SettingsError("a failback needs a reason", remedy='give one: --reason "the primary is mended"')
    if through and through not in failback.STEPS:
        raise SettingsError(f"there is no step {through}", remedy=f"name one of {', '.join(failback.STEPS)}")
    others = EmbeddedMachine(target.of_region(other(target.region)))
    with StepBoard() as board:
        state = failback.fail_back(
            target, EmbeddedMachine(target), others, reason=reason, through=through,
            progress=lambda step, what, seconds: board(step, f"{seconds:6.1f} s  {what}"),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(state.to_dict()))
        return
    if through:
        typer.echo(f"{through}: {state.steps[through]['said']}")
        return
    typer.echo(f"{region} is the active region again; {state.steps['reconcile']['said']}")
