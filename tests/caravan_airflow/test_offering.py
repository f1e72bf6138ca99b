"""Which releases people are asked about, and how the very first one gets to the shoppers. Without Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from caravan_airflow.nightly import offering
from caravan_airflow.step import Run

from artifacts.ledger import Ledger
from contracts.errors import ReleaseError, ServingError
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger, rows

RUN = Run(day="2026-03-01", source="shop", recipe="default")
BACKFILL = Run(day="2026-03-01", source="shop", recipe="default", kind="backfill")


def ledger(*road: str) -> Ledger:
    return cast("Ledger", RowLedger(*road))


def test_a_gated_release_is_offered_and_nothing_else() -> None:
    def day_of(_: str) -> str:
        return "2026-02-28"

    assert offering.why_not(RUN, ledger("built", "gated"), DIGEST, day_of) is None
    assert "caravan release approve" in str(offering.why_not(BACKFILL, ledger("built", "gated"), DIGEST, day_of))
    for road in (("approved",), ("rejected",), ("approved", "champion"), ("approved", "rolled_back")):
        assert "already" in str(offering.why_not(RUN, ledger("built", "gated", *road), DIGEST, day_of))


def test_an_older_day_is_not_offered_over_a_newer_champion() -> None:
    known = RowLedger("built", "gated")
    known.champion = lambda *_: known.moves[0]  # type: ignore[method-assign,assignment]
    for day, asked in (("2026-03-02", False), ("2026-03-01", True), ("2026-02-01", True)):
        found = offering.why_not(RUN, cast("Ledger", known), DIGEST, lambda _, day=day: day)  # type: ignore[misc]
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


def test_the_first_release_is_approved_once_and_says_so() -> None:
    known = RowLedger("built", "gated")
    for _ in range(2):
        assert offering.start_first(cast("Ledger", known), "shop", DIGEST)
    assert [m.to_state for m in known.moves] == ["built", "gated", "approved"]
    assert known.moves[-1].evidence == {"first_release": True}
    assert known.moves[-1].actor == "nightly"
    assert "others in the ledger: none" in known.moves[-1].reason
    assert not offering.start_first(ledger("built", "gated", "approved", "champion"), "shop", DIGEST)
    assert not offering.start_first(ledger("built", "gated", "rejected"), "shop", DIGEST)


def test_a_release_after_one_that_did_not_get_there_is_not_called_the_first() -> None:
    before = [replace(move, digest="cd" * 32) for move in rows("built", "gated", "approved", "rolled_back")]
    known = RowLedger("built", "gated")
    known.history = lambda *_: [*before, *known.moves]  # type: ignore[method-assign]
    text = offering.why_first(cast("Ledger", known), "shop", DIGEST)
    assert "no release was ever champion in this region (others in the ledger: 1 rolled_back)" in text


def test_the_first_release_is_waited_for_until_the_engine_serves_that_very_digest() -> None:
    known = RowLedger("built", "gated", "approved")

    def engine() -> Iterator[dict[str, Any]]:
        yield {"ready": False, "reason": "no answer"}
        yield {"ready": True, "release": "another"}
        known.add("champion")
        yield {"ready": True, "release": "another"}
        yield {"ready": True, "release": DIGEST}

    said = engine()
    offering.wait_until_served(cast("Ledger", known), "shop", DIGEST, lambda: next(said), patience=5, pause=0)
    assert next(said, None) is None


def test_a_first_release_that_does_not_get_there_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ServingError, match="caravan status"):
        offering.wait_until_served(
            ledger("built", "gated", "approved"), "shop", DIGEST, lambda: {"ready": False, "reason": "no answer"},
            patience=0.05, pause=0.01,
        )  # fmt: skip
    with pytest.raises(ReleaseError, match="because"):
        offering.wait_until_served(
            ledger("built", "gated", "approved", "rolled_back"), "shop", DIGEST, dict, patience=5
        )
