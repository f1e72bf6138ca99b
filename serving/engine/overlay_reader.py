"""Follows the pointer to a shop's overlay: fetched, verified, and laid over the release that serves.

Whatever is wrong with an overlay is said by name once, and the last good one stays. An engine that starts has the one
that held last, from its verified copy: it needs no store for it, and takes no older one instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from artifacts import plain_data
from artifacts.manifest import Manifest
from artifacts.overlay import FILE, KIND, Overlay, overlay_ref
from artifacts.publish import Store, fetch, read_manifest, resolve
from contracts.errors import CaravanError, NotFound, Tampered
from serving.bundle.release import Release
from serving.bundle.remembered import Memory

log = logging.getLogger(__name__)


class Overlaid(Protocol):
    """The part of an engine that overlays concern."""

    current: Release | None
    overlay: Overlay | None
    overlay_refused: str | None

    def lay_over(self, overlay: Overlay) -> None: ...


class OverlayReader:
    """Keeps an engine at the overlay that its shop's pointer names."""

    def __init__(self, trust: Callable[[Store, str], None], cache: Path, memory: Path) -> None:
        self._trust = trust  # raises Tampered for a digest that no trusted key signed
        self._cache = cache
        self._memory = Memory(memory, cache, trust)  # of the overlay that held last
        self._refused: str | None = None

    def step(self, engine: Overlaid, store: Store | None) -> None:
        """Look once at the pointer, and act on it. Raises nothing: an engine serves without an overlay too."""
        release = engine.current
        if release is None:
            return
        if engine.overlay is None:
            self._take_last(engine, release.source)
        try:
            if store is None:
                raise NotFound("the object store does not answer", remedy="`caravan status`")
            digest = resolve(store, overlay_ref(release.source))
            if digest is not None and digest not in (self._refused, engine.overlay and engine.overlay.digest):
                self._take(engine, store, release.source, digest)
        except Exception as error:  # any error of the store's client, or of our disk
            log.warning("the overlay of %s cannot be read: %s", release.source, error)

    def _take(self, engine: Overlaid, store: Store, shop: str, digest: str) -> None:
        try:
            manifest, overlay = self._fetch(store, digest)
            overlay.check_follows(shop, engine.overlay)
        except (Tampered, NotFound) as error:
            log.error("overlay %s is refused, the last good one stays: %s", digest[:12], error.what)
            self._refused, engine.overlay_refused = digest, error.what
            return
        self._refused = engine.overlay_refused = None
        engine.lay_over(overlay)
        self._memory.write(store, manifest)

    def _fetch(self, store: Store, digest: str) -> tuple[Manifest, Overlay]:
        """Return a verified overlay. Nothing of what is no overlay, or is not signed, is read."""
        manifest = read_manifest(store, digest)
        if manifest.kind != KIND:
            raise Tampered(f"{digest[:12]} is a {manifest.kind}, not an overlay", remedy="`caravan overlay make`")
        self._trust(store, digest)
        directory = fetch(store, digest, self._cache)
        return manifest, _read(manifest, directory)

    def _take_last(self, engine: Overlaid, shop: str) -> None:
        """Let the overlay hold again that held before this process started."""
        try:
            found = self._memory.read()
            if found is None:
                return
            overlay = _read(*found)
            overlay.check_follows(shop, None)
        except (CaravanError, OSError) as error:
            log.warning("the overlay that held last cannot be used: %s", error)
            self._memory.forget()
            return
        engine.lay_over(overlay)


def _read(manifest: Manifest, directory: Path) -> Overlay:
    manifest.verify(directory)
    plain_data.check(manifest, directory)
    if [file.path for file in manifest.files] != [FILE]:
        raise Tampered(f"overlay {manifest.digest[:12]} holds other files than {FILE}", remedy="`caravan overlay make`")
    return Overlay.from_parts(manifest, (directory / FILE).read_bytes())
