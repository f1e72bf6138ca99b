"""A stack with both regions and the control group, of its own, because its primary is destroyed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings, read_settings
from tests.scenarios import two_regions as regions


@pytest.fixture(scope="session")
def stack_of_two() -> Iterator[Settings]:
    """Settings of its primary; CARAVAN_TWO_REGIONS names the home of one whose primary may be destroyed."""
    given = os.environ.get("CARAVAN_TWO_REGIONS")
    if given:
        yield read_settings(home=Path(given), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
        return
    with regions.two_regions() as s:
        yield s


@pytest.fixture
def two_regions(stack_of_two: Settings) -> Settings:
    """Both regions run and the primary is the active one; one that an earlier test destroyed is made again."""
    return regions.primary_again(stack_of_two)


@pytest.fixture
def oncall(two_regions: Settings) -> Iterator[Airflow]:
    """Airflow, as the person on call uses it."""
    airflow = Airflow.of(two_regions, "oncall")
    yield airflow
    airflow.close()
