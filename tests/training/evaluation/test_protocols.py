"""Both published protocols on a small shop, through a real training process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from artifacts.lake import write_table
from contracts.errors import NotEnoughData
from contracts.settings import Settings, read_settings
from tests.training import builders
from training.data.datasets import from_events
from training.data.texts import texts_of
from training.evaluation import protocols, splits

RECIPE = builders.recipe(max_epochs=6, patience=6, learning_rate=0.02)


@pytest.fixture
def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return read_settings(home=tmp_path)


@pytest.mark.slow
def test_leave_one_out_beats_popularity_and_counts_what_it_asked(s: Settings) -> None:
    events, catalog = builders.events(days=6), builders.catalog()
    lines: list[str] = []
    report = protocols.leave_one_out(
        s, events, catalog, RECIPE, encode=lambda texts: builders.text_vectors(len(texts)), say=lines.append
    )
    per_shopper = np.unique(np.asarray(events["user_id"].to_pylist()), return_counts=True)[1]
    assert report["counts"]["test_questions"] == int((per_shopper >= 3).sum())
    assert report["counts"]["train_interactions"] == len(events) - 2 * int((per_shopper >= 3).sum())
    shoppers: dict[str, list[str]] = {}
    for row in events.to_pylist():
        shoppers.setdefault(row["user_id"], []).append(row["item_id"])
    repeats = sum(items[-1] in items[:-1] for items in shoppers.values() if len(items) >= 3)
    assert report["counts"]["repeat_questions"] == repeats > 0
    assert report["text"]
    assert report["model"]["ndcg_at_10"] > report["baselines"]["popularity"]["ndcg_at_10"]
    for ranker in (report["model"], *report["baselines"].values()):
        for k in (5, 10, 20):
            assert ranker[f"recall_at_{k}"] == ranker[f"hr_at_{k}"]
            assert {f"ndcg_at_{k}", f"mrr_at_{k}", f"coverage_at_{k}"} <= ranker.keys()
    assert report["seconds"]["total"] >= report["seconds"]["train"] > 0
    assert any("events/s" in line for line in lines)
    json.dumps(report, allow_nan=False)


@pytest.mark.slow
def test_sessions_ask_every_prefix_of_the_given_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the command, as a person runs it."""
    from caravan.cli.evaluate import recommend
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
    app.command()(recommend.recommend)
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
    ids = builders.catalog()["item_id"].combine_chunks()
    sequences = splits.by_start(from_events(builders.events(), ids, by="session_id"))
    firsts = sequences.times[sequences.offsets[:-1]]
    assert (np.diff(firsts) >= 0).all()


def test_nobody_to_ask_is_an_error(s: Settings) -> None:
    events = builders.events().slice(0, 2)
    with pytest.raises(NotEnoughData):
        protocols.leave_one_out(s, events, builders.catalog(), RECIPE)
    with pytest.raises(NotEnoughData):
        protocols.sessions(s, events, builders.catalog(), RECIPE)


@pytest.mark.parametrize("lengths", [[], [1], [3], [2, 2, 1]])
def test_too_few_sessions_are_an_error(s: Settings, lengths: list[int]) -> None:
    with pytest.raises(NotEnoughData):
        protocols.sessions(s, builders.visits(*lengths), builders.catalog(), RECIPE)


def test_events_without_an_interaction_are_an_error(s: Settings) -> None:
    events = builders.events()
    events = events.set_column(
        events.schema.get_field_index("kind"), "kind", pa.array(["impression"] * len(events), pa.string())
    )
    for protocol in (protocols.leave_one_out, protocols.sessions):
        with pytest.raises(NotEnoughData):
            protocol(s, events, builders.catalog(), RECIPE)


def test_three_interactions_are_enough_even_if_nobody_has_a_fourth() -> None:
    given = splits.leave_one_out(builders.visits(3, 1, 3), builders.catalog())
    assert given.learned.lengths.tolist() == [2, 2, 1]
    given = splits.leave_one_out(builders.visits(3, 4, 3), builders.catalog())
    assert given.learned.lengths.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("lengths", "learned", "validation", "test"),
    [
        ([3] * 30, 26, 2, 6),  # the plain tenths: the last three are asked, the three before are the pool
        ([3] * 30 + [1, 1, 3], 29, 2, 2),
        ([5] * 18 + [1], 16, 4, 4),  # the last tenth asks nothing
        ([3] * 20 + [1] * 9 + [3], 26, 2, 2),  # the pool of early stopping asks nothing
        ([3, 3, 3] + [1] * 60, 1, 2, 2),
    ],
)
def test_sessions_of_one_item_do_not_use_up_the_questions(
    lengths: list[int], learned: int, validation: int, test: int
) -> None:
    given = splits.sessions(builders.visits(*lengths), builders.catalog(), RECIPE)
    assert (len(given.learned), len(given.validation), len(given.test)) == (learned, validation, test)


def test_items_that_only_the_events_know_are_ranked_too() -> None:
    catalog = builders.catalog(10)
    ids = splits.item_ids(builders.events(), catalog)
    assert ids.to_pylist()[:10] == catalog["item_id"].to_pylist()
    assert len(ids) == len(set(ids.to_pylist())) == 39


def test_numbered_titles_are_no_text() -> None:
    assert texts_of(builders.catalog(titles=False)) is None
    texts = texts_of(builders.catalog())
    assert texts is not None
    assert texts[0] == "walnut lamp. home walnut"
