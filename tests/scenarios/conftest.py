"""The embedded stack with Airflow, and a small generated shop that lived through two nights."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings
from ingestion.landing.land import land
from ingestion.pseudonymize import Pseudonymizer
from ingestion.sources.shop import MadeShop, ShopPlan, generate
from tests.releases.own_ledger import let_serve
from tests.scenarios.nights import PATIENCE
from tests.waiting import until


@pytest.fixture(scope="session")
def airflow(stack: Settings) -> Iterator[Airflow]:
    """A client of the running stack's Airflow; the control group is started beside the region where it is not."""
    from caravan.stack import up

    up(stack, regions=(), control=True)
    client = Airflow.of(stack)
    client.ensure_ready("nightly")
    client.ensure_ready("release")
    yield client
    client.close()


@pytest.fixture(scope="session")
def last() -> date:
    """The last day of the shop: another one per test run, because Airflow has one run per logical date."""
    return date(2001, 1, 1) + timedelta(days=time.time_ns() // 10**9 % 8000)


@pytest.fixture(scope="session")
def shop(last: date, tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    """A small shop whose events go one day beyond `last`."""
    plan = ShopPlan(days=10, shoppers=300, items=120, seed=11, end=last + timedelta(days=1))
    return generate(plan, tmp_path_factory.mktemp("shop"), progress=None)


@pytest.fixture(scope="session")
def source(stack: Settings, shop: MadeShop) -> str:
    """The shop, landed under a name of its own."""
    name = f"night-{uuid.uuid4().hex[:8]}"
    land(
        Lake.of(stack, name), shop.events, shop.catalog, shop.judgments,
        pseudonymizer=Pseudonymizer(stack.secret("pseudonym_key")),
    )  # fmt: skip
    let_serve(Ledger.of(stack), name)
    return name


@pytest.fixture(scope="session")
def first_of_all(stack: Settings) -> bool:
    """Whether the region never had a champion: then the first release goes to the shoppers without a question."""
    return Ledger.of(stack).newest("champion") is None


@pytest.fixture(scope="session")
def backfilled(stack: Settings, airflow: Airflow, source: str, last: date, first_of_all: bool) -> list[dict[str, Any]]:
    """The runs of Airflow's own backfill of the shop's last two days."""
    first = last - timedelta(days=1)
    number = airflow.backfill("nightly", first, last, {"source": source, "recipe": "tiny", "rollout": "demo"})

    def over() -> bool:
        return airflow.backfill_state(number)["completed_at"] is not None

    until(over, PATIENCE, every=1, otherwise="the backfill does not end")
    return airflow.runs_between("nightly", first, last)
