"""Sweeps one region: says what nobody names, and removes it when asked to; one sweeper at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from artifacts.manifest import Manifest
from artifacts.object_store import ObjectStore
from contracts.errors import CaravanError, Conflict, StoreUnavailable, Tampered
from contracts.settings import Settings
from recovery.erasure.objects import Erasable
from recovery.file_lock import hold
from recovery.shipping import wal
from recovery.snapshots.consistency_point import registered_digests
from recovery.sweeping.files import find_files, remove_file
from recovery.sweeping.objects import find_objects, pointed, remove_objects
from recovery.vault import vault_lock
from recovery.vault.vault import Vault


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """Files or objects, and bytes, per kind; `removed` says whether they are gone. `undone` gives errors by part."""

    number: dict[str, int]
    size: dict[str, int]
    removed: bool
    undone: dict[str, str]


def sweep(
    s: Settings, *, now: datetime, apply: bool = False, named: Callable[[Settings], set[str]] | None = None,
    store: Erasable | None = None,
) -> SweepReport:  # fmt: skip
    """Find what nobody names and is older than `s.sweep_after_days`; with `apply`, remove it.

    Without the database or the object store nobody can tell what is named: then copies and objects stay, and that is
    told. Raises Conflict while another sweeper is at work.
    """
    before = now - timedelta(days=s.sweep_after_days)
    number, size, undone = Counter[str](), Counter[str](), dict[str, str]()
    bucket: Erasable = store or ObjectStore.of(s)

    def keep() -> set[str]:
        return (named or named_by_rows)(s) | _remembered(s)

    with hold(s.paths.home / "sweep.lock", _another):
        try:
            for one in find_files(s, keep() | pointed(bucket), before.timestamp()):
                number[one.kind] += 1
                size[one.kind] += one.size
                if apply:
                    remove_file(one)
        except (CaravanError, OSError) as error:
            undone["files"] = str(error)
        try:
            doomed = find_objects(bucket, keep(), before)
            gone = list(doomed)
            if apply and doomed:
                with _vault_lock(s) as demand:
                    gone = remove_objects(bucket, doomed, lambda: find_objects(bucket, keep(), before), demand)
            for key in gone:
                number[kind := f"objects: {key.partition('/')[0]}"] += 1
                size[kind] += doomed[key]
        except (CaravanError, OSError) as error:
            undone["objects"] = str(error)
    return SweepReport(number=dict(number), size=dict(size), removed=apply, undone=undone)


def named_by_rows(s: Settings) -> set[str]:
    """Return the digests that a state of the ledger or a registered version names. Raises RecoveryError."""
    with closing(wal.connect(s, database="caravan")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('release_states') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return set(registered_digests(s))
        cursor.execute("SELECT digest FROM release_states")
        return {str(digest) for (digest,) in cursor.fetchall()} | registered_digests(s)


def _remembered(s: Settings) -> set[str]:
    """Return what engines would serve without the object store; one that is unreadable serves nobody."""
    found = set()
    for path in s.paths.engine.glob("*.json"):
        with suppress(Tampered, FileNotFoundError):
            found.add(Manifest.from_bytes(path.read_bytes()).digest)
    return found


@contextmanager
def _vault_lock(s: Settings) -> Iterator[Callable[[], None]]:
    """Hold the vault lock, so that no snapshot is taken of what is being removed; without a vault none is."""
    try:
        held = vault_lock.hold(Vault.of(s).store, f"sweep of {s.region}", patience=120.0)
        lock = held.__enter__()
    except StoreUnavailable:
        yield lambda: None
        return
    try:
        yield lock.demand
    finally:
        held.__exit__(None, None, None)


def _another(who: str) -> None:
    raise Conflict(f"another sweeper is at work ({who})", remedy="wait until it is done")
