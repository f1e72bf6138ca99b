"""Reads and changes what the controller touches of a region: engines' pointers, the edge's routes, readiness."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from artifacts.object_store import ObjectStore
from artifacts.publish import point, resolve
from artifacts.signature import verify
from contracts.errors import ArtifactError, CaravanError, StoreUnavailable
from contracts.region import SLOTS
from contracts.settings import Settings
from releases.rollout.traffic import Deployed, describe, plan
from serving import reach
from serving.edge import edge
from serving.edge.edge import TrafficSplit

log = logging.getLogger(__name__)

#: Seconds an engine may take to say what it serves; one that hangs serves nothing.
READINESS_TIMEOUT_S = 0.5


@dataclass(frozen=True, kw_only=True)
class EngineReadiness:
    """What one engine says: the release it serves and the one it refuses, with the reason."""

    serves: str | None = None
    refused: str | None = None
    reason: str = ""


class Region(Protocol):
    """The seam between the controller's decisions and the world; tests put a hand-written one here."""

    def readiness(self) -> Mapping[str, EngineReadiness]: ...
    def split(self) -> TrafficSplit | None: ...
    def route(self, split: TrafficSplit) -> None: ...
    def point(self, slot: str, digest: str) -> None: ...
    def signed(self, digest: str) -> None: ...
    def catalog(self, source: str, champion: str) -> frozenset[str] | None: ...


def follow(region: Region, deployed: Deployed, *, route: Callable[[TrafficSplit], None]) -> None:
    """Bring pointers and routes to what is planned for `deployed`; what is so already is not touched."""
    said = region.readiness()
    serves = {slot: one.serves for slot, one in said.items()}
    present = region.split()
    wanted = plan(deployed, serves, present)
    # routes first: a promotion or a rollback is a change of weights, and must not wait for the object store
    if present != wanted.split:
        route(wanted.split)
        log.info("traffic: %s", describe(wanted.split))
    for slot, digest in wanted.pointers.items():
        if serves.get(slot) != digest:
            region.point(slot, digest)
    rests = deployed.candidate is None and deployed.champion is not None and serves["champion"] == deployed.champion
    if rests and (said["canary"].refused is not None or said["canary"].serves is None):
        # lead the canary's engine away from what it could not load, so that it tries when that is approved again
        region.point("canary", str(deployed.champion))


def unsigned(region: Region, digest: str) -> str | None:
    """Say why no shopper may be shown this release, or None. Raises StoreUnavailable when that cannot be told now."""
    try:
        region.signed(digest)
    except StoreUnavailable:
        raise
    except ArtifactError as error:
        return f"signature: {error.what}"
    return None


class LiveRegion:
    """A running region."""

    def __init__(self, s: Settings) -> None:
        self._s = s
        self._edge = s.paths.edge
        self._store = ObjectStore.of(s)
        self._http = {slot: reach.client(s.engine_address_of(slot), timeout=READINESS_TIMEOUT_S) for slot in SLOTS}
        self._pool = ThreadPoolExecutor(len(SLOTS), thread_name_prefix="readiness")

    def close(self) -> None:
        self._pool.shutdown(wait=False)
        for client in self._http.values():
            client.close()

    def readiness(self) -> Mapping[str, EngineReadiness]:
        """Ask all engines at once."""
        return dict(zip(SLOTS, self._pool.map(self._ask, SLOTS), strict=True))

    def split(self) -> TrafficSplit | None:
        return edge.read_split(self._edge)

    def route(self, split: TrafficSplit) -> None:
        edge.write_routes(self._edge, split, self._s)

    def point(self, slot: str, digest: str) -> None:
        """Let an engine follow another release; do nothing if it does already."""
        ref = f"serving/{self._s.region}/{slot}"
        if resolve(self._store, ref) != digest:
            point(self._store, ref, digest)
            log.info("engine %s should serve %s", slot, digest[:12])

    def signed(self, digest: str) -> None:
        """Raise Tampered unless a trusted key signed the release."""
        verify(self._store, digest, self._s)

    def catalog(self, source: str, champion: str) -> frozenset[str] | None:
        """Read the ids of the items in the lake's newest catalog and in the champion. None if they are not known."""
        import pyarrow.parquet as pq

        from artifacts.publish import fetch
        from contracts.release import ITEMS

        try:
            folder = fetch(self._store, champion, self._s.cache / "releases")
            known = set(pq.read_table(folder / ITEMS, columns=["item_id"])["item_id"].to_pylist())
            return frozenset(known | _items_of_lake(self._s, source))
        except (CaravanError, OSError) as error:
            log.warning("the catalog of %s cannot be read: %s", source, error)
            return None

    def _ask(self, slot: str) -> EngineReadiness:
        try:
            body: Any = self._http[slot].get("/readyz").json()
            release = body["release"] if body["ready"] else None
            return EngineReadiness(serves=release, refused=body["refused"], reason=str(body["reason"] or ""))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return EngineReadiness(reason=f"no answer ({type(error).__name__})")

    @property
    def access_log(self) -> Path:
        return self._s.paths.access_log


def _items_of_lake(s: Settings, source: str) -> set[str]:
    import pyarrow.parquet as pq

    from artifacts.lake import DATA, Lake

    lake = Lake.of(s, source)
    days = lake.partitions("catalog")
    if not days:
        return set()
    return set(pq.read_table(lake.fetch("catalog", days[-1]) / DATA, columns=["item_id"])["item_id"].to_pylist())
