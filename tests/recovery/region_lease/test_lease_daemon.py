"""Without the control group the lease daemon logs that once, and its heartbeat says how long the region may write."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from artifacts import fence
from artifacts.fence import Right
from contracts.errors import StoreUnavailable
from contracts.region_paths import LEASE_DAEMON
from contracts.settings import Settings
from recovery.region_lease.lease import Lease
from recovery.region_lease.lease_daemon import LeaseDaemon
from tests.recovery.vaults import settings


class NoControl:
    """The control group's lease, which does not answer, while the right runs out; the third look ends the daemon."""

    def __init__(self, s: Settings, stop: threading.Event) -> None:
        self._s = s
        self._stop = stop
        self._looks = 0

    def look(self) -> Lease:
        self._looks += 1
        if self._looks == 3:
            self._stop.set()
        until = fence.boottime() + 100 / self._looks
        fence.write_right(self._s, Right(region="primary", epoch=2, standing="active", until=until, boot=fence.boot()))
        raise StoreUnavailable("no answer")


def test_control_that_stays_away_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    s, stop = settings().model_copy(update={"home": tmp_path, "lease_seconds": 0.06}), threading.Event()
    with caplog.at_level("INFO"):
        LeaseDaemon(s, NoControl(s, stop), database=object()).run(stop)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert record.message.startswith("the control group does not answer: may write for another ")
    doing = json.loads(s.paths.heartbeat(LEASE_DAEMON).read_text())["doing"]
    assert doing.startswith("the control group does not answer: may write for another ")
    assert doing != record.message  # the seconds that are left
