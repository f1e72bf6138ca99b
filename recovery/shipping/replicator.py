"""Ships WAL, the event log and new objects to the vault continuously: `python -m recovery.shipping.replicator`.

The WAL as it is written, the event log every few seconds, and what is new in the buckets, recorded in the journal. No
failure ends it: the standby may be away for a while, and the replication slot keeps the WAL meanwhile.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from artifacts import fence, state_file
from artifacts.fence import Fence
from contracts.errors import CaravanError, Conflict, Fenced
from contracts.region_paths import REPLICATOR
from contracts.settings import Settings, settings
from recovery.shipping import event_log, journal, objects, wal
from recovery.vault import vault_lock
from recovery.vault.catalog import Catalog
from recovery.vault.manifest import Segment
from recovery.vault.vault import Vault

log = logging.getLogger("recovery.shipping.replicator")

#: Seconds between two checks of the event log, and of the buckets.
LOGS_EVERY, OBJECTS_EVERY = 3.0, 10.0
#: Seconds to wait after something failed.
AFTER_FAILURE = 5.0


class Feed:
    """One region's replicator."""

    def __init__(self, s: Settings) -> None:
        self._s = s
        self._said: dict[str, str] = {}
        self._done: dict[str, float] = {}
        self._reached: dict[str, int] | None = None
        self._system: str | None = None
        self._fence = Fence(s)
        self._known: objects.Inventory | None = None

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""
        works = [
            ("log", self._log, 0.0),
            ("events", self._events, LOGS_EVERY),
            ("objects", self._objects, OBJECTS_EVERY),
        ]
        threads = [threading.Thread(target=self._keep, args=(*work, stop), name=work[0]) for work in works]
        for thread in threads:
            thread.start()
        while not stop.wait(1.0):
            self._beat()
        for thread in threads:
            thread.join()

    def _keep(self, name: str, work: Callable[[threading.Event], None], every: float, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._demand()
                work(stop)
                self._done[name] = time.time()
                if self._said.pop(name, ""):
                    log.info("%s is uploaded again", name)
                stop.wait(every)
            except Fenced as error:
                self._tell(name, f"{error.what}; waiting")
                stop.wait(AFTER_FAILURE)
            except Conflict as error:
                self._tell(name, f"{error.what}; waiting")  # a snapshot or another feed is at it
                stop.wait(AFTER_FAILURE)
            except CaravanError as error:
                self._tell(name, str(error))
                stop.wait(AFTER_FAILURE)
            except Exception:
                log.exception("%s could not go over", name)
                stop.wait(AFTER_FAILURE)

    def _active(self) -> bool:
        try:
            self._demand()
        except Fenced:
            return False
        return True

    def _demand(self) -> None:
        """Raise Fenced unless this is the active region, so that nothing of a past epoch is shipped."""
        self._fence.demand()
        if fence.read_right(self._s) is None and self._s.region != "primary":
            raise Fenced("without a lease the primary is the active region", remedy="start the control group")

    def _tell(self, name: str, what: str) -> None:
        if self._said.get(name) != what:
            self._said[name] = what
            log.warning("%s: %s", name, what)

    def _log(self, stop: threading.Event) -> None:
        shipper = wal.Shipper(self._s, Vault.of(self._s))
        shipper.run(stop, going=self._active)

    def _events(self, _stop: threading.Event) -> None:
        vault, known = Vault.of(self._s), tuple[Segment, ...]()
        if self._reached is None and (newest := Catalog(vault, self._s).newest(self._of())) is not None:
            known = newest.events
        self._reached = event_log.ship(vault, self._of(), self._s.paths.home, self._reached, known=known)

    def _of(self) -> str:
        """Return the system identifier of the database that WAL and events belong to.

        It is read once, so that events are shipped also while the database is down.
        """
        if self._system is None:
            self._system, _, _ = wal.identify(self._s)
        return self._system

    def _objects(self, _stop: threading.Event) -> None:
        system, vault = self._of(), Vault.of(self._s)
        if self._known is None:
            newest = Catalog(vault, self._s).newest(system)
            known: objects.Inventory = {}
            if newest is not None:
                known = objects.read_inventory(vault, newest.objects.inventory)
                known |= journal.since(vault, self._s, system, newest.at, None)
            self._known = known
        stores = objects.buckets(self._s)
        if not objects.has_changed(stores, self._known):
            return
        with vault_lock.hold(vault.store, f"feed of {self._s.region}") as lock:
            found = objects.list_buckets(stores, vault, self._known, self._s.cache / "snapshots")
            if fresh := objects.changed(self._known, found):
                lock.demand()  # what the note names may have been removed by who took the lock meanwhile
                journal.write_journal(vault, self._s, system, datetime.now(UTC), fresh)
                log.info("%d objects, %.1f MB", len(fresh), vault.moved / 1e6)
        self._known = found

    def _beat(self) -> None:
        facts = {"at": time.time(), "done": self._done, "waiting": self._said}
        state_file.write(self._s.paths.heartbeat(REPLICATOR), facts)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    Feed(settings()).run(stop)


if __name__ == "__main__":
    main()
