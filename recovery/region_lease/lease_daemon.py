"""Renews a region's lease and tells the region: `python -m recovery.region_lease.lease_daemon`, in every region.

It renews the region lease where this region holds it and updates what the region reads: the file that engines and
controller check, and the fence in the database. Every validity is counted from the moment before the lease was
requested, less a margin, so it ends here before the lease does. Without control's database nothing is updated, and the
right to write expires by itself.
"""

from __future__ import annotations

import logging
import signal
import threading
import time

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from artifacts import fence, state_file
from artifacts.fence import RegionStanding, Right
from contracts.errors import CaravanError, StoreUnavailable
from contracts.region_paths import LEASE_DAEMON
from contracts.settings import Settings, settings
from recovery.region_lease.lease import Lease, RegionLease

log = logging.getLogger("recovery.region_lease.lease_daemon")

#: Renewals per time to live, and the share of it that is kept as a margin for clock drift.
RENEWALS, MARGIN = 6, 1 / 6
#: Seconds to wait for the region's database to store its right, which usually takes less.
STAMPED = 4.0


class LeaseDaemon:
    """One region's lease daemon."""

    def __init__(self, s: Settings, active: RegionLease, database: Engine | None = None) -> None:
        self._s = s
        self._active = active
        self._database = database or create_engine(
            s.database_url("caravan"), pool_size=1, max_overflow=0, pool_pre_ping=True,
            connect_args={"connect_timeout": 3, "options": "-c statement_timeout=3000 -c lock_timeout=3000"},
        )  # fmt: skip
        self._logged = ""
        self._closed: int | None = None  # the epoch for which our database was told that it is over
        self._stamping: threading.Thread | None = None

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""
        while not stop.is_set():
            try:
                state, left = self.once(), ""
            except StoreUnavailable:
                state, left = "the control group does not answer", f": {self._left()}"
            except CaravanError as error:
                state, left = error.what, ""
            except Exception:
                log.exception("a look failed")
                state, left = "a look failed", ""
            if state != self._logged:  # what is left of the right changes every second, and is not logged again
                self._logged = state
                log.info("%s%s", state, left)
            self._beat(state + left)
            stop.wait(self._s.lease_seconds / RENEWALS)

    def once(self) -> str:
        """Renew the lease, and tell the region; return the present state as text for people."""
        asked, ours = fence.boottime(), fence.read_right(self._s)
        held = self._active.look() or self._first(ours)
        if held is None:
            return "no region holds the lease yet"
        if ours is not None and ours.standing == "active" and ours.epoch > held.epoch:
            # control was lost and began again, or a restore went on without it
            held = (
                self._active.claim(self._s.region, ours.epoch, actor="keeper", reason="control is back", now=True)
                or held
            )
        if held.region == self._s.region:
            held = self._active.renew(self._s.region, held.epoch) or held
        switching = ours is not None and ours.standing == "draining" and ours.lasts(asked)
        if held.region != self._s.region and held.draining and switching:
            return f"about to take over from {held.region}"
        if held.region != self._s.region or not held.renewable:
            self._tell("passive", held.epoch, 0.0)
            return f"passive: {held.region} is the active region, epoch {held.epoch}"
        lasts = asked + (1 - MARGIN) * self._s.lease_seconds
        standing: RegionStanding = "draining" if held.draining else "active"
        self._tell(standing, held.epoch, lasts)
        return f"{standing}, epoch {held.epoch}"

    def _first(self, ours: Right | None) -> Lease | None:
        """Claim the first lease when there is none; None when this region must not.

        The very first lease is the primary's; a region that was active continues in its epoch.
        """
        if ours is not None and ours.standing == "active":
            return self._active.claim(self._s.region, ours.epoch, actor="keeper", reason="control began again")
        if ours is None and self._s.region == "primary":
            return self._active.claim("primary", 1, actor="keeper", reason="the first region")
        return None

    def _tell(self, standing: RegionStanding, epoch: int, until: float) -> None:
        fence.write_right(
            self._s,
            Right(region=self._s.region, epoch=epoch, standing=standing, until=until, boot=fence.boot()),
        )
        seconds = until - fence.boottime() if standing == "active" else 0.0
        if standing != "active" and self._closed == epoch:
            return
        if self._stamping is not None and self._stamping.is_alive():
            return  # the database hangs, and its right runs out by itself
        # in a thread, because shoppers are answered only as long as we renew, whatever the database does
        self._stamping = threading.Thread(target=self._stamp, args=(standing, epoch, seconds), daemon=True)
        self._stamping.start()
        self._stamping.join(STAMPED)

    def _stamp(self, standing: RegionStanding, epoch: int, seconds: float) -> None:
        try:
            fence.stamp(self._database, self._s.region, epoch, seconds)
            self._closed = epoch if standing != "active" else None
        except SQLAlchemyError:
            # being restored, not up yet, or without our tables: what cannot be written needs no fence
            log.debug("the database was not told", exc_info=True)

    def _left(self) -> str:
        right = fence.read_right(self._s)
        if right is None:
            return "there never was a lease, this region is alone"
        left = right.until - fence.boottime()
        return f"may write for another {left:.0f} s" if right.standing == "active" and left > 0 else "takes no writes"

    def _beat(self, doing: str) -> None:
        state_file.write(self._s.paths.heartbeat(LEASE_DAEMON), {"at": time.time(), "doing": doing})


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    s, stop = settings(), threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    LeaseDaemon(s, RegionLease.of(s)).run(stop)


if __name__ == "__main__":
    main()
