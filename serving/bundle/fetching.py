"""Fetches a release that is to be served: signed by a key we trust, whole, and plain data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from artifacts import plain_data
from artifacts.manifest import Manifest
from artifacts.publish import Store, fetch, read_manifest
from contracts.errors import ArtifactError, Tampered


def fetch_release(
    store: Store, digest: str, *, trust: Callable[[Store, str], None], cache: Path
) -> tuple[Manifest, Path]:
    """Return the manifest and the verified directory of a release; a damaged copy in the cache is fetched again.

    `trust` raises Tampered for a digest that no trusted key signed.
    """
    manifest = read_manifest(store, digest)
    if manifest.kind != "release":
        raise Tampered(f"{digest[:12]} is a {manifest.kind}, not a release", remedy="point at a release")
    trust(store, digest)
    directory = fetch(store, digest, cache)
    try:
        manifest.verify(directory)
    except ArtifactError:
        shutil.rmtree(directory, ignore_errors=True)
        directory = fetch(store, digest, cache)
        manifest.verify(directory)
    plain_data.check(manifest, directory)
    return manifest, directory
