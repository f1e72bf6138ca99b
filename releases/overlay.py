"""Makes a shop's overlay of a newer catalog, and keeps it up to date beside the controller.

Between two releases availability comes from the catalog that landed last. What it does not name keeps what was said of
it last. Items that were sold out by an earlier catalog of a release, or by an overlay before, are named as available
again; all others need not be named, so the overlay stays small.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from artifacts.fence import Fence
from artifacts.lake import Lake
from artifacts.overlay import Overlay, overlay_ref, publish_overlay, read_overlay
from artifacts.publish import Store, read_manifest, refs, resolve
from artifacts.signature import verify
from contracts.errors import CaravanError, Conflict, DataError, EmptyPartition, NotFound, Tampered
from contracts.settings import Settings
from ingestion.landing import availability
from ingestion.landing.availability import Availability

log = logging.getLogger(__name__)

#: Seconds between two looks for a newer catalog.
LOOK_EVERY_S = 5.0
#: Days whose pinned catalogs the first overlay of a shop looks at: a release that serves is not older than that.
FIRST_LOOK_DAYS = 40
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class MadeOverlay:
    """The outcome of `make`: the newest overlay, and whether it is new."""

    overlay: Overlay
    made: bool

    def to_dict(self) -> dict[str, Any]:
        o = self.overlay
        return {
            "shop": o.shop,
            "digest": o.digest,
            "number": o.number,
            "before": o.before,
            "at": o.at,
            "catalog": o.landed,
            "unavailable": len(o.unavailable),
            "available_again": len(o.available),
            "made": self.made,
        }


def make(lake: Lake, s: Settings, *, accept_changes: bool = False, now: datetime | None = None) -> MadeOverlay:
    """Make the overlay of the catalog that landed last, unless it is there already.

    Raises EmptyPartition where no catalog has landed or no night has pinned one, DataError where the newest is too far
    from the last pinned one (`accept_changes` takes it); the overlay before stays the newest then.
    """
    for _ in range(_ATTEMPTS):
        pointed = resolve(lake.store, overlay_ref(lake.source))
        before = newest_trusted(lake.store, lake.source, s)
        overlay = _next(lake, before, now or datetime.now(UTC), accept_changes=accept_changes)
        if overlay is before:
            return MadeOverlay(overlay=overlay, made=False)
        try:
            digest = publish_overlay(lake.store, overlay, s, expected=pointed)
        except Conflict:  # the command and the controller at once: the other one's is the one before now
            continue
        log.info("overlay %s of %s from catalog %s", digest[:12], lake.source, overlay.landed)
        return MadeOverlay(overlay=replace(overlay, digest=digest), made=True)
    raise Conflict(f"the overlay of {lake.source} is made by others all the time", remedy="try again")


def newest_trusted(store: Store, shop: str, s: Settings) -> Overlay | None:
    """Return the overlay that the shop's pointer names; None where there is none, or none that we signed for it."""
    digest = resolve(store, overlay_ref(shop))
    if digest is None:
        return None
    try:
        verify(store, digest, s)
        overlay = read_overlay(store, digest)
        overlay.check_follows(shop, None)
    except (Tampered, NotFound) as error:  # nothing of it may come into a signed one
        log.warning("the chain of %s begins again: %s", shop, error)
        return None
    return overlay


def _next(lake: Lake, before: Overlay | None, now: datetime, *, accept_changes: bool) -> Overlay:
    """Return the overlay that comes after `before`, or that one where nothing has changed."""
    landed, day = availability.newest_landed(lake), availability.newest_pinned(lake)
    if landed is None or day is None:
        raise EmptyPartition(
            f"{lake.source} has no catalog that a night has pinned" if landed else f"{lake.source} has no catalog",
            remedy="bring one with `caravan ingest --catalog FILE`; the first night makes a release of it",
        )
    pinned = f"{day} {lake.digest(availability.PINNED_TABLE, day)}"
    if before is not None and (before.landed, before.pinned) == (landed, pinned):
        return before
    found = availability.read_landed(lake, landed)
    if not accept_changes and not (before is not None and before.landed == landed):
        availability.check_landed(lake, landed, found, day)
    unavailable, available = _said(lake, before, found)
    return Overlay(
        shop=lake.source,
        number=before.number + 1 if before else 1,
        before=before.digest if before else None,
        at=_after(before, now).isoformat(timespec="microseconds"),
        landed=landed,
        pinned=pinned,
        unavailable=unavailable,
        available=available,
    )


def _after(before: Overlay | None, now: datetime) -> datetime:
    """Return the time of the next overlay: engines take none that is not later than the one in use."""
    now = now.astimezone(UTC)
    return max(now, datetime.fromisoformat(before.at) + timedelta(microseconds=1)) if before else now


def _said(lake: Lake, before: Overlay | None, found: Availability) -> tuple[frozenset[str], frozenset[str]]:
    """Return the items that cannot be had, and those that can be had again, by what was said of each last."""
    days = lake.partitions(availability.PINNED_TABLE)
    since = before.pinned.split(" ")[0] if before else ""
    once = set().union(
        *(availability.read_pinned(lake, d).unavailable for d in days[-FIRST_LOOK_DAYS:] if d >= since),
        *((before.unavailable, before.available) if before else ()),
    )
    unavailable, available = set(found.unavailable), once & found.available
    if before is not None:
        unavailable |= before.unavailable - found.items
        available |= before.available - found.items
    return frozenset(unavailable), frozenset(available)


def served_shops(store: Store, region: str) -> list[str]:
    """Return the shops whose releases the region's engines are assigned."""
    digests = {resolve(store, ref) for ref in refs(store, f"serving/{region}")}
    return sorted({str(read_manifest(store, digest).meta.get("source", "")) for digest in digests if digest} - {""})


class Keeper(threading.Thread):
    """A thread that makes an overlay whenever a newer catalog has landed for a shop that is served."""

    def __init__(
        self,
        s: Settings,
        store: Callable[[], Store],
        stop: threading.Event,
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__(name="overlay", daemon=True)
        self._s = s
        self._make_store = store
        self._stop_event = stop
        self._every_s = every_s
        self._fence = Fence(s)
        self._seen: dict[str, tuple[str | None, ...]] = {}

    def run(self) -> None:
        told = ""
        while not self._stop_event.wait(self._every_s):
            try:
                self.look()
                told = ""
            except CaravanError as error:
                if str(error) != told:  # for hours, where this region is not the active one
                    log.warning("no overlay is made: %s", error)
                told = str(error)
            except Exception:  # nothing ends it but the controller
                log.exception("no overlay is made")

    def look(self) -> list[MadeOverlay]:
        """Make what is to be made now. Raises Fenced while another region is the active one."""
        self._fence.demand()
        store = self._make_store()
        made = []
        for shop in served_shops(store, self._s.region):
            lake = Lake(store, shop, self._s.cache / "objects")
            landed, day = availability.newest_landed(lake), availability.newest_pinned(lake)
            if landed is None or day is None:
                continue
            state = landed, lake.digest(availability.PINNED_TABLE, day), resolve(store, overlay_ref(shop))
            if self._seen.get(shop) == state:
                continue
            try:
                made.append(make(lake, self._s))
            except DataError as error:  # told once: the next catalog, or a night that takes it, is looked at again
                log.warning("the newest catalog of %s makes no overlay, the one before stays: %s", shop, error)
            self._seen[shop] = state
        return [one for one in made if one.made]
