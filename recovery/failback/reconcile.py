"""Copies what a region had accepted and the restore of the other one lacked, before the region is rebuilt.

A region goes on accepting between the last bytes that reached the vault and its loss. If its disks survive, none of
that need be lost: events go into the active region's event log, ledger rows beside its chain as notes, and
content-addressed objects into its buckets. Repeating it adds nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from artifacts.database import answering
from artifacts.database import engine as region_database
from artifacts.files import atomic_write
from artifacts.ledger import Ledger, Move
from artifacts.manifest import Manifest, sha256_of
from artifacts.object_store import ObjectStore
from artifacts.publish import Store, blob_key
from artifacts.tables import moves
from contracts.errors import Tampered
from contracts.settings import Settings
from feature_repo import store
from recovery.erasure import logs
from recovery.erasure.list_of_erased import ErasureList, latest
from recovery.erasure.rows import ErasureSubject
from recovery.shipping import event_log, objects
from recovery.vault.bucket import TellingStore
from recovery.vault.vault import Vault, with_own_vault

#: Prefixes of content-addressed names; pointers are the active region's own.
_BY_CONTENT = ("blobs/", "manifests/")


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """Counts of what was copied; `rows` are moves and notes of the ledger."""

    events: int
    rows: int
    objects: int

    def __str__(self) -> str:
        return f"{self.events} events, {self.rows} rows of the ledger and {self.objects} objects brought over"


def reconcile(former: Settings, active: Settings, *, actor: str, tell: Callable[[str], None]) -> Reconciled:
    """Copy what `former` accepted and `active` lacks. Their databases and object stores must answer."""
    count = bring_objects(TellingStore.of(former), ObjectStore.of(active), tell)
    tell(f"{count} objects")
    rows = _rows(former, active, actor)
    tell(f"{rows} rows of the ledger")
    # in the vault of its own store lies the list as it was before the former region was lost
    vault = Vault.of(with_own_vault(active))
    entries = ErasureList(vault.sealer, own=ObjectStore.of(active), vault=vault.store).entries()
    days, fresh, many = unknown(former, active, ErasureSubject(latest(entries)))
    for day, lines in days.items():
        _add(active.paths.event_log / day, f"reconciled-{former.region}", lines)
    for source, events in fresh.items():
        store.push_events(active, source, events)
    return Reconciled(events=many, rows=rows, objects=count)


def bring_objects(former: Store, active: Store, tell: Callable[[str], None]) -> int:
    """Copy the content-addressed objects that only `former` has; return how many.

    An object damaged on disk is left behind, and so is a manifest that names a file which is not there.
    """
    count = 0
    for prefix in _BY_CONTENT:
        present = {stored.key for stored in active.list(prefix)}
        for stored in former.list(prefix):
            if stored.key in present:
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "object"
                try:
                    former.download(stored.key, path)
                except Tampered:
                    path.write_bytes(b"")
                if sha256_of(path) != objects.hash_in_name(stored.key):
                    tell(f"{stored.key} is damaged: it stays behind")
                elif prefix == "manifests/" and (lacking := _lacking(path, active)):
                    tell(f"{stored.key} stays behind: {lacking} is not there")
                else:
                    active.put(stored.key, path)
                    count += 1
    return count


def _lacking(manifest: Path, active: Store) -> str:
    """Return the path of a file that the manifest names and the store lacks, or an empty string."""
    files = Manifest.from_bytes(manifest.read_bytes()).files
    return next((file.path for file in files if active.head(blob_key(file.sha256)) is None), "")


def _rows(former: Settings, active: Settings, actor: str) -> int:
    """Add each ledger row that `active` lacks as a note that holds it whole; return how many.

    Rows are chained, so they cannot be inserted in between.
    """
    database = region_database(former)
    with answering():
        if not inspect(database).has_table(moves.name):  # a disk that was lost: a new database, without our tables
            return 0
    theirs = Ledger(database, former.region).history()
    ledger = Ledger.of(active)
    known, added = ledger.history(), 0
    hashes = {move.hash for move in known}
    hashes |= {str(move.evidence.get("hash")) for move in known if move.to_state == "reconciled"}
    for move in theirs:
        if move.hash not in hashes:
            ledger.note(move.source, move.digest, "reconciled", actor=actor, reason=_told(move), evidence=_row(move))
            added += 1
    return added


def _told(move: Move) -> str:
    return (
        f"row {move.sequence} of {move.region}, {move.at:%Y-%m-%d %H:%M:%S} UTC: {move.to_state} by {move.actor}, "
        "accepted there and not in the restore"
    )


def _row(move: Move) -> dict[str, Any]:
    return asdict(move) | {"at": move.at.isoformat()}


def unknown(
    former: Settings, active: Settings, erased: ErasureSubject
) -> tuple[dict[str, list[bytes]], dict[str, list[dict[str, Any]]], int]:
    """Find events that only `former` logged: lines per day, events per shop, and how many. Omits erased shoppers."""
    theirs, ours = former.paths.event_log, active.paths.event_log
    known = {str(event["event_id"]) for path in ours.glob("*/*.jsonl") for _, event in event_log.events(path)}
    days: dict[str, list[bytes]] = {}
    fresh: dict[str, list[dict[str, Any]]] = {}
    count, goes = 0, logs.of_events(erased)
    for path in sorted(theirs.glob("*/*.jsonl")):
        for line, event in event_log.events(path):
            if event["event_id"] in known or goes(line):
                continue
            known.add(str(event["event_id"]))
            days.setdefault(path.parent.name, []).append(line)
            row = event | {"event_time": datetime.fromisoformat(event["event_time"])}
            fresh.setdefault(str(event["source"]), []).append(row)
            count += 1
    return days, fresh, count


def _add(folder: Path, name: str, lines: list[bytes]) -> None:
    """Write one more file of the log, atomically: it is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{sum(1 for _ in folder.glob(f'{name}-*')):06d}.jsonl"
    atomic_write(path, b"".join(lines), durable=True)
