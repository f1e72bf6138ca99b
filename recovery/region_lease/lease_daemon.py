"""Renews a region's lease and notifies the region: `python -m recovery.region_lease.lease_daemon`, in every region.

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
from artifacts.fence import Right, Standing
from contracts.errors import CaravanError, StoreUnavailable
from contracts.settings import Settings, settings
from recovery.region_lease.lease import Lease, RegionLease
from recovery.step_result import StepResult

log = logging.getLogger("recovery.region_lease.lease_daemon")

#: Renewals per time to live of the lease, and the share of it that is kept as a margin for clock drift.
RENEWALS_PER_LEASE, MARGIN_SHARE = 6, 1 / 6
HEARTBEAT = "keeper.json"
#: Seconds to wait for the region's database to store its right, which usually takes less.
STAMP_TIMEOUT_S = 4.0


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
        self._closed: int | None = None  # the epoch of which our database knows that it is over
        self._stamping: threading.Thread | None = None
        self._last = StepResult("starting")

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""
        while not stop.is_set():
            try:
                self._last = self.renew()
            except StoreUnavailable:
                self._last = StepResult("the control group does not answer", {"right": self._remaining_right()})
            except CaravanError as error:
                self._last = StepResult(error.what)
            except Exception:
                log.exception("the lease could not be looked at")
            if self._last.summary != self._logged:  # not again for each second that the right still lasts
                self._logged = self._last.summary
                log.info("%s", _sentence(self._last))
            self._write_heartbeat()
            stop.wait(self._s.lease_seconds / RENEWALS_PER_LEASE)

    def renew(self) -> StepResult:
        """Renew the lease if this region holds it, and update the region; return the present state."""
        asked, ours = fence.boottime(), fence.read(self._s)
        held = self._active.look() or self._claim_first(ours)
        if held is None:
            return StepResult("no region holds the lease yet")
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
            return StepResult(f"about to take over from {held.region}")
        if held.region != self._s.region or not held.renewable:
            self._grant("passive", held.epoch, 0.0)
            return StepResult(f"passive: {held.region} is the active region, epoch {held.epoch}")
        lasts = asked + (1 - MARGIN_SHARE) * self._s.lease_seconds
        standing: Standing = "draining" if held.draining else "active"
        self._grant(standing, held.epoch, lasts)
        return StepResult(f"{standing}, epoch {held.epoch}")

    def _claim_first(self, ours: Right | None) -> Lease | None:
        """Claim the first lease when there is none; None when this region must not.

        The very first lease is the primary's; a region that was active continues in its epoch.
        """
        if ours is not None and ours.standing == "active":
            return self._active.claim(self._s.region, ours.epoch, actor="keeper", reason="control began again")
        if ours is None and self._s.region == "primary":
            return self._active.claim("primary", 1, actor="keeper", reason="the first region")
        return None

    def _grant(self, standing: Standing, epoch: int, until: float) -> None:
        """Write the region's right to its file and to its database; `until` by the clock of `fence.boottime`."""
        fence.write(
            self._s,
            Right(region=self._s.region, epoch=epoch, standing=standing, until=until, boot=fence.boot()),
        )
        seconds = until - fence.boottime() if standing == "active" else 0.0
        if standing != "active" and self._closed == epoch:
            return
        if self._stamping is not None and self._stamping.is_alive():
            return  # the database hangs, and its right expires by itself
        # in a thread, because shoppers are answered only as long as we renew, whatever the database does
        self._stamping = threading.Thread(target=self._stamp, args=(standing, epoch, seconds), daemon=True)
        self._stamping.start()
        self._stamping.join(STAMP_TIMEOUT_S)

    def _stamp(self, standing: Standing, epoch: int, seconds: float) -> None:
        try:
            fence.stamp(self._database, self._s.region, epoch, seconds)
            self._closed = epoch if standing != "active" else None
        except SQLAlchemyError:
            # being restored, not up yet, or without our tables: what cannot be written needs no fence
            log.debug("the database could not be updated", exc_info=True)

    def _remaining_right(self) -> str:
        """Say for people what this region may still do without the control group."""
        right = fence.read(self._s)
        if right is None:
            return "there never was a lease, this region is alone"
        left = right.until - fence.boottime()
        return f"may write for another {left:.0f} s" if right.standing == "active" and left > 0 else "takes no writes"

    def _write_heartbeat(self) -> None:
        state_file.write(self._s.region_home / HEARTBEAT, {"at": time.time(), "doing": _sentence(self._last)})


def _sentence(result: StepResult) -> str:
    return ": ".join([result.summary, *result.facts.values()])


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    s, stop = settings(), threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    LeaseDaemon(s, RegionLease.of(s)).run(stop)


if __name__ == "__main__":
    main()
