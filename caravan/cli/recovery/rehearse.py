"""`caravan rehearse`: show that the other region could take over, without letting it."""

from __future__ import annotations

import json
import signal
from typing import Annotated

import typer

from caravan.cli.console.ending import error_facts, tell
from contracts.errors import RecoveryError, SettingsError
from contracts.exit_codes import code_of
from contracts.recovery import Fault
from contracts.region import named, other
from contracts.settings import settings


def end(*_: object) -> None:
    """End as an error does, so that what was stopped runs again; a second signal does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def rehearse(
    region: Annotated[
        str, typer.Option(help="The region that is restored; it must not be the active one.")
    ] = "standby",
    fault: Annotated[
        str,
        typer.Option(
            help=f"What is broken meanwhile: {', '.join(Fault)}. With {Fault.EDGE_CUT_OFF} and {Fault.REGION_DOWN} no "
            "shopper gets an answer until it is over."
        ),
    ] = Fault.NOTHING.value,
    questions: Annotated[int, typer.Option(min=1, max=10_000, help="Recorded questions to compare.")] = 200,
    human_actions: Annotated[int, typer.Option(hidden=True)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Restore the passive region, compare its answers with the active one's, write a page. Exit code 1: not well."""
    from caravan.cli.console.step_board import StepBoard
    from caravan.stack.machine import EmbeddedMachine
    from recovery.drills.rehearsal import rehearse as carry_out

    if fault not in set(Fault):
        raise SettingsError(f"there is no fault {fault}", remedy=f"use one of {', '.join(Fault)}")
    target = settings().of_region(named(region))
    others = EmbeddedMachine(target.of_region(other(target.region)))
    signal.signal(signal.SIGTERM, end)
    with StepBoard() as board:
        score, page = carry_out(
            target, EmbeddedMachine(target), others, fault=fault, count=questions, human_actions=human_actions,
            progress=lambda step, what, seconds: board(step, f"{seconds:6.1f} s  {what}"),
        )  # fmt: skip
    failures = score.failures()
    error = RecoveryError("; ".join(failures), remedy=f"{page} tells each step") if failures else None
    if as_json:
        typer.echo(json.dumps({**score.facts(), "page": str(page), **(error_facts(error) if error else {})}))
        if error:
            raise typer.Exit(tell(error))
    else:
        typer.echo(
            f"{score.asked - score.different} of {score.asked} answers as before; RPO {score.rpo:.1f} s, "
            f"first answer after {score.first_answer:.0f} s, {score.lost_rows} rows and {score.lost_events} events lost"
        )
        for failure in failures:
            typer.secho(f"  {failure}", fg=typer.colors.RED)
        typer.echo(f"  page: {page}")
    if error:
        raise typer.Exit(code_of(type(error)))
