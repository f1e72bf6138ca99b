"""Takes the answer of a signed-in person about one digest: `caravan release approve` and `reject`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import NotApproved, NotFound
from contracts.exit_codes import REFUSED
from contracts.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifacts.ledger import Ledger
    from releases.approval.approval import ApprovalAnswer, ApprovalOutcome, Rules

Digest = Annotated[str, typer.Argument(help="The digest, or 12 digits or more of its beginning.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words; it stays in the ledger.")]
As = Annotated[str, typer.Option("--as", help="Who answers; asked for the password.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="Read the password here; default: CARAVAN_USER_PASSWORD_FILE.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and what would refuse it.")]


def approve(
    digest: Digest, reason: Reason, user: As = "reviewer", password_file: PasswordFile = None, dry_run: DryRun = False
) -> None:
    """Let a release that waits for an answer go on. Asks who you are."""
    _answer(digest, reason, user, password_file, approves=True, dry_run=dry_run)


def reject(
    digest: Digest, reason: Reason, user: As = "reviewer", password_file: PasswordFile = None, dry_run: DryRun = False
) -> None:
    """Stop a release that waits for an answer, for good. Asks who you are."""
    _answer(digest, reason, user, password_file, approves=False, dry_run=dry_run)


def _answer(digest: str, reason: str, user: str, password_file: Path | None, *, approves: bool, dry_run: bool) -> None:
    from artifacts.ledger import Ledger
    from caravan.cli.release import sign_in
    from releases.approval import approval
    from releases.approval.approval import ApprovalAnswer, Rules
    from releases.served_shop import serving_source

    s = settings()
    ledger, rules = Ledger.of(s), Rules.of(s)
    source, found = resolve(ledger, digest)
    name = user.strip() if dry_run else sign_in.person(s, user, password_file=password_file)
    given = ApprovalAnswer(
        source=source, digest=found, named=digest, person=name, door="command line", approves=approves, reason=reason
    )
    if dry_run:
        _foresee(ledger, rules, given)
    else:
        outcome = approval.answer(ledger, rules, given)
        typer.echo(f"{name} {'approves' if approves else 'rejects'} release {found[:12]} of {source}")
        people = approval.counted(ledger, rules, source, found)
        typer.echo(_next(outcome, given, rules, people, serving=serving_source(ledger)))


def resolve(ledger: Ledger, beginning: str) -> tuple[str, str]:
    """Find the one release whose digest begins like this: its source and digest."""
    from releases.approval.approval import SHORTEST_DIGEST

    beginning = beginning.strip().lower()
    if len(beginning) < SHORTEST_DIGEST:
        raise NotApproved(
            f"{beginning or 'nothing'} is too short to name a release",
            remedy=f"give at least {SHORTEST_DIGEST} digits of it",
        )
    found = [(p.source, p.digest) for p in ledger.releases() if p.digest.startswith(beginning)]
    if not found:
        raise NotFound(f"no release begins with {beginning[:64]}", remedy="`caravan release list` shows them all")
    if len(found) > 1:
        raise NotFound(f"{len(found)} releases begin with {beginning}", remedy="give more of the digest")
    return found[0]


def _foresee(ledger: Ledger, rules: Rules, given: ApprovalAnswer) -> None:
    """Print what would happen; nothing is written, and no password is asked for."""
    from releases.approval.preview import preview
    from releases.served_shop import serving_source

    found = preview(ledger, rules, given)
    typer.echo(f"dry run: release {given.digest[:12]} of {given.source} is {found.before}")
    if found.outcome is None:
        what, remedy = found.objection or ("", "")
        typer.echo(f"it would be refused, and the refusal recorded: {what} -> {remedy}")
        raise typer.Exit(REFUSED)
    if found.approvers:
        typer.echo(f"approved so far by: {', '.join(found.approvers)}")
    said = "approve" if given.approves else "reject"
    typer.echo(f"{given.person} would {said} it: {found.rows} new row{'' if found.rows == 1 else 's'} in the ledger")
    typer.echo(_next(found.outcome, given, rules, found.approvers_after, serving=serving_source(ledger)))


def _next(
    outcome: ApprovalOutcome, given: ApprovalAnswer, rules: Rules, people: Sequence[str], *, serving: str | None
) -> str:
    """Say what follows an answer; `serving` is the shop whose champion serves the region."""
    if outcome.missing:
        others = sorted(rules.reviewers - {given.person} - set(people))
        return f"{outcome.missing} more must approve: {', '.join(others)}; until then it stays {outcome.state}"
    if outcome.state == "approved":
        road = at_once(given.source, serving) or "shadow, then the canary's steps"
        return f"next: {road}; `caravan release show {given.digest[:12]}` follows it"
    if outcome.state == "rejected":
        return "next: nothing; a rejected release never comes back, a newer one may"
    return f"it stays {outcome.state}"


def at_once(source: str, serving: str | None) -> str:
    """Say why an approved release meets all shoppers without a canary; empty where its own champion serves."""
    if serving == source:
        return ""
    whose = f"in place of {serving}'s" if serving else "the first one"
    return f"all shoppers at once, {whose}, because there is no champion of {source} to compare it with"
