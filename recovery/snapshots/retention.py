"""Applies retention: keeps snapshots by age, what they need, and the last two proven by a restore that answered.

Age is the difference of two times that the vault's store wrote, never the pruner's clock. Everything is listed before
anything is removed, and a listing that fails removes nothing. What a restore has chosen stays. The writer cannot
remove: this takes the credential of the administrator of the store that holds the snapshots, and bypasses the
governance lock. So a person does it, and no DAG or service can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from contracts.errors import NotFound, RecoveryError, Tampered
from contracts.settings import Settings
from recovery.shipping import journal, objects, wal
from recovery.vault import holds, vault_lock
from recovery.vault import manifest as manifests
from recovery.vault.catalog import Catalog, manifest_key
from recovery.vault.manifest import Snapshot
from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault, part_of
from recovery.vault.vault_lock import Held

#: Number of proven snapshots that stay whatever their age.
PROVEN_KEPT = 2
#: Ages up to which all snapshots stay, with the log between them; the first of each day; and the first of each week.
ALL, DAILY, WEEKLY = timedelta(days=2), timedelta(days=15), timedelta(days=64)
#: Files that are removed before the lock is asked for again.
_BATCH = 100


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
    for match in of_kind(vault.store.names("proofs/"), Kind.PROOF, vault.foreign):
        for data in vault.store.versions(match[0]):
            try:
                body = manifests.open_signed(data, match[0], s)
                found.add(int(body["sequence"]))
            except (Tampered, KeyError, ValueError, TypeError):
                continue
    return sorted(found, reverse=True)


def by_age(taken: Mapping[int, datetime], now: datetime) -> set[int]:
    """Return which snapshots stay, given when each was taken: all of two days, then one a day, then one a week.

    The newest stays, whatever its age. Of two of one time, the lower number is the first. Days and weeks are UTC.
    """
    in_order = sorted(taken, key=lambda sequence: (taken[sequence], sequence))
    first_of_day: dict[object, int] = {}
    first_of_week: dict[object, int] = {}
    for sequence in in_order:
        first_of_day.setdefault(taken[sequence].date(), sequence)
        first_of_week.setdefault(taken[sequence].isocalendar()[:2], sequence)
    stays = set(in_order[-1:]) | {max(taken, default=0)} & taken.keys()
    for limit, sequences in ((ALL, in_order), (DAILY, first_of_day.values()), (WEEKLY, first_of_week.values())):
        stays |= {sequence for sequence in sequences if now - taken[sequence] < limit}
    return stays


def prune(s: Settings, vault: Vault, *, keep: int | None = None, dry_run: bool = False) -> Pruned:
    """Remove the snapshots whose age is over, and the files only those named; with `keep`, all but the newest `keep`.

    The last proven ones stay, and what a restore has chosen. `vault` must have the credential of the administrator of
    the store that holds it: no service's credential may remove.

    Raises StoreUnavailable before anything is removed when a listing fails, RecoveryError when nothing valid would
    stay, Conflict while a snapshot is being taken or when the lock is lost, ArtifactError when the credential may not
    remove.
    """
    with vault_lock.hold(vault.store, "prune") as lock:
        catalog = Catalog(vault, s)
        found = [one for one in catalog.newest_first() if isinstance(one, Snapshot)]
        now = vault_now(vault, lock)
        taken = _taken(vault, found)
        kept, newest = _staying(vault, s, taken, now, keep), sorted(taken, reverse=True)
        # without them the log cannot be replayed; older ones that stay are restored to their own moment
        window = set(newest[:keep]) if keep else {n for n in newest if now - taken[n] < ALL} | set(newest[:1])
        staying = [one for one in found if one.sequence in kept]
        going = [one for one in found if one.sequence not in kept]
        if catalog.sequences() and not staying:
            raise RecoveryError(
                "no valid snapshot would stay", remedy="nothing is removed; see `caravan snapshot list`"
            )
        oldest = min((one for one in staying if one.sequence in window), key=lambda one: one.sequence, default=None)
        doomed = _doomed(vault, s, staying, going, oldest)
        if not dry_run:
            saved = _remove_manifests(vault, s, catalog, going, lock)
            going = [one for one in going if one.sequence not in {other.sequence for other in saved}]
            seen = {one.sequence for one in found}
            fresh = [one for one in catalog.newest_first() if isinstance(one, Snapshot) and one.sequence not in seen]
            spared = _named(vault, [*saved, *fresh])
            doomed = {key: size for key, size in doomed.items() if key not in spared}
            _remove(vault, doomed, lock)
        return Pruned(
            snapshots=tuple(one.sequence for one in going),
            kept=tuple(sorted(kept, reverse=True)),
            files=len(doomed),
            size=sum(doomed.values()),
        )


def vault_now(vault: Vault, lock: Held) -> datetime:
    """Return the time by the clock of the vault's store: when it took what is written into it now."""
    lock.demand()
    return vault.store.latest(vault_lock.KEY)


