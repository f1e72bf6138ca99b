"""Stops releases for a time, while training and judging go on: `caravan freeze` and `caravan thaw`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from contracts.dates import read_moment
from contracts.errors import SettingsError
from contracts.settings import settings

Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words; it stays in the ledger.")]
As = Annotated[str, typer.Option("--as", help="Who you are; asked for the password.")]

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
LONGEST_FREEZE = timedelta(days=90)


def freeze(
    until: Annotated[str, typer.Option("--until", help="A time (ISO 8601, UTC unless it says), or 30m, 2h, 3d.")],
    reason: Reason,
    user: As = "oncall",
) -> None:
    """Let no release start a canary, take another step or become champion. ABORT and rollback still act."""
    from artifacts.ledger import Ledger
    from caravan.cli.console.tables import time_left
    from caravan.cli.release.sign_in import person_or_os_user
    from releases.rollout import freeze as rules
    from releases.text import reason_given

    s, reason = settings(), reason_given(reason)
    end = moment(until)
    ledger = Ledger.of(s)
    person, _ = person_or_os_user(s, user)
    move = rules.freeze(ledger, until=end, person=person, reason=reason)
    typer.echo(f"frozen by {person} until {end:%Y-%m-%d %H:%M} UTC ({time_left(end, move.at)}): {reason}")
    typer.echo("training and judging go on; `caravan release rollback` works; `caravan thaw` ends it")


def thaw(reason: Reason, user: As = "oncall") -> None:
    """End a freeze before its time."""
    from artifacts.ledger import Ledger
    from caravan.cli.release import sign_in
    from releases.rollout import freeze as rules
    from releases.text import reason_given

    s, reason = settings(), reason_given(reason)
    ledger = Ledger.of(s)
    held = rules.frozen(ledger)
    if held is None:
        typer.echo("nothing is frozen")
        return
    person = sign_in.person(s, user)
    rules.thaw(ledger, person=person, reason=reason)
    typer.echo(f"thawed by {person}; it was frozen by {held.actor}: {held.reason}")


def moment(text: str, now: datetime | None = None) -> datetime:
    """Read the time that `text` names: an ISO time, or so many minutes, hours or days from now."""
    at, text = now or datetime.now(UTC), text.strip()
    found = re.fullmatch(r"(\d{1,4})([mhd])", text)
    try:
        end = at + timedelta(**{UNITS[found[2]]: int(found[1])}) if found else read_moment(text)
    except (SettingsError, OverflowError) as error:
        remedy = f"{getattr(error, 'remedy', '') or 'write 2026-01-31T14:00'}; or for how long: 2h, 3d"
        raise SettingsError(f"{text!r} is not a time", remedy=remedy) from None
    if end > at + LONGEST_FREEZE:
        raise SettingsError(
            f"{text} is more than {LONGEST_FREEZE.days} days away", remedy="freeze again when it is over"
        )
    return end
