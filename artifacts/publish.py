"""Publishes a directory: files first, manifest last; fetching verifies before it returns.

Everything we keep is a content-addressed directory, as git keeps its trees: `blobs/<sha256>` are the files,
`manifests/<digest>.json` exists only when every file does, and `refs/<name>.json` is a pointer to a digest that
moves by compare-and-set. So a reader sees a directory whole or not at all, the same bytes are stored once, and
publishing them again writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from artifacts.manifest import FileEntry, Manifest, checked, sha256_of
from artifacts.object_store import Stored
from contracts.errors import ArtifactError, Conflict, NotFound, Tampered

ANY: Final = "*"
VERIFIED: Final = ".verified"
_TRANSFERS = 8


class Store(Protocol):
    """The part of an object store that publishing needs; a seam, so that tests may break it on purpose."""

    def put(self, key: str, body: bytes | Path, *, if_absent: bool = False, if_match: str | None = None) -> Stored: ...
    def get(self, key: str) -> bytes: ...
    def read(self, key: str) -> tuple[bytes, str]: ...
    def download(self, key: str, path: Path) -> None: ...
    def head(self, key: str) -> Stored | None: ...
    def list(self, prefix: str) -> Iterator[Stored]: ...


def blob_key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def manifest_key(digest: str) -> str:
    return f"manifests/{digest[:2]}/{digest}.json"


def ref_key(ref: str) -> str:
    return f"refs/{checked(ref)}.json"


def publish(store: Store, directory: Path, *, kind: str, meta: dict[str, Any] | None = None) -> Manifest:
    """Put `directory` into the store; it exists for readers once its manifest does, which is written last."""
    manifest = Manifest.describe(directory, kind=kind, meta=meta)
    if not manifest.files:
        raise ArtifactError(f"{directory} is empty", remedy="an empty directory is never published")
    if store.head(manifest_key(manifest.digest)) is not None:
        return manifest

    def send(entry: FileEntry) -> None:
        present = store.head(blob_key(entry.sha256))
        if present is None or present.size != entry.size:
            store.put(blob_key(entry.sha256), directory / entry.path)

    with ThreadPoolExecutor(_TRANSFERS) as pool:
        list(pool.map(send, manifest.files))
    store.put(manifest_key(manifest.digest), manifest.to_bytes())
    with ThreadPoolExecutor(_TRANSFERS) as pool:  # again: what was there already may have been swept meanwhile
        list(pool.map(send, manifest.files))
    return manifest


def read_manifest(store: Store, digest: str) -> Manifest:
    """Read the manifest named `digest`, checked against its own name. Raises NotFound or Tampered."""
    manifest = Manifest.from_bytes(store.get(manifest_key(digest)))
    if manifest.digest != digest:
        raise Tampered(f"the manifest of {digest[:12]} was changed", remedy="restore it from a snapshot")
    return manifest


def read_file(store: Store, manifest: Manifest, path: str) -> bytes | None:
    """Read one file of a published directory, without the others; None when there is none. Raises Tampered."""
    entry = next((entry for entry in manifest.files if entry.path == path), None)
    if entry is None:
        return None
    data = store.get(blob_key(entry.sha256))
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise Tampered(f"{path} differs from the manifest", remedy="restore it from a snapshot")
    return data


def fetch(store: Store, digest: str, cache: Path) -> Path:
    """Fetch a local, verified copy of the directory `digest`: `<cache>/<digest>`. Raises NotFound or Tampered.

    A copy that was verified once is taken as it is: the cache is ours alone and immutable. The copy is built
    beside its place and renamed, so a crash leaves no half directory. A copy that is there is never taken away from
    others who read it: several processes fetch one digest at once.
    """
    target, mark = cache / digest, cache / f"{digest}{VERIFIED}"
    if mark.exists() and target.is_dir():
        with suppress(OSError):
            os.utime(target)  # it is in use: who sweeps old copies leaves it
        return target
    manifest = read_manifest(store, digest)
    cache.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=cache, prefix=".incoming-"))
    try:

        def bring(entry: FileEntry) -> None:
            path = staging / checked(entry.path)
            store.download(blob_key(entry.sha256), path)
            if path.stat().st_size != entry.size or sha256_of(path) != entry.sha256:
                raise Tampered(
                    f"{entry.path} of {manifest.kind} {digest[:12]} differs from the manifest",
                    remedy="restore the file from a snapshot, or publish it again",
                )

        with ThreadPoolExecutor(_TRANSFERS) as pool:
            list(pool.map(bring, manifest.files))
        try:
            staging.rename(target)
        except OSError:  # another process was faster, and its copy is as good; or a removal was cut off half-way
            if not _is_whole(target, manifest):
                half = Path(tempfile.mkdtemp(dir=cache, prefix=".outgoing-"))
                target.rename(half / digest)
                staging.rename(target)
                shutil.rmtree(half, ignore_errors=True)
        mark.touch()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    os.utime(target)
    return target


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Say whether every file of the manifest is in `folder` as it should be."""
    files = ((folder / checked(entry.path), entry) for entry in manifest.files)
    return all(p.is_file() and p.stat().st_size == e.size and sha256_of(p) == e.sha256 for p, e in files)


def resolve(store: Store, ref: str) -> str | None:
    """Read the digest that `ref` points to; None if there is no such ref."""
    try:
        return _parse(ref, store.get(ref_key(ref)))
    except NotFound:
        return None


def point(store: Store, ref: str, digest: str, *, expected: str | None = ANY) -> bool:
    """Let `ref` point to `digest`; False when it already did, Conflict when it pointed elsewhere than `expected`.

    `expected=None` means: the ref must not exist. The default accepts any present value, but still moves it by
    compare-and-set, so two writers never lose each other silently.
    """
    if store.head(manifest_key(digest)) is None:
        raise NotFound(f"{digest[:12]} is not published", remedy="publish the directory before pointing at it")
    body = json.dumps({"digest": digest}).encode()
    try:
        data, etag = store.read(ref_key(ref))
    except NotFound:
        if expected not in (None, ANY):
            raise Conflict(f"{ref} does not exist", remedy=f"it was expected at {expected[:12]}") from None
        store.put(ref_key(ref), body, if_absent=True)
        return True
    current = _parse(ref, data)
    if current == digest:
        return False
    if expected not in (ANY, current):
        raise Conflict(
            f"{ref} points to {current[:12]}, not to {str(expected)[:12]}", remedy="read it again, then retry"
        )
    store.put(ref_key(ref), body, if_match=etag)
    return True


def refs(store: Store, prefix: str) -> Iterator[str]:
    """List the names of all refs below `prefix` (a whole path part), in order."""
    start = f"refs/{prefix.rstrip('/')}/"
    for stored in store.list(start):
        yield stored.key.removeprefix("refs/").removesuffix(".json")


def _parse(ref: str, data: bytes) -> str:
    try:
        return str(json.loads(data)["digest"])
    except (ValueError, KeyError, TypeError):
        raise Tampered(f"the pointer {ref} cannot be read", remedy="restore it from a snapshot") from None
