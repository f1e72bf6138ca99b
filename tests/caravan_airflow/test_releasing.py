"""The task that writes the brief, without Airflow and without a store."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from caravan_airflow.release import tasks

from contracts.settings import Settings
from releases.approval.review_summary import Brief
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger


def briefed(monkeypatch: pytest.MonkeyPatch, *road: Any) -> RowLedger:
    """What the ledger says after the task has run on a release that came along `road`."""
    ledger = RowLedger(*road)
    monkeypatch.setattr("artifacts.ledger.Ledger.of", lambda _s: ledger)
    monkeypatch.setattr("artifacts.object_store.ObjectStore.of", lambda _s: None)
    monkeypatch.setattr("releases.approval.review_summary.brief", lambda *_: Brief(title="may it?", text="a brief"))
    monkeypatch.setattr(tasks, "here", Settings)
    monkeypatch.setattr(tasks, "links", lambda *_: {})
    monkeypatch.setattr(tasks, "_await_drift", lambda *_: None)
    context = {"params": {"source": "shop", "digest": DIGEST}, "ti": SimpleNamespace(xcom_push=pytest.fail)}
    assert tasks.brief(context) == DIGEST
    return ledger


def test_a_release_that_awaits_an_answer_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert briefed(monkeypatch, "built", "gated").moves[-1].to_state == "asked"


def test_a_release_whose_time_is_over_is_rejected_and_the_brief_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = briefed(monkeypatch, "built", "gated", ("asked", {"until": "2026-03-02T00:00:00+00:00"}))
    assert (ledger.moves[-1].to_state, ledger.moves[-1].actor) == ("rejected", "timeout")
