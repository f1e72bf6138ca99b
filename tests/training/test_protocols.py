"""Both published protocols on a small shop, through a real training process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from artifacts.lake import write_table
from contracts.errors import NotEnoughData
from contracts.settings import Settings, read_settings
from tests.training import builders
from training import protocols
from training.texts import texts_of

RECIPE = builders.recipe(max_epochs=6, patience=6, learning_rate=0.02)


@pytest.fixture
def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return read_settings(home=tmp_path)


def test_leave_one_out_beats_popularity_and_counts_what_it_asked(s: Settings) -> None:
    events, catalog = builders.events(days=6), builders.catalog()
    lines: list[str] = []
    report = protocols.leave_one_out(
        s, events, catalog, RECIPE, encode=lambda texts: builders.text_vectors(len(texts)), say=lines.append
    )
    per_shopper = np.unique(np.asarray(events["user_id"].to_pylist()), return_counts=True)[1]
    assert report["counts"]["test_questions"] == int((per_shopper >= 3).sum())
    assert report["counts"]["train_interactions"] == len(events) - 2 * int((per_shopper >= 3).sum())
    assert report["text"]
    assert report["model"]["ndcg_at_10"] > report["baselines"]["popularity"]["ndcg_at_10"]
    for ranker in (report["model"], *report["baselines"].values()):
        for k in (5, 10, 20):
            assert ranker[f"recall_at_{k}"] == ranker[f"hr_at_{k}"]
            assert {f"ndcg_at_{k}", f"mrr_at_{k}", f"coverage_at_{k}"} <= ranker.keys()
    assert report["seconds"]["total"] >= report["seconds"]["train"] > 0
    assert any("events/s" in line for line in lines)
    json.dumps(report, allow_nan=False)


def test_sessions_ask_every_prefix_of_the_given_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the command, as a person runs it."""
    from caravan.cli import evaluate_recommend
    from training import recipes

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path))
    monkeypatch.setitem(recipes._RECIPES, "tiny", lambda: RECIPE)
    events = builders.events(days=8)
    last = pc.utf8_slice_codeunits(events["session_id"], -1)
    parts = {
        "events": events.filter(pc.not_equal(last, "7")),
        "tests": events.filter(pc.equal(last, "7")),
        "catalog": builders.catalog(titles=False),
    }
    for name, table in parts.items():
        write_table(table, tmp_path / f"{name}.parquet")
    import typer

    app = typer.Typer()
    app.command()(evaluate_recommend.recommend)
    out = tmp_path / "out" / "report.json"
    arguments = [
        *("--events", str(tmp_path / "events.parquet"), "--catalog", str(tmp_path / "catalog.parquet")),
        *("--test-events", str(tmp_path / "tests.parquet"), "--protocol", "sessions", "--recipe", "tiny"),
    ]
    result = CliRunner().invoke(app, [*arguments, "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    tests = parts["tests"]
    assert report["counts"]["test_questions"] == len(tests) - len(pc.unique(tests["session_id"]))
    assert not report["text"]  # titles that only number the items
    assert report["model"]["hr_at_20"] > report["baselines"]["popularity"]["hr_at_20"]
    assert "last_item_neighbours" in result.output


def test_sessions_hold_the_last_tenth_out_when_none_are_given() -> None:
    sequences = protocols.by_start(
        protocols.from_events(
            builders.events(), builders.catalog()["item_id"].combine_chunks(), by="session_id"
        )
    )  # fmt: skip
    firsts = sequences.times[sequences.offsets[:-1]]
    assert (np.diff(firsts) >= 0).all()


def test_nobody_to_ask_is_an_error(s: Settings) -> None:
    events = builders.events().slice(0, 2)
    with pytest.raises(NotEnoughData):
        protocols.leave_one_out(s, events, builders.catalog(), RECIPE)
    with pytest.raises(NotEnoughData):
        protocols.sessions(s, events, builders.catalog(), RECIPE)


def test_items_that_only_the_events_know_are_ranked_too() -> None:
    catalog = builders.catalog(10)
    ids = protocols.item_ids(builders.events(), catalog)
    assert ids.to_pylist()[:10] == catalog["item_id"].to_pylist()
    assert len(ids) == len(set(ids.to_pylist())) == 39


def test_numbered_titles_are_no_text() -> None:
    assert texts_of(builders.catalog(titles=False)) is None
    texts = texts_of(builders.catalog())
    assert texts is not None
    assert texts[0] == "walnut lamp. home walnut"
