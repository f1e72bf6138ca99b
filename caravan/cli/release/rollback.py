"""Lets the release before serve all shoppers again, within seconds: `caravan release rollback`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import CaravanError
from contracts.exit_codes import REFUSED
from contracts.settings import Settings, settings

if TYPE_CHECKING:
    from releases.rollback import RollbackPlan
    from releases.rollout.region import LiveRegion

Source = Annotated[str, typer.Option("--source", help="Data source; default: the one that serves.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words; it stays in the ledger.")]
As = Annotated[str, typer.Option("--as", help="Who you are; asked for the password when it can be checked.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="Read the password here; default: CARAVAN_USER_PASSWORD_FILE.")
]
Further = Annotated[bool, typer.Option("--further", help="Go back one more, though a rollback was made just now.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change and what would refuse it.")]


def rollback(
    reason: Reason,
    source: Source = "",
    user: As = "oncall",
    password_file: PasswordFile = None,
    further: Further = False,
    dry_run: DryRun = False,
) -> None:
    """Go back to the champion before. Needs no approval; stops what is in progress; waits until shoppers have it."""
    from artifacts.ledger import Ledger
    from caravan.cli.release.sign_in import person_or_os_user
    from monitoring import alerts
    from releases import rollback as back
    from releases.rollout.region import LiveRegion
    from releases.served_shop import permitted_shop
    from releases.text import reason_given

    s, reason = settings(), reason_given(reason)
    ledger = Ledger.of(s)
    shop = source or permitted_shop(ledger, s.shop)
    done = None if further else back.just_now(ledger, shop)
    region = LiveRegion(s)
    try:
        if done is not None:
            typer.echo(f"{shop} was rolled back at {done.at:%H:%M:%S} UTC by {done.actor}: {done.reason}")
            typer.echo("nothing more is moved; --further goes back one more")
            if not dry_run:
                arrive(s, region, done.digest)
            return
        plan = back.foresee(ledger, shop)
        if dry_run:
            _foresee(s, region, plan)
            return
        person, signed_in = person_or_os_user(s, user, password_file=password_file)
        move = back.rollback(ledger, shop, person=person, reason=reason, plan=plan)
        if plan.champion:
            typer.echo(f"release {plan.champion[:12]} of {shop} is rolled back by {person}: {reason}")
        else:
            typer.echo(f"{shop} had no champion; {plan.former[:12]} is champion again, by {person}: {reason}")
        for release in plan.in_progress:
            typer.echo(f"release {release.digest[:12]} was in progress ({release.state}), and is stopped")
        if not signed_in:
            text = f"rollback of {shop} by {person}: neither Airflow nor MLflow answered; find out who it was"
            alerts.tell(s, part="releases", severity="warning", text=text)
        arrive(s, region, move.digest)
    finally:
        region.close()


def arrive(s: Settings, region: LiveRegion, digest: str) -> None:
    """Wait until all shoppers get this release, and say how long that took."""
    from releases.rollout.live import live_controller
    from releases.rollout.routing_wait import asked_at_the_edge, await_release, last_beat

    arrival = await_release(
        s, digest, region=region, tick=lambda: live_controller(s).tick(), ask=lambda: asked_at_the_edge(s)
    )
    typer.echo(f"release {digest[:12]} serves all shoppers after {arrival.seconds:.1f} s (engine {arrival.engine})")
    if arrival.helped:
        beat = last_beat(s)
        silent = f"its last heartbeat is {time.time() - beat.at:.0f} s old" if beat else "it has left no heartbeat"
        typer.echo(f"the controller had not done it ({silent}), so this command did; see `caravan logs controller`")


def _foresee(s: Settings, region: LiveRegion, plan: RollbackPlan) -> None:
    """Print what would happen; exit code 3 when it would be refused."""
    from releases.rollout import traffic

    said = region.readiness()
    serves = {slot: one.serves for slot, one in said.items()}
    present = region.split()
    then = traffic.plan(traffic.Deployed(champion=plan.former), serves).split
    loaded = [slot for slot, digest in serves.items() if digest == plan.former]
    typer.echo(f"dry run: nothing is changed. Rollback of {plan.source}:")
    typer.echo(f"  champion     {(plan.champion or 'none')[:12]} -> {plan.former[:12]}")
    for release in plan.in_progress:
        typer.echo(f"  stopped      {release.digest[:12]} ({release.state} -> rolled_back)")
    typer.echo(f"  traffic now  {traffic.describe(present) if present else 'no routes'}")
    typer.echo(f"  traffic then {traffic.describe(then)}")
    has = f"loaded by: {', '.join(loaded)}; shoppers have it in about a second"
    slow = f"loaded by no engine: it is loaded first; {(plan.champion or 'nothing')[:12]} serves meanwhile"
    typer.echo(f"  {plan.former[:12]} {has if loaded else slow}")
    typer.echo(f"  ledger       {1 + bool(plan.champion) + len(plan.in_progress)} rows")
    try:
        region.signed(plan.former)
    except CaravanError as error:
        typer.echo(f"it would be refused: engines take no release like this: {error}")
        raise typer.Exit(REFUSED) from error
    typer.echo(f"nothing would refuse it; region {s.region}")
