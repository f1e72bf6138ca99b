"""The nightly chain's story in the ledger, on the real database."""

from __future__ import annotations

import uuid

import pytest

from artifacts.ledger import Ledger
from contracts.settings import Settings
from releases import registration
from tests.fakes import GATE


@pytest.mark.stack
def test_a_night_run_twice_is_told_once(stack: Settings) -> None:
    ledger, source, digest = Ledger.of(stack), f"test-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex * 2
    for _ in range(2):
        registration.gated(
            ledger, source, digest, version=1, evidence={"ndcg_at_10": 0.1}, decision=GATE, author="anna", policy="demo"
        )
    built, gated = ledger.history(source)
    assert (built.to_state, built.evidence) == ("built", {"author": "anna"})
    assert (gated.to_state, gated.evidence) == ("gated", {"ndcg_at_10": 0.1, "policy": "demo"})
    assert gated.version == 1
    assert gated.reason == "passed the gate: There is no champion to compare with."


@pytest.mark.parametrize("difference", ["+0.4%", "-3.1%"])
def test_the_reason_is_what_the_gate_measured(difference: str) -> None:
    sentence = f"Against the champion's 0.3000 the difference is {difference}."
    decision = {
        "passed": True,
        "checks": [{"name": "numbers", "sentence": "x"}, {"name": "no regression", "sentence": sentence}],
    }
    assert registration.reason(decision) == f"passed the gate: {sentence}"
    assert "no sentences" in registration.reason({})
    long = registration.reason({"checks": [{"name": "n", "sentence": "long " * 900}]})
    assert len(long) == registration.LONGEST_GATE_REASON
