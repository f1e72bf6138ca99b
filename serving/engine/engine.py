"""Loads, verifies, warms and swaps one release; follows a pointer in the object store.

One thread asks each second which digest `serving/<region>/<slot>` names. A new one is fetched, verified, loaded
and answers a probe set before a single assignment makes it the one that serves; until then, and if anything of
that fails, the old release serves on. A refused digest is not tried again until the pointer moves.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from artifacts.overlay import Overlay
from artifacts.publish import Store, resolve
from contracts.errors import CaravanError, NotFound, ReleaseRefused, Tampered
from serving.bundle import release as bundle
from serving.bundle.fetching import fetch_release
from serving.bundle.release import Release
from serving.bundle.remembered import Memory
from serving.engine.overlay_reader import OverlayReader
from serving.pipeline.candidates import Query
from serving.pipeline.pipeline import rank
from serving.pipeline.search import find_similar, search
from serving.pipeline.stage_timings import StageWatch

log = logging.getLogger(__name__)

#: Time between two looks at the pointer.
POINTER_POLL_S = 1.0
#: Histories that a release has to answer before it serves.
PROBE_HISTORIES = 16


@dataclass(frozen=True, kw_only=True)
class State:
    """The state that /readyz shows."""

    stage: str  # starting, waiting, loading, warming, serving, draining
    reason: str | None = None
    refused: str | None = None


class Engine:
    """Holds the release that serves; `current` is replaced whole, never changed."""

    def __init__(
        self,
        *,
        prepare: Callable[[str], None] = lambda _source: None,
        on_swap: Callable[[Release], None] = lambda _release: None,
    ) -> None:
        self.current: Release | None = None
        self.state = State(stage="starting", reason="no release was looked for yet")
        self.overlay: Overlay | None = None
        self.overlay_refused: str | None = None  # why the newest overlay is not in use
        self._bare: Release | None = None  # the release that serves, as it was published
        self._prepare = prepare  # what a data source needs before its release serves
        self._on_swap = on_swap
        self._swapping = threading.Lock()

    @property
    def ready(self) -> bool:
        return self.current is not None and self.state.stage != "draining"

    def drain(self) -> None:
        """Answer what is under way, but no longer count as ready."""
        self.state = State(stage="draining", reason="the engine is stopping")

    def load(self, directory: Path, *, digest: str, meta: dict[str, Any]) -> Release:
        """Load and warm the bundle in `directory`, then swap it in. Raises ReleaseRefused; the old one stays."""
        with self._swapping:
            started = perf_counter()
            self._note_stage("loading")
            try:
                release = bundle.load_release(directory, digest=digest, source=str(meta.get("source", "")), meta=meta)
                self._prepare(release.source)
                self._note_stage("warming")
                warm(release)
            except CaravanError as error:
                self.refuse(digest, error.what)
                raise
            except Exception as error:  # programs and arrays of a bundle can fail in any way
                self.refuse(digest, f"a probe failed: {type(error).__name__}: {error}")
                raise ReleaseRefused(f"a probe of {digest[:12]} failed: {error}", remedy="publish it again") from error
            first = self.current is None
            if first:
                gc.collect()
            gc.freeze()  # the release is no garbage: the collector need not walk it again and again
            self._bare = release
            self.current = self._overlaid(release)
            self.state = State(stage="serving")
            self._on_swap(release)
            log.info("serving %s of %s after %.2f s", digest[:12], release.source, perf_counter() - started)
            return release

    def lay_over(self, overlay: Overlay) -> None:
        """Let the availability of `overlay` hold, over that of this release and of those of the same shop after it."""
        with self._swapping:
            self.overlay = overlay
            if self._bare is not None:
                self.current = self._overlaid(self._bare)
            log.info("overlay %s of %s holds, number %d", overlay.digest[:12], overlay.shop, overlay.number)

    def _overlaid(self, release: Release) -> Release:
        overlay = self.overlay
        if overlay is None or overlay.shop != release.source:
            return release
        return release.with_availability(overlay.unavailable, overlay.available, overlay.digest)

    def refuse(self, digest: str, reason: str) -> None:
        """Record why `digest` does not serve."""
        log.error("release %s refused: %s", digest[:12], reason)
        self.state = State(stage="serving" if self.current else "waiting", reason=reason, refused=digest)

    def forget_refusal(self) -> None:
        """Drop the record of a refused release: the pointer names another one now."""
        self.state = replace(self.state, refused=None)

    def note_waiting(self, reason: str) -> None:
        """Record why no release is loaded yet; changes nothing while one serves, or while the engine stops."""
        if self.current is None and self.state.stage != "draining":
            self.state = State(stage="waiting", reason=reason, refused=self.state.refused)

    def _note_stage(self, stage: str) -> None:
        if self.current is None and self.state.stage != "draining":
            self.state = State(stage=stage, reason="not loaded yet", refused=self.state.refused)


def warm(release: Release) -> None:
    """Let `release` answer a probe set. Raises ReleaseRefused when an answer is empty, repeated or not finite.

    The first runs of a program are slow (allocations, code paths); no shopper should wait for them.
    """
    size = len(release.items)
    k = min(10, int(np.count_nonzero(release.items.available)))
    draw = np.random.default_rng(0)
    for probe in range(PROBE_HISTORIES):
        history = draw.integers(0, size, size=1 + probe * release.program.longest // PROBE_HISTORIES)
        result = rank(release, Query(user="", k=k, history=history, hide_purchased=False), StageWatch())
        _check_probe(release, result.chosen.index, result.chosen.score, expected=k)
        if result.fallback is not None:
            raise ReleaseRefused(f"a probe fell back: {result.fallback}", remedy="look at the engine's log")
    popular = rank(release, Query(user="", k=1), StageWatch())
    _check_probe(release, popular.chosen.index, popular.chosen.score, expected=min(1, k))
    title = release.items.titles[0][:200]
    found = search(release, title, k=5, vector=None if release.encoder is None else release.encoder.encode([title])[0])
    near = find_similar(release, 0, k=5)
    for ranking in (found, near):
        if not np.isfinite(ranking.score).all():
            raise ReleaseRefused("a probe search gave scores that are not finite", remedy="publish a whole release")


def _check_probe(release: Release, index: bundle.Indexes, score: bundle.Floats, *, expected: int) -> None:
    if len(index) < expected or len(np.unique(index)) != len(index) or not np.isfinite(score).all():
        raise ReleaseRefused(
            f"a probe of release {release.digest[:12]} answered {len(index)} of {expected} items, or no finite scores",
            remedy="train and publish it again",
        )


class Follower(threading.Thread):
    """A thread that keeps an engine at the release that a pointer names."""

    def __init__(
        self,
        engine: Engine,
        store: Callable[[], Store],
        ref: str,
        *,
        trust: Callable[[Store, str], None],
        cache: Path,
        memory: Path,
        overlays: OverlayReader | None = None,
        poll_s: float = POINTER_POLL_S,
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._engine = engine
        self._make_store = store
        self._store: Store | None = None
        self._ref = ref
        self._trust = trust  # raises Tampered for a digest that no trusted key signed
        self._cache = cache
        self._memory = Memory(memory, cache, trust)  # of the release served last, for a start without the object store
        self._overlays = overlays  # None: availability is the release's own
        self._poll_s = poll_s
        self._ending = threading.Event()
        self._refused: str | None = None

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            self.look()
            self._ending.wait(self._poll_s)

    def look(self) -> None:
        """Look once at both pointers, and act on them. Raises nothing: the follower outlives every failure."""
        try:
            self.step()
        except Exception as error:  # any error of the store
            log.warning("the pointer %s could not be followed: %s", self._ref, error)
            self._engine.note_waiting(f"the object store does not answer: {error}")
            self._serve_last()
        if self._overlays is not None:
            self._overlays.step(self._engine, self._store)

    def step(self) -> None:
        """Look once at the pointer, and act on it. Raises what the store raises."""
        if self._store is None:
            self._store = self._make_store()
        digest = resolve(self._store, self._ref)
        current = self._engine.current
        if digest is None:
            self._engine.note_waiting(f"no release is assigned: the pointer {self._ref} does not exist")
            return
        if self._refused not in (None, digest):  # the pointer has moved: when it comes back, that one is tried again
            self._refused = None
            self._engine.forget_refusal()
        if digest == self._refused or (current is not None and current.digest == digest):
            return
        try:
            manifest, directory = fetch_release(self._store, digest, trust=self._trust, cache=self._cache)
            self._engine.load(directory, digest=digest, meta=manifest.meta)
        except ReleaseRefused:
            self._refused = digest
        except (Tampered, NotFound) as error:
            self._refused = digest
            self._engine.refuse(digest, error.what)
        else:
            self._refused = None
            self._memory.write(self._store, manifest)

    def _serve_last(self) -> None:
        """Serve the release that was served last, if it is still trusted: for a start without the object store."""
        if self._engine.current is not None:
            return
        try:
            found = self._memory.read()
            if found is not None and found[0].digest != self._refused:
                manifest, directory = found
                if manifest.kind != "release":
                    raise Tampered(f"{manifest.digest[:12]} is a {manifest.kind}", remedy="point at a release")
                self._engine.load(directory, digest=manifest.digest, meta=manifest.meta)
        except (CaravanError, OSError) as error:
            log.warning("the release served last cannot be used: %s", error)
