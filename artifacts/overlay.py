"""Keeps a shop's overlay: what changes without a new release, which is availability alone.

An overlay is a published directory with one file of canonical JSON, signed as a release is. Its manifest says of which
shop it is, when it was made, and which overlay came before, so that they are a chain. `refs/overlays/<shop>` names the
newest. It holds what catalogs newer than the serving releases said last of an item; what they do not name, it does not
name either.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from artifacts.manifest import Manifest
from artifacts.publish import Store, point, publish, read_file, read_manifest
from artifacts.signature import sign
from contracts.errors import Tampered
from contracts.settings import Settings

KIND = "overlay"
FILE = "availability.json"
_REMEDY = "the last good one stays in use; `caravan overlay make` makes the next"


def overlay_ref(shop: str) -> str:
    """Return the pointer to the newest overlay of a shop."""
    return f"overlays/{shop}"


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Items that cannot be had, and items that can be had again, by the newest catalogs of one shop.

    `number` counts the chain from 1, `before` is the digest of the one before. `landed` names the catalog it was made
    from, `pinned` the newest catalog that a night had pinned then.
    """

    shop: str
    number: int
    before: str | None
    at: str
    landed: str
    pinned: str
    unavailable: frozenset[str] = field(repr=False)
    available: frozenset[str] = field(repr=False)
    digest: str = ""

    def content(self) -> bytes:
        """Return the canonical JSON of the file."""
        lists = {"available": sorted(self.available), "unavailable": sorted(self.unavailable)}
        return json.dumps(lists, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def to_meta(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {
            "source": self.shop,
            "number": self.number,
            "before": self.before,
            "at": self.at,
            "landed": self.landed,
            "pinned": self.pinned,
        }

    @classmethod
    def from_parts(cls, manifest: Manifest, content: bytes) -> Self:
        """Read a manifest and the file that it names. Raises Tampered, naming what is wrong."""
        name = manifest.digest[:12]
        if manifest.kind != KIND:
            raise Tampered(f"{name} is a {manifest.kind}, not an overlay", remedy=_REMEDY)
        try:
            meta, lists = manifest.meta, json.loads(content)
            found = cls(
                shop=str(meta["source"]),
                number=int(meta["number"]),
                before=meta["before"],
                at=datetime.fromisoformat(meta["at"]).astimezone(UTC).isoformat(timespec="microseconds"),
                landed=str(meta["landed"]),
                pinned=str(meta["pinned"]),
                unavailable=_ids(lists["unavailable"]),
                available=_ids(lists["available"]),
                digest=manifest.digest,
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Tampered(f"overlay {name} cannot be read: {error}", remedy=_REMEDY) from None
        if found.available & found.unavailable:
            raise Tampered(f"overlay {name} says both of an item", remedy=_REMEDY)
        return found

    def check_follows(self, shop: str, current: Overlay | None) -> None:
        """Raise Tampered unless this overlay may be used for `shop` after `current`.

        By time, not by number: in a region restored from a snapshot the chain goes on from an earlier place.
        """
        name = self.digest[:12]
        if self.shop != shop:
            raise Tampered(f"overlay {name} is of the shop {self.shop}, not of {shop}", remedy=_REMEDY)
        if current is not None and current.shop == shop and self.at <= current.at:
            raise Tampered(
                f"overlay {name} of {self.at} is older than {current.digest[:12]}, which is in use", remedy=_REMEDY
            )


def publish_overlay(store: Store, overlay: Overlay, s: Settings, *, expected: str | None) -> str:
    """Publish and sign an overlay, then let the shop's pointer name it; return its digest.

    Raises Conflict where the pointer names another one than `expected`.
    """
    with tempfile.TemporaryDirectory(prefix="caravan-overlay-") as name:
        (Path(name) / FILE).write_bytes(overlay.content())
        digest = publish(store, Path(name), kind=KIND, meta=overlay.to_meta()).digest
    sign(store, digest, s)
    point(store, overlay_ref(overlay.shop), digest, expected=expected)
    return digest


def read_overlay(store: Store, digest: str) -> Overlay:
    """Read a published overlay, checked against its digest. Raises NotFound or Tampered."""
    manifest = read_manifest(store, digest)
    content = read_file(store, manifest, FILE) if manifest.kind == KIND else b""
    return Overlay.from_parts(manifest, content if content is not None else b"")


def _ids(values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of item ids is none")
    return frozenset(values)
