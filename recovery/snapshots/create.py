"""Takes a snapshot: files first, then the consistency point, then the closure check, the manifest last.

If it is killed at any point, it leaves files that no manifest names and no snapshot; the next one reuses what is there.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from contracts.errors import NotFound, RecoveryError, Tampered
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.shipping import base_backup, event_log, objects, wal
from recovery.snapshots import consistency_point, references
from recovery.snapshots.parent_check import check_parent
from recovery.vault import vault_lock
from recovery.vault.catalog import Catalog
from recovery.vault.encryption import fingerprint
from recovery.vault.manifest import Backup, Objects, Snapshot, root_of
from recovery.vault.vault import Vault
from recovery.vault.vault_lock import Held

#: Called with the step's name and a message about its progress.
Progress = Callable[[str, str], None]
#: Seconds that a snapshot waits for another one, or for the replicator, to release the vault lock.
VAULT_LOCK_TIMEOUT_S = 120.0
_NAMED = ("bucket", "mlflow_bucket", "shop", "feature_engine", "approvers_required", "canary_policy", "reviewers")


def silent(_step: str, _what: str) -> None:
    """Report no progress."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A snapshot that was taken; `moved` is the bytes uploaded for it, in `seconds`."""

    snapshot: Snapshot
    moved: int
    seconds: float

    @property
    def full(self) -> bool:
        return self.snapshot.full_at == self.snapshot.at


def create(
    s: Settings, machine: Machine, *, full: bool = False, daily: bool = True, progress: Progress = silent
) -> Taken:
    """Take a snapshot of the region `s.region` into the vault.

    The database is uploaded as an incremental backup on top of the snapshot before, unless that one is of another
    cluster or the chain is long. A `full` snapshot, which with `daily` the first of a day (UTC) also is, trusts
    nothing of those before: the backup is a full one, every byte in the vault is read, and what is damaged there is
    uploaded again. Raises NotWhole when something that a row names is missing, Tampered when an object of the region
    changed at rest, Conflict when another snapshot was faster, StoreUnavailable, RecoveryError.
    """
    began, vault = time.monotonic(), Vault.of(s)
    with vault_lock.hold(vault.store, f"snapshot of {s.region}", patience=VAULT_LOCK_TIMEOUT_S) as lock:
        try:
            snapshot = _create(s, vault, machine, lock, full=full, daily=daily, progress=progress)
        except (NotFound, Tampered) as error:
            if not vault.unreadable:
                raise  # it is not the vault where something is damaged
            progress("vault", f"{error.what}: taking a full one")
            snapshot = _create(s, vault, machine, lock, full=True, daily=daily, progress=progress)
    if vault.foreign:
        progress("vault", vault.foreign.sentence())
        vault.foreign.alert(s)
    return Taken(snapshot=snapshot, moved=vault.moved, seconds=time.monotonic() - began)


def _create(
    s: Settings, vault: Vault, machine: Machine, lock: Held, *, full: bool, daily: bool, progress: Progress
) -> Snapshot:
    catalog = Catalog(vault, s)
    sequences = catalog.sequences()
    system, timeline, _ = wal.identify(s)
    # another region's, or that of a region made again, says nothing about ours
    parent = catalog.newest(system)
    if sequences and (parent is None or parent.sequence != sequences[0]):
        after = f"goes on from {parent.id}" if parent else "begins again"
        progress("parent", f"snapshot {sequences[0]} is not valid, or of another database; this one {after}")
    full = full or parent is None or (daily and _day_of(parent.full_at) < datetime.now(UTC).date())
    base = check_parent(vault, parent, s.paths.home, deep=full, tell=lambda text: progress("vault", text))

    def copied(done: int, whole: int) -> None:
        progress("objects", f"{done} of {whole} new objects")

    stores, staging = objects.buckets(s), s.cache / "snapshots"
    inventory = objects.list_buckets(stores, vault, base.objects, staging, progress=copied)
    progress("objects", f"{len(inventory)} objects are in the vault")
    shipper_position = wal.Shipper(s, vault).ensure_slot()  # from here on the log is kept for us
    below = () if full or parent is None or parent.timeline != timeline else base.backups
    chain = _database(s, vault, machine, below, system, progress=progress)
    taken = consistency_point.take_consistency_point(s)
    at = datetime.now(UTC)
    wal.await_shipped(s, vault, taken.position, tell=lambda text: progress("log", text))
    log = wal.list_segments(vault, system, timeline, chain[-1].start, taken.position)
    progress("log", f"{(taken.position - max(chain[-1].start, shipper_position)) / 1e6:.1f} MB of log up to the cut")
    # what rows at the cut name was published before them, so a second look has it
    inventory = objects.list_buckets(stores, vault, inventory, staging, progress=copied)
    event_log.ship(vault, system, s.paths.home, known=base.events)
    event_log.merge(vault, system, s.paths.home, known=base.events)
    events = event_log.list_segments(vault, system, base.events)
    progress("closure", "looking for everything that rows and pointers name")
    references.demand(references.missing(vault, inventory, s.bucket, releases=taken.releases, signed=taken.signed))
    listed = Objects(
        count=len(inventory),
        size=sum({entry.sha256: entry.size for entry in inventory.values()}.values()),
        inventory=objects.keep_inventory(vault, inventory),
    )
    unfinished = Snapshot(
        sequence=catalog.next_free(),
        parent=parent.sequence if parent else None,
        at=at, region=s.region, epoch=taken.epoch, commit=_commit(), system=system, timeline=timeline,
        cut=taken.position, backups=chain, log=log, events=events, tables=taken.tables, objects=listed,
        serving=_serving(s), settings={name: getattr(s, name) for name in _NAMED},
        keys={name: fingerprint(value) for name, value in sorted(machine.keys().items())},
        versions=_versions(s), full_at=at if full or parent is None else parent.full_at, root="",
    )  # fmt: skip
    snapshot = replace(unfinished, root=root_of(unfinished.parts(), inventory.values()))
    lock.demand()  # who was suspended may have lost it, and something below may be pruned since
    catalog.add(snapshot)
    progress("manifest", f"snapshot {snapshot.id} is whole")
    return snapshot


def _day_of(at: datetime | None) -> date:
    return at.date() if at is not None else date.min


def _database(
    s: Settings, vault: Vault, machine: Machine, below: tuple[Backup, ...], system: str, *, progress: Progress
) -> tuple[Backup, ...]:
    before = below if len(below) < base_backup.LONGEST_CHAIN else ()

    def read(total: int) -> None:
        progress("database", f"{total / 1e6:.0f} MB read")

    prefix = f"database/{system}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    if before:
        try:
            return (*before, base_backup.take(s, vault, machine, prefix, before[-1], progress=read))
        except RecoveryError as error:
            # summaries of the log are kept for ten days, and a failover starts another timeline
            progress("database", f"in full, because it cannot be incremental: {error.what}")
            prefix = f"{prefix}-full"
    return (base_backup.take(s, vault, machine, prefix, None, progress=read),)


def _serving(s: Settings) -> dict[str, Any]:
    """Return the traffic split as it is routed now.

    What should be served is in the ledger, and the ledger is authoritative.
    """
    path = s.paths.edge / "split.yaml"
    return {"split": path.read_text() if path.is_file() else ""}


def _versions(s: Settings) -> dict[str, str]:
    with closing(wal.connect(s)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = str(cursor.fetchone()[0])
    return {"postgresql": server, "python": platform.python_version()}


def _commit() -> str:
    """Return the commit of the code, as the image or git reports it; empty when neither does."""
    if given := os.environ.get("CARAVAN_COMMIT"):
        return given
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()
