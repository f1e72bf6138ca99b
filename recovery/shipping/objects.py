"""Copies the region's buckets into the vault, once per content, and lists which object was where.

An object that still has the etag it had when it was last copied is not read. What is new is read, hashed and stored
under its hash, so the same content is uploaded once however many names it has.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

from artifacts.manifest import sha256_of
from artifacts.object_store import MULTIPART_BYTES, ObjectStore, Stored
from artifacts.publish import Store
from contracts.errors import NotFound, Tampered
from contracts.settings import Settings
from recovery.vault.manifest import Entry, Part
from recovery.vault.vault import Vault, object_key

Inventory = dict[tuple[str, str], Entry]
#: Prefixes of a store's own objects, which are not copied.
PASSED_OVER = ("health/",)
_TRANSFERS = 8


def buckets(s: Settings) -> dict[str, Store]:
    """Return the region's buckets that are backed up, by name."""
    return {name: ObjectStore.of(s, name) for name in (s.bucket, s.mlflow_bucket)}


def list_buckets(
    stores: Mapping[str, Store],
    vault: Vault,
    known: Inventory,
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Inventory:
    """Return everything in the region's buckets now, after copying what was not known into the vault.

    `progress` is called with objects copied and objects to copy. Raises StoreUnavailable when a listing fails, never
    returning a partial one. Raises Tampered when an object is not what its name says.
    """
    found: Inventory = {}
    fresh: list[tuple[str, Stored]] = []
    for bucket, store in stores.items():
        for stored in store.list(""):
            if stored.key.startswith(PASSED_OVER):
                continue
            before = known.get((bucket, stored.key))
            if before is not None and (before.etag, before.size) == (stored.etag, stored.size):
                found[bucket, stored.key] = before
            else:
                fresh.append((bucket, stored))
    kept = {entry.sha256 for entry in known.values()}

    def copy(one: tuple[str, Stored]) -> Entry | None:
        try:
            return _copy(one[0], stores[one[0]], one[1], vault, kept, folder)
        except NotFound:
            return None  # it was there when we listed

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        for done, entry in enumerate(pool.map(copy, fresh), start=1):
            if entry is not None:
                found[entry.bucket, entry.key] = entry
            progress(done, len(fresh))
    return found


def has_changed(stores: Mapping[str, Store], known: Inventory) -> bool:
    """Return whether anything in the buckets is new, different or gone since `known`.

    Only listings are read.
    """
    count = 0
    for bucket, store in stores.items():
        for stored in store.list(""):
            if not stored.key.startswith(PASSED_OVER):
                before = known.get((bucket, stored.key))
                if before is None or (before.etag, before.size) != (stored.etag, stored.size):
                    return True
                count += 1
    return count != len(known)


def _copy(bucket: str, store: Store, stored: Stored, vault: Vault, kept: set[str], folder: Path) -> Entry:
    named = hash_in_name(stored.key)
    if named in kept and named is not None:
        return Entry(bucket=bucket, key=stored.key, size=stored.size, etag=stored.etag, sha256=named)
    if stored.size <= MULTIPART_BYTES:
        data, etag = store.read(stored.key)
        sha256 = hashlib.sha256(data).hexdigest()
        _expect(bucket, stored.key, named, sha256)
        vault.keep(sha256, data)
        return Entry(bucket=bucket, key=stored.key, size=len(data), etag=etag, sha256=sha256)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        path = Path(own) / "object"
        store.download(stored.key, path)
        sha256 = sha256_of(path)
        _expect(bucket, stored.key, named, sha256)
        vault.keep(sha256, path)
        return Entry(bucket=bucket, key=stored.key, size=path.stat().st_size, etag=stored.etag, sha256=sha256)


def hash_in_name(key: str) -> str | None:
    """Return the SHA-256 that the name of a content-addressed object promises; None for other objects."""
    if key.startswith("blobs/"):
        return key.rpartition("/")[2]
    if key.startswith("manifests/"):
        return key.rpartition("/")[2].removesuffix(".json")
    return None


def _expect(bucket: str, key: str, named: str | None, found: str) -> None:
    if named is not None and named != found:
        raise Tampered(
            f"{bucket}/{key} is not what its name says: a byte changed at rest",
            remedy="restore it from an older snapshot: `caravan snapshot list`; this one is not taken",
        )


def keep_inventory(vault: Vault, inventory: Inventory) -> Part:
    """Upload the list itself, by content too: the list of an unchanged region is in the vault already."""
    rows = sorted(astuple(entry) for entry in inventory.values())
    lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    data = zlib.compress(lines.encode(), 6)
    sha256 = hashlib.sha256(data).hexdigest()
    vault.keep(sha256, data)
    return Part(key=object_key(sha256), size=len(data), sha256=sha256)


def read_inventory(vault: Vault, part: Part) -> Inventory:
    """Return the list of a snapshot's objects. Raises NotFound or Tampered."""
    try:
        rows = [json.loads(line) for line in zlib.decompress(vault.read(part)).splitlines()]
    except (zlib.error, ValueError):
        raise Tampered(f"{part.key} cannot be read", remedy="take the snapshot before it") from None
    return index(Entry(bucket=b, key=k, size=n, etag=e, sha256=h) for b, k, n, e, h in rows)


def index(entries: Iterable[Entry]) -> Inventory:
    return {(entry.bucket, entry.key): entry for entry in entries}


def changed(before: Inventory, after: Inventory) -> Sequence[Entry]:
    """Return the objects of `after` that are new or different from those in `before`."""
    return [entry for name, entry in sorted(after.items()) if before.get(name) != entry]
