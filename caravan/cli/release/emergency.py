"""Lets a release go on without the waiting, for two named reviewers: `caravan release emergency`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import CaravanError, SettingsError
from contracts.exit_codes import REFUSED
from contracts.release import CANARY_SHARE
from contracts.settings import Settings, settings

if TYPE_CHECKING:
    from artifacts.ledger import Ledger
    from releases.approval.approval import Rules
    from releases.approval.emergency import EmergencyRequest

#: Where the second person's password may come from, if it cannot be typed.
SECOND, SECOND_FILE = "CARAVAN_SECOND_PASSWORD", "CARAVAN_SECOND_PASSWORD_FILE"

Digest = Annotated[str, typer.Argument(help="The digest, or 12 digits or more of its beginning.")]
Reason = Annotated[str, typer.Option("--reason", help="Why it cannot wait; it stays in the ledger.")]
First = Annotated[str, typer.Option("--as", help="The first reviewer; asked for the password.")]
Other = Annotated[str, typer.Option("--and", help="The second reviewer; asked for the password.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and what would refuse it.")]


def emergency(digest: Digest, reason: Reason, first: First, second: Other, dry_run: DryRun = False) -> None:
    """Let a release go on at once: no minimum exposure, no proof. Signature, ABORT and the record stay."""
    from artifacts.ledger import Ledger
    from caravan.cli.release import sign_in
    from caravan.cli.release.approve import at_once, resolve
    from releases.approval import emergency as rules_of
    from releases.approval.approval import Rules
    from releases.approval.emergency import EmergencyRequest
    from releases.rollout.freeze import frozen
    from releases.served_shop import serving_source
    from releases.text import reason_given

    s, reason, named = settings(), reason_given(reason), digest.strip().lower()
    ledger, rules = Ledger.of(s), Rules.of(s)
    source, found = resolve(ledger, named)
    first, second = first.strip(), second.strip()
    wanted = EmergencyRequest(source=source, digest=found, people=(first, second), reason=reason, named=named)
    if dry_run:
        _foresee(s, ledger, rules, wanted)
        return
    if first == second:
        raise SettingsError(f"{first} is one person", remedy="an emergency release takes two different reviewers")
    people = (sign_in.person(s, first), sign_in_another(s, second))
    rules_of.approve(s, ledger, rules, replace(wanted, people=people))
    typer.echo(f"{people[0]} and {people[1]} let release {found[:12]} of {source} go on at once; an alert says so")
    if (held := frozen(ledger)) is not None:
        typer.echo(f"but it is frozen by {held.actor}: {held.reason}; `caravan thaw` first, or it waits")
    road = at_once(source, serving_source(ledger)) or "shadow, then the canary's steps, of one shopper per arm at least"
    typer.echo(f"next: warm-up, then {road}; `caravan canary watch` shows it")


def sign_in_another(s: Settings, user: str) -> str:
    """Sign a second person in, never with the first one's password."""
    from caravan.cli.release import sign_in

    path = Path(os.environ[SECOND_FILE]) if os.environ.get(SECOND_FILE) else None
    if path is None and (password := os.environ.get(SECOND)):
        return _with_password(s, user, password)
    if path is None:
        return _with_password(s, user, str(typer.prompt(f"Password of {user}", hide_input=True, err=True)))
    return sign_in.person(s, user, password_file=path)


def _with_password(s: Settings, user: str, password: str) -> str:
    """Hand a password over in a private file, which is what the sign-in reads."""
    import tempfile

    from caravan.cli.release import sign_in

    with tempfile.NamedTemporaryFile("w", prefix="caravan-", suffix=".secret") as file:  # made with mode 0600
        file.write(password)
        file.flush()
        return sign_in.person(s, user, password_file=Path(file.name))


def _foresee(s: Settings, ledger: Ledger, rules: Rules, wanted: EmergencyRequest) -> None:
    """Print what would happen; no password is asked for. Exit code 3 when it would be refused."""
    from caravan.cli.release.approve import at_once
    from releases.approval import emergency as rules_of
    from releases.rollout.freeze import frozen
    from releases.rollout.region import LiveRegion
    from releases.rollout.traffic import describe
    from releases.served_shop import serving_source

    source, digest, people = wanted.source, wanted.digest, wanted.people
    region = LiveRegion(s)
    try:
        present, said = region.split(), region.readiness()
        loaded = [slot for slot, one in said.items() if one.serves == digest]
        typer.echo(f"dry run: nothing is changed. Emergency release of {source}:")
        typer.echo(f"  release      {digest[:12]}: {ledger.state(source, digest)} -> approved")
        typer.echo(f"  people       {people[0]} and {people[1]}; no password was asked for now")
        typer.echo(f"  traffic now  {describe(present) if present else 'no routes'}")
        steps = f"{', '.join(map(str, CANARY_SHARE.values()))} % without waiting for exposure or proof"
        road = at_once(source, serving_source(ledger)) or steps
        typer.echo(f"  traffic then the same, until it is warm; then {road}")
        typer.echo(f"  loaded by    {', '.join(loaded) or 'no engine yet'}")
        typer.echo("  ledger       3 rows at most; one critical alert")
        if (held := frozen(ledger)) is not None:
            typer.echo(f"  attention    frozen by {held.actor}: {held.reason}; it would wait until `caravan thaw`")
        refusal = rules_of.objection(ledger, rules, wanted)
        if refusal is None:
            try:
                region.signed(digest)
            except CaravanError as error:
                refusal = f"signature: {error.what}", error.remedy
    finally:
        region.close()
    if refusal is not None:
        typer.echo(f"it would be refused: {refusal[0]} -> {refusal[1]}")
        raise typer.Exit(REFUSED)
    typer.echo("nothing would refuse it")
