"""Runs the controller of one region, `python -m releases`, until SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

import httpx

from artifacts import state_file
from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from contracts.errors import CaravanError
from contracts.region_paths import CONTROLLER
from contracts.settings import Settings, settings
from releases.disk_watch import DiskWatch
from releases.log_retention import tidy
from releases.overlay import Keeper
from releases.rollout.aliases import reconcile
from releases.rollout.controller import Controller
from releases.rollout.live import live_controller
from releases.rollout.traffic import Deployed
from releases.served_shop import serving_source

log = logging.getLogger("releases")

#: Seconds between two looks: while a release is in progress, and while none is.
BUSY_EVERY_S, IDLE_EVERY_S = 0.5, 1.0
#: Seconds between two looks at MLflow's aliases when nothing has changed.
ALIASES_EVERY_S = 60.0
#: Seconds after which a look counts as hanging, and a running canary is judged beside it.
TICK_TIMEOUT_S = 4.0
#: Seconds between two looks at logs that are too old or too large, and at the disk.
TIDY_EVERY_S = 60.0


def run(s: Settings, stop: threading.Event) -> None:
    """Tick until `stop`; no failure ends it."""
    controller: Controller | None = None
    disk = DiskWatch(s)
    seen: object = None
    looked, tidied, pool = -ALIASES_EVERY_S, time.monotonic(), ThreadPoolExecutor(1, "look")
    while not stop.is_set():
        pause = IDLE_EVERY_S
        try:
            controller = controller or live_controller(s)
            deployed = look(controller, pool)
            pause = BUSY_EVERY_S if deployed.candidate else IDLE_EVERY_S
            beat(s, controller.doing)
            if deployed != seen or time.monotonic() - looked > ALIASES_EVERY_S:
                seen, looked = deployed, time.monotonic()
                _aliases(s)
            if time.monotonic() - tidied > TIDY_EVERY_S:
                tidied = time.monotonic()
                disk.look(now=datetime.now(UTC))
                for done in tidy(s, now=datetime.now(UTC), busy=deployed.candidate is not None):
                    log.info("logs: %s", done)
        except CaravanError as error:
            log.warning("%s", error)
            beat(s, f"waiting: {error.what}")
        except Exception:  # no failure of a region may end the controller
            log.exception("a look failed")
        stop.wait(pause)
    pool.shutdown(wait=False, cancel_futures=True)


def look(controller: Controller, pool: ThreadPoolExecutor) -> Deployed:
    """Tick once; while that waits for a database that hangs, a running canary is judged all the same."""
    ticking = pool.submit(controller.tick)
    while not wait([ticking], timeout=TICK_TIMEOUT_S).done:
        log.warning("the database does not answer within %.0f s", TICK_TIMEOUT_S)
        controller.guard()
    return ticking.result()


def beat(s: Settings, doing: str) -> None:
    """Say that the controller lives."""
    state_file.write(s.paths.heartbeat(CONTROLLER), {"at": time.time(), "doing": doing})


def _aliases(s: Settings) -> None:
    ledger = Ledger.of(s)
    source = serving_source(ledger)
    if source is None:
        return
    try:
        for change in reconcile(s, ledger, source):
            log.info("MLflow alias %s", change)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        log.warning("MLflow's aliases could not be set: %s", error)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    s = settings()
    if s.overlay:
        Keeper(s, lambda: ObjectStore.of(s), stop).start()
    run(s, stop)


if __name__ == "__main__":
    main()
