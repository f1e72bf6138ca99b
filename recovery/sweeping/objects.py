"""Finds and removes old objects of a region's bucket that nobody names: manifests, and files that no manifest names.

A publisher may decide to use again what is just being removed. So what goes is kept on disk until everything was listed
once more: what is named by then is put back. Who names it later looks for the files again after the manifest is there
(artifacts/publish.py).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from artifacts.manifest import Manifest
from artifacts.publish import Store, blob_key, manifest_key, read_manifest, resolve
from artifacts.signature import signature_key
from contracts.errors import NotFound
from recovery.erasure.objects import Erasable

#: Objects that are removed, and kept until everything was listed again, at once.
_BATCH = 100
_TRANSFERS = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")


def pointed(store: Store) -> set[str]:
    """Return the digests that pointers name."""
    names = [stored.key.removeprefix("refs/").removesuffix(".json") for stored in store.list("refs/")]
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        return {digest for digest in pool.map(lambda name: resolve(store, name), names) if digest is not None}


def find_objects(store: Store, named: Collection[str], before: datetime) -> dict[str, int]:
    """Return the objects that may go, with their sizes in bytes: no pointer and none of `named` leads to them.

    A manifest also stays when one that stays names it as its origin. What the store has taken since `before` stays.
    Raises StoreUnavailable when a listing fails, and Tampered: then nothing may go.
    """
    manifests = _manifests(store)
    stays = _reached(manifests, pointed(store) | set(named))
    files = {blob_key(file.sha256) for digest in stays & manifests.keys() for file in manifests[digest].files}
    doomed = {}
    for prefix in ("manifests/", "blobs/", "signatures/"):
        for stored in store.list(prefix):
            digest = stored.key.rpartition("/")[2].removesuffix(".json")
            kept = stored.key in files if prefix == "blobs/" else digest in stays
            if not kept and stored.at is not None and stored.at < before:
                doomed[stored.key] = stored.size
    # a file stays while a manifest that is too young to go names it
    young = {digest for digest in manifests if digest not in stays and manifest_key(digest) not in doomed}
    for digest in young:
        for file in manifests[digest].files:
            doomed.pop(blob_key(file.sha256), None)
    return doomed


def remove_objects(
    store: Erasable, doomed: Collection[str], find: Callable[[], Collection[str]], demand: Callable[[], None]
) -> list[str]:
    """Remove objects, manifests before files, in batches; return those that are gone.

    After each batch `find` says again what may go: what no longer may is put back. `demand` raises where the lock is
    lost.
    """
    gone: list[str] = []
    order = sorted(doomed, key=lambda key: (key.startswith("blobs/"), key))
    for start in range(0, len(order), _BATCH):
        demand()
        still = set(find())
        batch = [key for key in order[start : start + _BATCH] if key in still]
        with tempfile.TemporaryDirectory(prefix="caravan-sweep-") as folder:
            kept: dict[str, Path] = {}
            for number, key in enumerate(batch):
                with suppress(NotFound):
                    store.download(key, Path(folder) / str(number))
                    kept[key] = Path(folder) / str(number)
            for key in kept:
                store.delete(key)
            needed = _needed(store)
            for key, path in sorted(kept.items()):  # files before the manifests that name them
                if key in needed:
                    store.put(key, path)
                else:
                    gone.append(key)
    return gone


def _needed(store: Store) -> set[str]:
    """Return what pointers and the manifests that are there now name, by key."""
    digests = pointed(store)
    manifests = _manifests(store)
    found = {blob_key(file.sha256) for manifest in manifests.values() for file in manifest.files}
    return found | {key for digest in digests for key in (manifest_key(digest), signature_key(digest))}


def _reached(manifests: dict[str, Manifest], named: set[str]) -> set[str]:
    """Return `named`, and what they name as their origin, and so on."""
    reached, waiting = set(named), list(named)
    while waiting:
        manifest = manifests.get(waiting.pop())
        if manifest is not None:
            origins = set(_DIGEST.findall(json.dumps(manifest.meta, default=str))) & manifests.keys()
            waiting += origins - reached
            reached |= origins
    return reached


def _manifests(store: Store) -> dict[str, Manifest]:
    digests = [stored.key.rpartition("/")[2].removesuffix(".json") for stored in store.list("manifests/")]

    def read(digest: str) -> Manifest | None:
        with suppress(NotFound):
            return read_manifest(store, digest)
        return None

    with ThreadPoolExecutor(_TRANSFERS) as pool:
        return {d: m for d, m in zip(digests, pool.map(read, digests), strict=True) if m is not None}
