"""The nightly chain's story in the ledger, on the real database."""

from __future__ import annotations

import uuid

import pytest

from artifacts.ledger import Ledger
from contracts.settings import Settings
from releases import record

pytestmark = pytest.mark.stack


def test_a_night_run_twice_is_told_once(stack: Settings) -> None:
    ledger, source = Ledger.of(stack), f"test-{uuid.uuid4().hex[:8]}"
    first, second = uuid.uuid4().hex * 2, uuid.uuid4().hex * 2
    for _ in range(2):
        record.gated(ledger, source, first, version=1, evidence={"ndcg_at_10": 0.1})
        record.champion(ledger, source, first, version=1)
    record.gated(ledger, source, second, version=2, evidence={"ndcg_at_10": 0.2})
    record.champion(ledger, source, second, version=2)
    told = [(m.digest, m.to_state) for m in ledger.history(source)]
    road = ["built", "gated", "approved", "champion"]
    assert told == [(first, s) for s in road] + [(second, s) for s in road[:-1]] + [
        (first, "retired"),
        (second, "champion"),
    ]
    now = ledger.champion(source)
    assert now is not None
    assert (now.digest, now.version) == (second, 2)
