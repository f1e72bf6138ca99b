"""Switches all shoppers of the region to another shop, for two signed-in reviewers: `caravan region serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from contracts.exit_codes import REFUSED
from contracts.settings import settings

if TYPE_CHECKING:
    from releases.shop_switch import ShopSwitch

Shop = Annotated[str, typer.Argument(help="The shop whose releases shall meet all shoppers of this region.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words; it stays in the ledger.")]
First = Annotated[str, typer.Option("--as", help="The first reviewer; asked for the password.")]
Others = Annotated[list[str], typer.Option("--and", help="Another reviewer; asked for the password. At least one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and what would refuse it.")]


def serve(source: Shop, reason: Reason, first: First, others: Others, dry_run: DryRun = False) -> None:
    """Switch all shoppers of this region to another shop at once, without a canary. The same command leads back."""
    from artifacts.ledger import Ledger
    from caravan.cli.release import emergency, sign_in
    from contracts.errors import NotApproved
    from releases import shop_switch
    from releases.approval.approval import Rules
    from releases.text import reason_given

    s, reason = settings(), reason_given(reason)
    ledger, rules, source = Ledger.of(s), Rules.of(s), source.strip()
    planned = shop_switch.foresee(ledger, s.shop, source)
    if planned.is_done:
        typer.echo(f"this region serves {source} already")
        return
    named = (first.strip(), *(name.strip() for name in others))
    found = shop_switch.objection(rules, named)
    if dry_run:
        _foresee(planned, named, found)
        return
    if found is not None:
        raise NotApproved(f"not taken: {found[0]}", remedy=found[1])
    people = (sign_in.person(s, named[0]), *(emergency.sign_in_another(s, name) for name in named[1:]))
    shop_switch.switch(s, ledger, rules, planned, people=people, reason=reason)
    typer.echo(f"{' and '.join(people)} let this region serve {source}; an alert says so: {reason}")
    for other in planned.stopped:
        typer.echo(f"release {other.digest[:12]} of {other.source} was in progress ({other.state}), and is stopped")
    typer.echo(f"next: {_road(planned)}; `caravan canary watch` shows it")
    if planned.before:
        typer.echo(f"the way back: caravan region serve {planned.before} --reason … --as … --and …")
    if s.shop != source:
        typer.echo(
            f"nights and the key of the shop's server are {s.shop}'s until CARAVAN_SHOP={source} and `caravan up`"
        )


def _foresee(planned: ShopSwitch, people: tuple[str, ...], found: tuple[str, str] | None) -> None:
    """Print what would happen; no password is asked for. Exit code 3 when it would be refused."""
    typer.echo(f"dry run: nothing is changed. All shoppers from {planned.before or 'no shop'} to {planned.source}:")
    typer.echo(f"  people       {' and '.join(people)}; no password was asked for now")
    typer.echo(f"  shoppers     {_road(planned)}")
    for other in planned.stopped:
        typer.echo(f"  stopped      {other.digest[:12]} of {other.source} ({other.state} -> rolled_back)")
    if found is not None:
        typer.echo(f"it would be refused: {found[0]} -> {found[1]}")
        raise typer.Exit(REFUSED)
    typer.echo("nothing would refuse it")


def _road(planned: ShopSwitch) -> str:
    when = "as soon as its engine has loaded it" if planned.state == "champion" else "after its warm-up"
    return f"all shoppers get release {planned.release[:12]} of {planned.source} ({planned.state}) {when}"
