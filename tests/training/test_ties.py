"""Baskets of one second, whole nights of them: noise gives chance, and other names of items the same figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from artifacts.lake import Lake
from artifacts.publish import fetch
from contracts import release as files
from contracts.events import EVENTS
from retrieval import metrics
from tests.training import builders
from tests.training.conftest import Night
from tests.training.data import test_ties as ties
from training import recipes
from training.evaluation.evaluate import evaluate
from training.fitting.train import train
from training.gate import gate

ITEMS = 50


def noise(shoppers: int = 300, days: int = 10) -> pa.Table:
    """Case 18: a basket of five different items out of fifty each day, all lines of one second."""
    draw = np.random.default_rng(18)
    rows = [
        (datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day, seconds=shopper), f"u{shopper:03d}", item)
        for day in range(days)
        for shopper in range(shoppers)
        for item in draw.choice(ITEMS, 5, replace=False).tolist()
    ]
    table = {
        "event_id": [f"e{n:06d}" for n in range(len(rows))], "event_time": [r[0] for r in rows],
        "user_id": [r[1] for r in rows], "kind": ["purchase"] * len(rows),
        "item_id": [builders.item_id(r[2]) for r in rows],
    }  # fmt: skip
    return pa.table({name: table.get(name, [None] * len(rows)) for name in EVENTS.names}, schema=EVENTS)


#: (name, events, catalog) -> (report of the evaluation, whether the gate lets it pass)
Measure = Callable[[str, pa.Table, pa.Table], tuple[dict[str, Any], bool]]


@pytest.fixture(scope="module")
def measured(night: Night, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    """Train and evaluate a night of some events."""

    def measure(name: str, events: pa.Table, catalog: pa.Table) -> tuple[dict[str, Any], bool]:
        folder: Path = tmp_path_factory.mktemp(name)
        days = builders.fill(Lake.of(night.s, name), folder, events, catalog)
        model = train(night.s, name, days[-1], "ties")
        evaluation = evaluate(night.s, name, model, None)
        report = json.loads((fetch(night.store, evaluation, night.s.cache / "objects") / files.EVALUATION).read_text())
        return report, gate(night.s, name, evaluation).passed

    with pytest.MonkeyPatch.context() as monkeypatch:
        small = replace(recipes.get("small"), name="ties", evaluation_examples=2_500, max_epochs=4, text=False)
        monkeypatch.setitem(recipes._RECIPES, "ties", lambda: small)
        yield measure


@pytest.mark.slow
def test_on_noise_every_ranker_is_a_random_order_and_the_gate_refuses(measured: Measure) -> None:
    report, passed = measured("noise", noise(), builders.catalog(ITEMS))
    chance = float(metrics.ndcg(np.arange(1, ITEMS + 1), 10).mean())
    assert report["questions"] > 2_000
    for name in ("challenger", "popularity", "sequence", "neighbours", "follows", "last_item_neighbours"):
        assert abs(report["rankers"][name]["ndcg_at_10"] - chance) < 0.016, name
    assert report["rankers"]["challenger"]["ndcg_at_10_interval"][0] < chance
    low, high = report["differences"]["popularity"]["interval"]
    assert low < 0 < high + 0.01  # not above popularity
    assert not passed


@pytest.mark.slow
def test_other_names_of_items_give_the_same_figures(measured: Measure) -> None:
    events, ids = ties.shop(shoppers=150), [builders.item_id(n) for n in range(30)]
    backwards = ties.renamed(events, "item_id", dict(zip(ids, reversed(ids), strict=True)))
    found = [measured(name, table, builders.catalog(30))[0] for name, table in (("forth", events), ("back", backwards))]
    figures = [report["rankers"]["challenger"]["ndcg_at_10_per_shopper"] for report in found]
    assert found[0]["questions"] == found[1]["questions"]
    assert min(figures) > 2 * found[0]["rankers"]["popularity"]["ndcg_at_10_per_shopper"]
    assert abs(figures[0] - figures[1]) < 0.1 * figures[0]
