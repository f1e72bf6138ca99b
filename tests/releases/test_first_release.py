"""How the very first release gets to the shoppers without anybody being asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from artifacts.ledger import Ledger
from contracts.errors import ReleaseError, ServingError
from releases import first_release
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger, rows


def ledger(*road: str) -> Ledger:
    return cast("Ledger", RowLedger(*road))


def test_the_first_release_is_approved_once_and_says_so() -> None:
    known = RowLedger("built", "gated")
    for _ in range(2):
        assert first_release.approve_first(cast("Ledger", known), "shop", DIGEST, shop="shop")
    assert [m.to_state for m in known.moves] == ["built", "gated", "approved"]
    assert known.moves[-1].evidence == {"first_release": True}
    assert known.moves[-1].actor == "nightly"
    assert "others in the ledger: none" in known.moves[-1].reason
    assert not first_release.approve_first(
        ledger("built", "gated", "approved", "champion"), "shop", DIGEST, shop="shop"
    )
    assert not first_release.approve_first(ledger("built", "gated", "rejected"), "shop", DIGEST, shop="shop")


def test_a_release_after_one_that_did_not_get_there_is_not_called_the_first() -> None:
    before = [replace(move, digest="cd" * 32) for move in rows("built", "gated", "approved", "rolled_back")]
    known = RowLedger("built", "gated")
    known.history = lambda *_: [*before, *known.moves]  # type: ignore[method-assign]
    text = first_release.why_first(cast("Ledger", known), "shop", DIGEST)
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
    first_release.await_first(cast("Ledger", known), "shop", DIGEST, lambda: next(said), timeout=5, every=0)
    assert next(said, None) is None


def test_a_first_release_that_does_not_get_there_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ServingError, match="caravan status"):
        first_release.await_first(
            ledger("built", "gated", "approved"), "shop", DIGEST, lambda: {"ready": False, "reason": "no answer"},
            timeout=0.05, every=0.01,
        )  # fmt: skip
    with pytest.raises(ReleaseError, match="because"):
        first_release.await_first(ledger("built", "gated", "approved", "rolled_back"), "shop", DIGEST, dict, timeout=5)
