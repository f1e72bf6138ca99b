"""A stack with both regions and the control group, and its primary made the active region again."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts import fence
from caravan.cli.airflow_api import Airflow
from caravan.stack import down, up
from contracts.errors import StackError
from contracts.region import RegionName
from contracts.settings import Settings, read_settings
from recovery.region_lease.lease import RegionLease
from tests.conftest import free_offset
from tests.waiting import until

#: Runs that the schedule would start in the middle of a test.
SCHEDULED = ("back_up", "rehearse_recovery")
REGIONS: tuple[RegionName, ...] = ("primary", "standby")


@contextmanager
def two_regions() -> Iterator[Settings]:
    """Settings of the primary of a stack of its own, because that primary is destroyed."""
    home = Path(tempfile.mkdtemp(prefix="caravan-lost-"))
    home.chmod(0o711)
    s = read_settings(home=home, port_offset=free_offset())
    try:
        s = up(s, regions=REGIONS, control=True)
        airflow = Airflow.of(s)
        for dag in SCHEDULED:
            airflow.ensure_ready(dag)
            airflow.call("PATCH", f"/dags/{dag}", json={"is_paused": True})
        airflow.close()
        yield s
    finally:
        for _ in range(60):
            try:
                down(s)
                break
            except StackError:  # a task that was left running is starting or stopping something
                time.sleep(1)
        shutil.rmtree(home, ignore_errors=True)


def primary_again(s: Settings) -> Settings:
    """Both regions run and the primary is the active one; a primary that was destroyed is made again."""
    s, active = up(s, regions=REGIONS, control=True), RegionLease.of(s)
    held = until(active.look, 60, every=0.5, otherwise="no region asks for the lease")
    if held.region != "primary" or held.draining:
        active.claim("primary", held.epoch + 1, actor="test", reason="the next test", now=True)
    active.close()
    until(lambda: _active(s), 60, every=0.2, otherwise="the primary does not hear that it is the active region")
    return s


def _active(s: Settings) -> bool:
    right = fence.read_right(s)
    return right is not None and right.standing == "active"
