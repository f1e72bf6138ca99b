"""Applies retention: keeps the newest snapshots, what they need, and the last two proven by a restore that answered.

Age goes by sequence, not by clock. Everything is listed before anything is removed, and a listing that fails removes
nothing. The writer cannot remove: this takes the credential of the administrator of the store that holds the
snapshots, and bypasses the governance lock. So a person does it, and no DAG or service can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.errors import NotFound, RecoveryError, Tampered
from contracts.settings import Settings
from recovery.shipping import journal, objects
from recovery.vault import manifest as manifests
from recovery.vault import vault_lock
from recovery.vault.catalog import Catalog, manifest_key
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import Vault, part_of

#: Number of proven snapshots that stay whatever `keep` says.
PROVEN_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Sequence numbers that were removed and that stay; files and bytes that were removed."""

    snapshots: tuple[int, ...]
    kept: tuple[int, ...]
    files: int
    size: int


def prove(vault: Vault, s: Settings, snapshot: Snapshot, evidence: dict[str, object]) -> None:
    """Record, signed, that a snapshot was restored and answered."""
    at = datetime.now(UTC)
    body = {"sequence": snapshot.sequence, "root": snapshot.root, "at": at.isoformat(), "evidence": evidence}
    key = f"proofs/{snapshot.sequence:08d}-{int(at.timestamp() * 1e6):016d}.json"
    vault.store.put(key, manifests.sign(body, s), if_absent=True)


def proven(vault: Vault, s: Settings) -> list[int]:
    """Return the snapshots that were restored and answered, newest first; proofs that we did not sign are ignored."""
    found = set()
    for name in vault.store.names("proofs/"):
        for data in vault.store.versions(name):
            try:
                body = manifests.open_signed(data, name, s)
                found.add(int(body["sequence"]))
            except (Tampered, KeyError, ValueError):
                continue
    return sorted(found, reverse=True)


def prune(s: Settings, vault: Vault, *, keep: int, dry_run: bool = False) -> Pruned:
    """Remove all but the newest `keep` snapshots and the last proven ones, and the files only the removed ones named.

    `vault` must have the credential of the administrator of the store that holds it: no service's credential may
    remove.

    Raises StoreUnavailable before anything is removed when a listing fails, RecoveryError when nothing valid would
    stay, Conflict while a snapshot is being taken, ArtifactError when the credential may not remove.
    """
    with vault_lock.hold(vault.store, "prune"):
        catalog = Catalog(vault, s)
        sequences = catalog.sequences()
        kept = _staying(sequences, proven(vault, s), keep)
        found = list(catalog.newest_first())
        staying = [one for one in found if isinstance(one, Snapshot) and one.sequence in kept]
        going = [one for one in found if isinstance(one, Snapshot) and one.sequence not in kept]
        if sequences and not staying:
            raise RecoveryError(
                "no valid snapshot would stay", remedy="nothing is removed; see `caravan snapshot list`"
            )
        if not going:
            return Pruned(snapshots=(), kept=tuple(kept), files=0, size=0)
        needed = _named(vault, staying) | _noted(vault, s, staying)
        doomed = {key: size for key, size in _named(vault, going, strict=False).items() if key not in needed}
        doomed |= _outlived(vault, staying)
        if not dry_run:
            for one in going:  # first what names, then what is named: no manifest is ever left without its files
                vault.store.remove(manifest_key(one.sequence))
            for key in doomed:
                vault.store.remove(key)
        return Pruned(
            snapshots=tuple(one.sequence for one in going),
            kept=tuple(kept),
            files=len(doomed),
            size=sum(doomed.values()),
        )


def _staying(sequences: Sequence[int], proofs: Sequence[int], keep: int) -> list[int]:
    counted = [sequence for sequence in proofs if sequence in sequences][:PROVEN_KEPT]
    return sorted({*sequences[:keep], *counted}, reverse=True)


def _named(vault: Vault, snapshots: Sequence[Snapshot], *, strict: bool = True) -> dict[str, int]:
    """Return every file that one of these snapshots needs, with its size in bytes; the event log is left out.

    Raises NotFound or Tampered when a list cannot be read; unless `strict`, what it names stays unknown.
    """
    found: dict[str, int] = {}
    for one in snapshots:
        try:
            inventory = objects.read_inventory(vault, one.objects.inventory)
        except (NotFound, Tampered):
            if strict:
                raise
            inventory = {}
        parts = [*one.parts(), *(part_of(entry) for entry in inventory.values())]
        found |= {part.key: part.size for part in parts if not part.key.startswith("logs/")}
    return found


def _noted(vault: Vault, s: Settings, staying: Sequence[Snapshot]) -> dict[str, int]:
    """Return copies of objects newer than the oldest snapshot that stays, which no snapshot lists yet."""
    oldest = min(staying, key=lambda one: one.sequence)
    noted = journal.since(vault, s, oldest.system, oldest.at, None)
    return {part.key: part.size for part in map(part_of, noted.values())}


def _outlived(vault: Vault, staying: Sequence[Snapshot]) -> dict[str, int]:
    """Return WAL and journal notes that are older than anything that stays could need.

    The event log stays in full.
    """
    oldest = min(staying, key=lambda one: one.sequence)
    start = min(one.backups[-1].start for one in staying if one.system == oldest.system)
    found = {}
    for stored in vault.store.list(f"wal/{oldest.system}/"):
        if int(stored.key.rpartition("-")[2], 16) <= start:
            found[stored.key] = stored.size
    for stored in vault.store.list(f"journal/{oldest.system}/"):
        if int(stored.key.rpartition("/")[2].removesuffix(".json")) / 1e6 < oldest.at.timestamp():
            found[stored.key] = stored.size
    return found
