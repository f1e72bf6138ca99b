"""A stack with both regions and the control group, of its own, because its primary is destroyed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts import fence
from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings, read_settings
from recovery.active import Active
from tests.conftest import free_offset


@pytest.fixture(scope="session")
def stack_of_two() -> Iterator[Settings]:
    """Settings of its primary; CARAVAN_TWO_REGIONS names the home of one whose primary may be destroyed."""
    from caravan.stack import down, up

    given = os.environ.get("CARAVAN_TWO_REGIONS")
    if given:
        yield read_settings(home=Path(given), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
        return
    home = Path(tempfile.mkdtemp(prefix="caravan-lost-"))
    home.chmod(0o711)
    s = up(read_settings(home=home, port_offset=free_offset()), regions=("primary", "standby"), control=True)
    try:
        yield s
    finally:
        down(s)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def two_regions(stack_of_two: Settings) -> Settings:
    """Both regions run and the primary is the active one; one that an earlier test destroyed is made anew."""
    from caravan.stack import up

    s = up(stack_of_two, regions=("primary", "standby"), control=True)
    active = Active.of(s)
    until = time.monotonic() + 60
    while (held := active.look()) is None:
        assert time.monotonic() < until, "no region asks for the lease"
        time.sleep(0.5)
    if held.region != "primary" or held.draining:
        active.claim("primary", held.epoch + 1, actor="test", reason="the next test", now=True)
    active.close()
    while (right := fence.read(s)) is None or right.standing != "active":
        assert time.monotonic() < until, "the primary does not hear that it is the active region"
        time.sleep(0.2)
    return s


@pytest.fixture
def oncall(two_regions: Settings) -> Iterator[Airflow]:
    """Airflow, as the person on call uses it."""
    airflow = Airflow.of(two_regions, "oncall")
    yield airflow
    airflow.close()
