"""Collects what reviewers should know of the data that a release learned from: every large change that was let pass."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from artifacts.publish import read_manifest
from contracts.errors import ArtifactError
from ingestion.validation.changes import sentences

if TYPE_CHECKING:
    from artifacts.publish import Store

#: Days that are looked at, the newest of those that the release learned from.
DAYS = 60
_WORKERS = 8


def large_changes(store: Store, lineage: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each large change, correction and unknown part of the release's days, the newest first.

    A day whose manifest is gone, since an erasure published it again, says nothing.
    """
    partitions = lineage.get("partitions") or {}
    wanted = [
        (day, kind, str(digest))
        for kind in ("catalog", "events")
        for day, digest in (partitions.get(kind) or {}).items()
    ]
    wanted = sorted(wanted, reverse=True)[:DAYS]
    with ThreadPoolExecutor(_WORKERS) as pool:
        told = pool.map(lambda one: _told(store, *one), wanted)
        return tuple(line for lines in told for line in lines)


def _told(store: Store, day: str, kind: str, digest: str) -> list[str]:
    try:
        meta = read_manifest(store, digest).meta
    except ArtifactError:
        return []
    lines = [f"{kind}, large change {line}" for line in sentences(day, meta.get("changes") or ())]
    if meta.get("unknown_items_accepted"):
        lines.append(f"catalog, let pass on {day}: many interactions name items that it has not")
    lines += [
        f"catalog of {day} corrected {made['at']} by {made['by']}: {made['reason']}"
        for made in meta.get("corrections") or ()
    ]
    return lines