def _taken(vault: Vault, found: Iterable[Snapshot]) -> dict[int, datetime]:
    """Return when the store took each manifest, by its own clock."""
    times = vault.store.written("snapshots/")
    return {one.sequence: times[manifest_key(one.sequence)] for one in found if manifest_key(one.sequence) in times}


def _staying(vault: Vault, s: Settings, taken: Mapping[int, datetime], now: datetime, keep: int | None) -> set[int]:
    counted = [sequence for sequence in proven(vault, s) if sequence in taken][:PROVEN_KEPT]
    chosen = set(sorted(taken, reverse=True)[:keep]) if keep else by_age(taken, now)
    return chosen | set(counted) | (holds.held(vault, s, now=now) & taken.keys())


def _doomed(
    vault: Vault, s: Settings, staying: Sequence[Snapshot], going: Sequence[Snapshot], oldest: Snapshot | None
) -> dict[str, int]:
    """Return the files that only what goes names, and the log from before `oldest`, with their sizes in bytes."""
    if not going or oldest is None:
        return {}
    needed = _named(vault, staying) | _noted(vault, s, oldest)
    doomed = {**_named(vault, going, strict=False), **_outlived(vault, oldest)}
    return {key: size for key, size in doomed.items() if key not in needed}


def _remove_manifests(
    vault: Vault, s: Settings, catalog: Catalog, going: Sequence[Snapshot], lock: Held
) -> list[Snapshot]:
    """Remove what names, before what is named; return those that a restore chose meanwhile, which are put back."""
    for one in going:
        lock.demand()
        vault.store.remove(manifest_key(one.sequence))
    chosen = holds.held(vault, s, now=vault_now(vault, lock)) if going else set()
    saved = [one for one in going if one.sequence in chosen]
    for one in saved:
        catalog.add(one)
    return saved


def _remove(vault: Vault, doomed: Iterable[str], lock: Held) -> None:
    """Remove files in batches, each only while the lock is ours."""
    left = iter(doomed)
    while batch := list(islice(left, _BATCH)):
        lock.demand()
        for key in batch:
            vault.store.remove(key)


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


def _noted(vault: Vault, s: Settings, oldest: Snapshot) -> dict[str, int]:
    """Return copies of objects newer than `oldest`, which no snapshot lists yet."""
    noted = journal.since(vault, s, oldest.system, oldest.at, None)
    return {part.key: part.size for part in map(part_of, noted.values())}


def _outlived(vault: Vault, oldest: Snapshot) -> dict[str, int]:
    """Return WAL and journal notes that are older than what a restore of `oldest`, or of a newer one, could need.

    Files that a snapshot lists are counted elsewhere. The event log stays in full.
    """
    sizes = {key: stored.size for key, stored in vault.here(f"wal/{oldest.system}/").items()}
    start = oldest.backups[-1].start
    found = {
        piece.key: sizes.get(piece.key, 0) for piece in wal.pieces(vault, oldest.system) if piece.end <= start
    }  # fmt: skip
    notes = {key: stored.size for key, stored in vault.here(f"journal/{oldest.system}/").items()}
    before = int(oldest.at.timestamp() * 1e6)
    matches = of_kind(sorted(notes), Kind.NOTE, vault.foreign)
    return found | {match[0]: notes[match[0]] for match in matches if int(match[2]) < before}
