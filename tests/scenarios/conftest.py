"""The embedded stack with Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings


@pytest.fixture(scope="module")
def airflow(stack: Settings) -> Iterator[Airflow]:
    """A client of the running stack's Airflow; the control group is started beside the region where it is not."""
    from caravan.stack import up

    up(stack, regions=(), control=True)
    client = Airflow.of(stack)
    client.ensure_ready("nightly")
    yield client
    client.close()
