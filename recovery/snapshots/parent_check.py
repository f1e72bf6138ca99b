"""Checks what a new snapshot may build upon: the intact files of its parent, the snapshot before.

Known content is not uploaded twice, and backups build on one another. So a copy that rotted in the vault, or that
somebody removed with the store's own credential, would be missing from every later snapshot: such copies are looked
for first, and uploaded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import NotFound, Tampered
from recovery.shipping import event_log, objects
from recovery.shipping.objects import Inventory
from recovery.vault import presence
from recovery.vault.manifest import Backup, Segment, Snapshot
from recovery.vault.vault import Vault, object_key, part_of


@dataclass(frozen=True, kw_only=True)
class ParentCheck:
    """Objects, backups and segments of the event log that need not be uploaded again.

    `backups` is empty unless all of them are intact.
    """

    objects: Inventory
    backups: tuple[Backup, ...] = ()
    events: tuple[Segment, ...] = ()


def check_parent(
    vault: Vault, parent: Snapshot | None, home: Path, *, deep: bool, tell: Callable[[str], None]
) -> ParentCheck:
    """Check what `parent` holds in the vault, reading every byte if `deep`.

    Damaged pieces of the event log are uploaded again at once, from the region's files below `home`.
    """
    if deep:
        vault.checked = set()
    if parent is None:
        return ParentCheck(objects={})
    try:
        known = objects.read_inventory(vault, parent.objects.inventory)
    except (NotFound, Tampered) as error:
        tell(f"{error.what}: all objects are looked at")
        known = {}
    events = [segment.part for segment in parent.events]
    # a deep look comes with a full backup, which needs none of those before
    backups = [] if deep else [part for one in parent.backups for part in (*one.parts, one.manifest)]

    def looked(done: int, whole: int) -> None:
        if deep and (done % 50 == 0 or done == whole):
            tell(f"{done} of {whole} files read again")

    wrong = presence.damaged(vault, [*map(part_of, known.values()), *events, *backups], deep=deep, progress=looked)
    if deep:
        vault.checked = {object_key(entry.sha256) for entry in known.values()} - wrong.keys()
    damaged = [segment for segment in parent.events if segment.part.key in wrong]
    mended = event_log.repair(vault, parent.system, home, damaged, parent.events) if deep or damaged else set()
    if wrong or mended:
        first = next(iter(wrong.values()), min(mended, default=""))
        tell(f"{len(wrong.keys() | mended)} files are damaged, and go over again where the region has them: {first}")
    return ParentCheck(
        objects={name: entry for name, entry in known.items() if object_key(entry.sha256) not in wrong},
        backups=() if any(part.key in wrong for part in backups) else parent.backups,
        events=tuple(segment for segment in parent.events if segment.part.key not in mended),
    )
