"""Verifies that a snapshot is complete: signature, existence, size; with `deep` every byte, decrypting every part.

The error names the first bad file; `problems` names all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.errors import NotFound, Tampered
from contracts.settings import Settings
from recovery.shipping import objects
from recovery.snapshots import references
from recovery.vault import presence
from recovery.vault.manifest import Snapshot, root_of
from recovery.vault.vault import Vault, part_of


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """What was checked, in files and bytes, and what is wrong, one sentence per file."""

    files: int
    size: int
    problems: tuple[str, ...]


def verify(
    vault: Vault,
    snapshot: Snapshot,
    s: Settings,
    *,
    deep: bool = False,
    event_log: bool = True,
    progress: presence.Progress = presence.silent,
) -> VerificationReport:
    """Check every file of a snapshot. The manifest's own signature was checked when it was read.

    Without `deep`: each file exists with its size, the list of objects is the one that was signed, and everything
    that its pointers name is in it. With `deep`: also every byte. Pieces of the event log are skipped unless
    `event_log`.
    """
    try:
        inventory = objects.read_inventory(vault, snapshot.objects.inventory)
    except (NotFound, Tampered) as error:
        return VerificationReport(files=1, size=0, problems=(error.what,))
    wrong = []
    if root_of(snapshot.parts(), inventory.values()) != snapshot.root:
        wrong.append(f"the files of {snapshot.id} are not those that were signed")
    parts = {part.key: part for part in [*snapshot.parts(), *map(part_of, inventory.values())]}
    if not event_log:
        parts = {key: part for key, part in parts.items() if not key.startswith("logs/")}
    wrong += presence.damaged(vault, parts.values(), deep=deep, progress=progress).values()
    if not wrong:
        try:
            wrong += references.missing(vault, inventory, _bucket(snapshot, s), releases=(), signed=())
        except (NotFound, Tampered) as error:
            wrong.append(error.what)
    return VerificationReport(files=len(parts) + 1, size=sum(p.size for p in parts.values()), problems=tuple(wrong))


def demand(vault: Vault, snapshot: Snapshot, s: Settings, *, deep: bool = False, event_log: bool = True) -> None:
    """Raise Tampered with the first bad file unless the snapshot is complete."""
    report = verify(vault, snapshot, s, deep=deep, event_log=event_log)
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise Tampered(
            f"snapshot {snapshot.id} is not whole: {report.problems[0]}{more}", remedy="take the snapshot before it"
        )


def _bucket(snapshot: Snapshot, s: Settings) -> str:
    return str(snapshot.settings.get("bucket", s.bucket))
