"""Erases shoppers from a region's buckets: publishes partitions again without them, and removes the old files.

Every object is searched, not only what a pointer names: a partition that was replaced long ago is still there. A
partition that a pointer names is published without the rows, and the pointer is moved by compare-and-set. Then the old
manifest is removed, and those files with rows of the shopper that no other manifest names. A listing that fails removes
nothing. Other manifests that name the old digest as their origin stay as history.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from artifacts.lake import write_table
from artifacts.manifest import Manifest
from artifacts.publish import Store, blob_key, manifest_key, point, publish, read_manifest, refs, resolve
from contracts.errors import Conflict, NotFound
from contracts.events import EVENTS
from feature_repo import tables
from feature_repo.schemas import SCHEMAS
from ingestion.rules.quarantine import QUARANTINED, counts
from recovery.erasure import list_of_erased
from recovery.erasure.rows import ErasureSubject, count, rows_of, without
from recovery.shipping.objects import PASSED_OVER

_TRANSFERS = 8
#: Objects that hold no row: pointers, signatures, and our own encrypted list.
_NEVER = (*PASSED_OVER, "refs/", "signatures/", list_of_erased.PREFIX, list_of_erased.RECEIPTS)
#: Landed tables are rewritten before what is made from them, so that each day can name its new origin.
_FIRST = ("landing-events", "events")


class Erasable(Store, Protocol):
    """A bucket from which objects can be removed."""

    def delete(self, key: str) -> None: ...


@dataclass
class FoundObjects:
    """Rows of the erased per object, and every manifest of the bucket that holds the lake."""

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def held_by(self, bucket: str) -> dict[str, int]:
        """Return the number of rows per manifest, for manifests that name a file with some."""
        blobs = {key: rows for (of, key), rows in self.rows.items() if of == bucket}
        found = {
            digest: sum(blobs.get(blob_key(file.sha256), 0) for file in manifest.files)
            for digest, manifest in self.manifests.items()
        }
        return {digest: rows for digest, rows in found.items() if rows}

    def kinds(self, bucket: str) -> dict[str, str]:
        """Return the lake table or the kind of artifact to which each file belongs, by the key of the file."""
        return {
            blob_key(file.sha256): _kind(self.manifests[digest])
            for digest in self.held_by(bucket)
            for file in self.manifests[digest].files
        }

    def by_table(self, bucket: str) -> Counter[str]:
        """Count rows per lake table, kind of artifact, or bucket; files that no manifest names are `unnamed files`."""
        found: Counter[str] = Counter()
        named: set[str] = set()
        for digest, rows in self.held_by(bucket).items():
            manifest = self.manifests[digest]
            found[_kind(manifest)] += rows
            named |= {blob_key(file.sha256) for file in manifest.files}
        for (of, key), rows in self.rows.items():
            if of != bucket or key not in named:
                found["unnamed files" if of == bucket and key.startswith("blobs/") else f"bucket {of}"] += rows
        return found


class Buckets:
    """The buckets of one region; `bucket` is the one with the lake."""

    def __init__(self, stores: Mapping[str, Erasable], bucket: str, folder: Path) -> None:
        self._stores = stores
        self._lake = stores[bucket]
        self.bucket = bucket
        self._folder = folder

    def look(self, whom: ErasureSubject) -> FoundObjects:
        """Find every object with rows of the erased.

        Raises StoreUnavailable, because a listing never ends early, and Tampered.
        """
        keys = [
            (name, stored.key)
            for name, store in self._stores.items()
            for stored in store.list("")
            if not stored.key.startswith(_NEVER)
        ]
        found = FoundObjects(manifests=self._manifests({}))
        aside = {
            blob_key(file.sha256) for m in found.manifests.values() for file in m.files if file.path == QUARANTINED
        }
        # quarantined rows last: by then the shoppers' sessions are known
        for last in (False, True):
            chosen = [(name, key) for name, key in keys if (name == self.bucket and key in aside) == last]
            with ThreadPoolExecutor(_TRANSFERS) as pool:
                rows = pool.map(lambda one: self._count(one[0], one[1], whom), chosen)
                found.rows |= {one: number for one, number in zip(chosen, rows, strict=True) if number}
        return found

    def rows(self, found: FoundObjects, whom: ErasureSubject) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every row that was found, once per object, with the kind under which `by_table` counts it."""
        kinds = found.kinds(self.bucket)
        for bucket, key in sorted(found.rows):
            other = "unnamed files" if bucket == self.bucket and key.startswith("blobs/") else f"bucket {bucket}"
            kind = kinds.get(key, other) if bucket == self.bucket else other
            with suppress(NotFound), self._copy(self._stores[bucket], key) as path:
                yield from ((kind, {**row, "object": key}) for row in rows_of(path, whom))

    def erase(self, found: FoundObjects, whom: ErasureSubject) -> None:
        """Publish again what pointers name, move the pointers, remove what held the rows. Raises StoreUnavailable."""
        held = found.held_by(self.bucket)
        old = {d: m for d, m in found.manifests.items() if d in held and m.kind == "partition"}
        pointing: dict[str, list[str]] = {}
        for ref, digest in self._pointers():
            if digest in old:
                pointing.setdefault(digest, []).append(ref)
        now: dict[str, str] = {}
        for digest in sorted(pointing, key=lambda d: (_order(old[d]), d)):
            made = self._again(old[digest], whom, now)
            if made is not None:
                now[digest] = made
                for ref in pointing[digest]:
                    with suppress(Conflict):  # somebody replaced it meanwhile; the next look sees theirs
                        point(self._lake, ref, made, expected=digest)
        self._remove(found, old)

    def _count(self, bucket: str, key: str, whom: ErasureSubject) -> int:
        try:
            with self._copy(self._stores[bucket], key) as path:
                return count(path, whom)
        except NotFound:
            return 0  # it was there when we listed

    def _copy(self, store: Store, key: str) -> _Copy:
        return _Copy(store, key, self._folder)

    def _again(self, manifest: Manifest, whom: ErasureSubject, now: Mapping[str, str]) -> str | None:
        """Publish a partition without the rows; return its digest, or None when a file in it cannot be rewritten."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".erasing-") as folder:
            root, gone = Path(folder), dict[str, pa.Table]()
            meta = {name: _renamed(value, now) for name, value in manifest.meta.items()}
            for file in manifest.files:
                path = root / file.path
                self._lake.download(blob_key(file.sha256), path)
                if not count(path, whom):
                    continue
                if path.suffix != ".parquet":
                    return None
                stays, gone[file.path] = without(path, whom)
                _write(stays, path, str(meta.get("table", "")))
                meta = _recounted(meta, file.path, stays, gone[file.path])
            return publish(self._lake, root, kind=manifest.kind, meta=meta).digest

    def _remove(self, found: FoundObjects, old: Mapping[str, Manifest]) -> None:
        """List everything again, then remove the manifests and the files that nothing else names."""
        pointed = {digest for _, digest in self._pointers()}
        going = [digest for digest in old if digest not in pointed]
        present = self._manifests(found.manifests)
        for digest in going:
            self._lake.delete(manifest_key(digest))
            present.pop(digest, None)
        named = {blob_key(file.sha256) for manifest in present.values() for file in manifest.files}
        for bucket, key in found.rows:
            if bucket == self.bucket and key.startswith("blobs/") and key not in named:
                self._lake.delete(key)

    def _pointers(self) -> Iterator[tuple[str, str]]:
        names = [stored.key.removeprefix("refs/").removesuffix(".json") for stored in self._lake.list("refs/")]
        with ThreadPoolExecutor(_TRANSFERS) as pool:
            for name, digest in zip(names, pool.map(lambda n: resolve(self._lake, n), names), strict=True):
                if digest is not None:
                    yield name, digest

    def _manifests(self, known: Mapping[str, Manifest]) -> dict[str, Manifest]:
        """Read every manifest there is now. Raises Tampered for one whose content does not match its name."""
        listed = [s.key.rpartition("/")[2].removesuffix(".json") for s in self._lake.list("manifests/")]

        def read(digest: str) -> Manifest | None:
            with suppress(NotFound):
                return known.get(digest) or read_manifest(self._lake, digest)
            return None

        with ThreadPoolExecutor(_TRANSFERS) as pool:
            return {d: m for d, m in zip(listed, pool.map(read, listed), strict=True) if m is not None}


class _Copy:
    """A temporary copy of an object, removed at the end of the `with` block."""

    def __init__(self, store: Store, key: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._root = Path(tempfile.mkdtemp(dir=folder, prefix=".looking-"))
        self._store, self._key = store, key

    def __enter__(self) -> Path:
        try:
            self._store.download(self._key, self._root / "object")
        except BaseException:
            self.__exit__()
            raise
        return self._root / "object"

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


def sources(store: Store) -> list[str]:
    """Return the shops that have a lake in this store."""
    return sorted({name.split("/")[1] for name in refs(store, "lake")})


def _kind(manifest: Manifest) -> str:
    table = str(manifest.meta.get("table", "")) if manifest.kind == "partition" else ""
    return f"lake {table}" if table else manifest.kind


def _order(manifest: Manifest) -> int:
    table = manifest.meta.get("table")
    return _FIRST.index(table) if table in _FIRST else len(_FIRST)


def _renamed(value: Any, now: Mapping[str, str]) -> Any:
    """Return `value` with the digests of partitions that were published again replaced by the new ones."""
    if isinstance(value, dict):
        return {name: _renamed(inner, now) for name, inner in value.items()}
    return now.get(value, value) if isinstance(value, str) else value


def _write(table: pa.Table, path: Path, name: str) -> None:
    """Write the table as the package that owns it does, so that making it again gives the same bytes."""
    if name in SCHEMAS:
        tables.write(table.to_batches(), SCHEMAS[name], path)
    else:
        write_table(table.combine_chunks(), path)


def _recounted(meta: dict[str, Any], path: str, stays: pa.Table, gone: pa.Table) -> dict[str, Any]:
    """Reduce the row counts in a manifest by what was removed. What `landing-files` says of the original file stays."""
    if meta.get("table") == "landing-files":
        return meta
    fewer: Iterable[str] = ("read",) if path == QUARANTINED else ("read", "kept", "rows")
    made = {n: v - gone.num_rows if n in fewer and isinstance(v, int) else v for n, v in meta.items()}
    if path == QUARANTINED and isinstance(meta.get("quarantined"), dict):
        made["quarantined"] = counts(stays.column("reason"))
    if path != QUARANTINED and "values" in meta and set(EVENTS.names) <= set(stays.column_names):
        made["values"] = {n: stays.num_rows - stays.column(n).null_count for n in EVENTS.names}
    return made
