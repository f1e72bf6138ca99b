"""Gives a release more time in its step, when people are asked because it has not proven itself in time."""

from __future__ import annotations

from typing import Annotated

import typer

from caravan.cli.release.approve import Digest
from caravan.cli.release.rollback import PasswordFile
from contracts.settings import settings

Until = Annotated[str, typer.Option("--until", help="A time (ISO 8601, UTC unless it says), or 30m, 2h, 3d.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words; it stays in the ledger.")]
As = Annotated[str, typer.Option("--as", help="Who you are; asked for the password.")]


def extend(
    digest: Digest, reason: Reason, until: Until = "1d", user: As = "reviewer", password_file: PasswordFile = None
) -> None:
    """Give a release in its shadow or canary more time. It stays where it is; ABORT still acts."""
    from artifacts.ledger import Ledger
    from caravan.cli.release import sign_in
    from caravan.cli.release.approve import resolve
    from caravan.cli.release.freeze import moment
    from releases.approval import overdue
    from releases.text import reason_given

    s, reason, end = settings(), reason_given(reason), moment(until)
    ledger = Ledger.of(s)
    source, found = resolve(ledger, digest.strip().lower())
    person = sign_in.person(s, user, password_file=password_file)
    move = overdue.extend(ledger, source, found, until=end, person=person, reason=reason)
    typer.echo(
        f"{person} gives release {found[:12]} of {source} ({move.evidence['state']}) until {end:%Y-%m-%d %H:%M} UTC"
    )
    typer.echo("it goes on when it has proven itself; people are asked again when that time is over")
