"""Two releases of the nightly chain, from challenger to champion with replayed shoppers in the shop.

One is approved in the Airflow pages, the other in the MLflow pages, both in a real browser. What is judged then is
real traffic through Envoy, and what the ledger tells afterwards is the whole story.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from artifacts.ledger import Ledger
from artifacts.registry import Registry
from caravan.cli.airflow_api import Airflow
from caravan.cli.demo.rollout import DemoShoppers
from contracts.settings import Settings
from ingestion.sources.shop import MadeShop
from tests.browser import pages
from tests.browser.screenshots import CHROMIUM, browser
from tests.scenarios.nights import complaints, ended
from tests.waiting import until

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM}; CHROMIUM names another"),
]
ROAD = ["approved", "shadow", "canary_1", "canary_5", "canary_25", "canary_50", "champion"]
PATIENCE = 600


def waiting(s: Settings, source: str, digest: str) -> None:
    """Until people were asked about it."""
    ledger = Ledger.of(s)
    until(lambda: ledger.newest("asked", source=source, digest=digest), 120, every=0.5, otherwise="nobody is asked")


def champion_at_last(s: Settings, source: str, digest: str) -> None:
    """Until all shoppers have it; fails with its story when it is sent back."""
    ledger = Ledger.of(s)

    def so_far() -> str:
        return "\n".join(f"{m.to_state}: {m.reason}" for m in ledger.history(source, digest))

    def serves() -> bool:
        state = ledger.state(source, digest)
        assert state not in ("rolled_back", "rejected"), so_far()
        return state == "champion"

    until(serves, PATIENCE, every=0.5, otherwise=so_far)


def story(s: Settings, source: str, digest: str, door: str) -> None:
    """What the ledger says of a release that got through: every step, who let it, and on what evidence."""
    moves = Ledger.of(s).history(source, digest)
    assert [m.to_state for m in moves if m.to_state in ROAD] == ROAD
    approved = next(m for m in moves if m.to_state == "approved")
    assert (approved.actor, approved.evidence["door"], approved.evidence["digest"]) == ("reviewer", door, digest)
    proof = next(m for m in moves if m.to_state == "champion").evidence
    assert proof["decision"] == "promote"
    assert all(guardrail["proven"] for guardrail in proof["guardrails"])
    assert Ledger.of(s).verify() >= len(moves)
    version = next(v for v in Registry.of(s).versions(source) if v.digest == digest)
    registry = Registry.of(s)
    until(
        lambda: registry.alias(source, "champion") == version, 90, every=1, otherwise="MLflow's alias does not follow"
    )


def shopping(s: Settings, shop: MadeShop) -> DemoShoppers:
    return DemoShoppers(s, shop.events[-3:], rate=25.0, fresh_shoppers=True)


def release_run(airflow: Airflow, source: str, digest: str) -> dict[str, Any]:
    """The run of the DAG `release` about a digest, once it has ended."""
    return ended(airflow, f"{source}-{digest[:12]}", "release", patience=PATIENCE)


def test_approved_in_airflow(
    stack: Settings, airflow: Airflow, source: str, shop: MadeShop, backfilled: list[dict[str, Any]], last: date
) -> None:
    digest = Registry.of(stack).versions(source)[1].digest
    if Ledger.of(stack).newest("asked", source=source, digest=digest) is None:
        conf = {"day": str(last), "source": source, "recipe": "tiny", "rollout": "demo"}
        ended(airflow, airflow.trigger("nightly", conf, note="by hand, so people are asked"))
    waiting(stack, source, digest)
    with shopping(stack, shop).shopping() as shoppers, browser() as context:
        page = pages.into_airflow(stack, context, "reviewer")
        pages.open_request(stack, page, digest)
        pages.approve_request(page, "fine on every slice")
        champion_at_last(stack, source, digest)
    assert shoppers.report is not None
    assert shoppers.report.errors == {}
    assert release_run(airflow, source, digest)["state"] == "success"
    story(stack, source, digest, "airflow")


def test_approved_in_mlflow(
    stack: Settings, airflow: Airflow, source: str, shop: MadeShop, backfilled: list[dict[str, Any]], last: date
) -> None:
    day = last + timedelta(days=1)
    conf = {"day": str(day), "source": source, "recipe": "tiny", "rollout": "demo"}
    run = ended(airflow, airflow.trigger("nightly", conf, note="the third night"))
    assert complaints(airflow, run["dag_run_id"]) == {}
    version = Registry.of(stack).versions(source)[2]
    waiting(stack, source, version.digest)
    with shopping(stack, shop).shopping() as shoppers, pages.in_mlflow(stack, "reviewer") as context:
        value = f"approve {version.digest[:12]} fine everywhere"
        pages.tag_a_version(stack, context, source, version.number, version.digest, value)
        champion_at_last(stack, source, version.digest)
    assert shoppers.report is not None
    assert shoppers.report.errors == {}
    assert release_run(airflow, source, version.digest)["state"] == "success"
    story(stack, source, version.digest, "mlflow")
