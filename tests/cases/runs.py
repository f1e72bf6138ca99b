"""Cases 43, 44 and N5: runs of the chain with wrong parameters, of two shops in turn, and another shop's release."""

from __future__ import annotations

from typing import Any

from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from contracts.errors import CaravanError
from tests.cases import probe_shop
from tests.cases.case import Case, Given, Looks
from tests.cases.running import RunningShop


def check_parameters(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A misspelled parameter and what is no day start nothing."""
    airflow, day = Airflow.of(shop.s), str(given.day(3))
    good = {"source": shop.s.shop, "recipe": "tiny"}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("Dat", good | {"Dat": day}), ("dayy", good | {"dayy": day}), ("receipt", {"day": day, "receipt": "tiny"}),
        ("30 February", good | {"day": f"{given.now.year}-02-30"}), ("a time", good | {"day": f"{day}T00:00:00Z"}),
        ("a number", good | {"day": int(f"{given.day(3):%Y%m%d}")}),
    ]  # fmt: skip
    before = _count(airflow)
    for name, conf in wrong:
        try:
            airflow.trigger("nightly", conf, note="a case")
            looks.holds(f"{name} is refused", False)
        except CaravanError as error:
            looks.holds(f"{name} is refused:", "(400)" in error.what or "(422)" in error.what, error.what[-160:])
    looks.equal("runs started", 0, _count(airflow) - before)
    airflow.close()


def _count(airflow: Airflow) -> int:
    return int(airflow.call("GET", "/dags/nightly/dagRuns", params={"limit": 1})["total_entries"])


def check_backfills(looks: Looks, given: Given, shop: RunningShop) -> None:
    """The same day for two shops in turn: the second backfill is about the second shop; its release does not serve."""
    other, day = given.run, str(given.day(2))
    rows = probe_shop.events(given)
    catalog = probe_shop.write_catalog(given.folder / "catalog.csv")
    shop.ingest(other, "--catalog", catalog, probe_shop.write_events(given.folder / "e.jsonl", rows))
    for source, recipe in ((shop.s.shop, "tiny"), (other, "tiny")):
        done = shop.caravan("backfill", "--from", day, "--to", day, "--source", source, "--recipe", recipe)
        looks.equal(f"backfill of {source} exits", 0, done.code)
        looks.holds("its last lines name it", source in done.out[-600:], done.said[-200:])
    airflow = Airflow.of(shop.s)
    runs = airflow.runs_between("nightly", given.day(2), given.day(2))
    airflow.close()
    conf = runs[-1]["conf"]
    looks.equal("the run's source", other, conf.get("source"))
    found = Ledger.of(shop.s).releases(other)
    looks.equal("releases of the second shop", 1, len(found))
    shop.planted["second shop"] = [one.digest for one in found]


def check_another_shop(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A release of another shop is not approved: it would meet all shoppers at once."""
    digests = shop.planted.get("second shop", [])
    looks.holds("a second shop's release is there (case 44 makes it)", digests)
    for digest in digests:
        password = str(shop.s.home / "secrets" / "airflow_reviewer_password")
        refused = shop.caravan("release", "approve", digest[:12], "--reason", "a case", "--password-file", password)
        looks.equal("approving it exits", 3, refused.code)
        looks.holds("it names the way on:", "region serve" in refused.said, refused.said[-300:])


CASES = (
    Case("43", "misspelled parameters", "refused with the name; no run", "stack", check_parameters),
    Case("44", "two shops in turn", "each its own run and release", "stack",
         check_backfills),
    Case("N5", "another shop's release", "refused, with the way on", "stack", check_another_shop),
)  # fmt: skip
