"""Which releases people are asked about. Without Airflow."""

from __future__ import annotations

from typing import cast

from caravan_airflow.nightly import offering
from caravan_airflow.step import Run

from artifacts.ledger import Ledger
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger

RUN = Run(day="2026-03-01", source="shop", recipe="default")
BACKFILL = Run(day="2026-03-01", source="shop", recipe="default", kind="backfill")


def ledger(*road: str) -> Ledger:
    return cast("Ledger", RowLedger(*road))


def test_a_gated_release_is_offered_and_nothing_else() -> None:
    def day_of(_: str) -> str:
        return "2026-02-28"

    assert offering.why_not(RUN, ledger("built", "gated"), DIGEST, day_of, shop="shop") is None
    assert "caravan release approve" in str(
        offering.why_not(BACKFILL, ledger("built", "gated"), DIGEST, day_of, shop="shop")
    )
    foreign = str(offering.why_not(RUN, ledger("built", "gated"), DIGEST, day_of, shop="office"))
    assert "this region serves office" in foreign
    assert f"caravan region serve {RUN.source}" in foreign
    for road in (("approved",), ("rejected",), ("approved", "champion"), ("approved", "rolled_back")):
        assert "already" in str(offering.why_not(RUN, ledger("built", "gated", *road), DIGEST, day_of, shop="shop"))


def test_an_older_day_is_not_offered_over_a_newer_champion() -> None:
    known = RowLedger("built", "gated")
    known.champion = lambda *_: known.moves[0]  # type: ignore[method-assign,assignment]
    for day, asked in (("2026-03-02", False), ("2026-03-01", True), ("2026-02-01", True)):
        found = offering.why_not(RUN, cast("Ledger", known), DIGEST, lambda _, day=day: day, shop="shop")  # type: ignore[misc]
        assert (found is None) is asked, day


class Runs:
    def __init__(self) -> None:
        self.started: dict[str, dict[str, str]] = {}

    def start(self, run: str, conf: dict[str, str], note: str) -> bool:
        new = run not in self.started
        self.started.setdefault(run, conf)
        return new


def test_nobody_is_asked_twice_about_a_digest() -> None:
    runs = Runs()
    assert offering.ask_people(runs, RUN, DIGEST)
    assert not offering.ask_people(runs, RUN, DIGEST)
    assert not offering.ask_people(runs, Run(day="2026-03-09", source="shop", recipe="tiny"), DIGEST)
    assert runs.started == {f"shop-{DIGEST[:12]}": {"source": "shop", "digest": DIGEST}}
