"""From a filled lake to a release, through a real training process; a rerun changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats

from artifacts.histograms import read_distributions
from artifacts.lake import Lake
from artifacts.publish import fetch, read_manifest
from artifacts.signature import verify
from contracts import release as files
from contracts.errors import GateRefused, NotEnoughData, NotFound
from monitoring.scores import score_champion
from retrieval.bm25 import BM25Index
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import SourceData, name_candidates
from tests.training import builders
from tests.training.conftest import Night
from training import recipes
from training.bundle import assemble, popular
from training.data import held_out, inputs
from training.data.datasets import DAY_US
from training.evaluation.evaluate import evaluate, measure
from training.fitting import warm_start
from training.fitting.train import train
from training.gate import gate
from training.models import export


def opened(night: Night, digest: str) -> Path:
    return fetch(night.store, digest, night.s.cache / "objects")


@pytest.fixture(scope="module")
def model(night: Night) -> str:
    return train(night.s, night.source, night.days[-1], "small")


@pytest.fixture(scope="module")
def evaluation(night: Night, model: str) -> str:
    return evaluate(night.s, night.source, model, None)


@pytest.mark.slow
def test_a_night_ends_in_a_release_and_a_second_one_meets_the_first(night: Night, model: str, evaluation: str) -> None:
    day = night.days[-1]
    assert night.run.status == "FINISHED"
    assert [entry["epoch"] for entry in night.run.curves] == [0, 1, 2, 3]
    assert train(night.s, night.source, day, "small") == model

    assert evaluate(night.s, night.source, model, None) == evaluation
    assert gate(night.s, night.source, evaluation).passed
    release = assemble(night.s, night.source, evaluation)
    verify(night.store, release, night.s)
    objects = set(night.store.objects)
    assert assemble(night.s, night.source, evaluation) == release
    assert set(night.store.objects) == objects

    folder = opened(night, release)
    items = pq.read_table(folder / files.ITEMS)
    vectors = np.load(folder / files.ITEM_VECTORS, allow_pickle=False)
    assert len(items) == len(vectors) == len(BM25Index.load(folder / files.BM25)) == 40
    assert np.load(folder / files.ITEM_TEXT_VECTORS, allow_pickle=False).shape == (40, builders.TEXT)
    onnx.checker.check_model(onnx.load(str(folder / files.SEQUENCE_PROGRAM)))
    query = export.encoder(folder / files.SEQUENCE_PROGRAM)(np.array([[4, 7, 0]]), np.array([2]))
    sources = SourceData.load(folder / files.SOURCES, len(items))
    named = name_candidates(sources, np.array([3, 6]), (query @ vectors.T)[0])
    best = named.index[np.argsort(-RankerProgram(folder).scores(named))[:8]] + 1
    assert 10 in best  # 4 -> 7 -> 10 is how this shop's shoppers walk

    about = read_manifest(night.store, release)
    assert (about.meta["source"], about.meta["day"], about.meta["recipe"]) == ("shop", day, "small")
    assert about.meta["run_id"] == "run-1"
    assert about.meta["metrics"]["ndcg_at_10"] > 0
    lineage = json.loads((folder / files.LINEAGE).read_text())
    assert set(lineage["partitions"]["events"]) == set(night.days)
    assert lineage["model"] == model
    assert lineage["champion"] is None
    for name in (files.GATE, files.EVALUATION, files.FEATURES, files.POPULAR, files.MODEL_CONFIG):
        assert json.loads((folder / name).read_text())
    for name in (files.REFERENCE_FEATURES, files.REFERENCE_SCORES, files.WEIGHTS):
        assert (folder / name).stat().st_size

    assert lineage["start_from"] is None
    assert lineage["full_training_day"] == day
    for told in (opened(night, model) / "inputs.json", folder / files.EVALUATION):
        machines = json.loads(told.read_text())["machines"]
        assert (machines["shoppers"], machines["of_shoppers"], machines["reasons"]) == (0, 60, {})

    again = evaluate(night.s, night.source, model, release, anchors=[release])
    report = json.loads((opened(night, again) / files.EVALUATION).read_text())
    assert report["anchor"] == {"asked": 1, "release": None, "better": []}  # the champion itself is the best of one
    assert report["rankers"]["champion"]["ndcg_at_10"] == report["rankers"]["challenger"]["ndcg_at_10"]
    assert report["differences"]["champion"]["mean"] == 0.0
    assert report["slices"]["cold item"]["questions"] > 0
    assert gate(night.s, night.source, again).passed


@pytest.mark.slow
def test_drift_scores_a_shopper_as_the_reference_was_scored(night: Night, evaluation: str, tmp_path: Path) -> None:
    """The same shoppers, asked by the night's report and when the release was measured, have the same scores."""
    folder = opened(night, assemble(night.s, night.source, evaluation))
    made = json.loads((opened(night, read_manifest(night.store, evaluation).meta["model"]) / "inputs.json").read_text())
    partitions = inputs.Partitions.from_dict(made["partitions"])
    read = inputs.read_inputs(Lake.of(night.s, night.source), made["day"], recipes.get("small"), partitions)
    train, names = read.train, read.items["item_id"].to_pylist()
    histories = [train.items[a:b] for a, b in pairwise(train.offsets.tolist())]
    pq.write_table(
        pa.table(
            {
                "user_id": [f"u_{i:04d}" for i in range(len(histories))],
                "items": pa.array([[names[i - 1] for i in own] for own in histories], pa.list_(pa.string())),
            }
        ),
        tmp_path / "sequences.parquet",
    )
    now = score_champion(folder, tmp_path / "sequences.parquet")["top_score"].to_numpy()
    before = np.array(read_distributions(folder / files.REFERENCE_SCORES)["top_score"])
    assert len(now) == len(before)
    assert stats.wasserstein_distance(now, before) < 0.1 * now.std()


@pytest.mark.slow
def test_a_training_goes_on_from_a_release_and_says_so(night: Night, evaluation: str) -> None:
    """From the champion's weights, in a quarter of the steps, it is at once as good; the key and the lineage tell."""
    release, day = assemble(night.s, night.source, evaluation), night.days[-1]
    warm = train(night.s, night.source, day, "small", start_from=release)
    assert warm != train(night.s, night.source, day, "small")
    about = json.loads((opened(night, warm) / "inputs.json").read_text())
    assert (about["start_from"], about["full_training_day"]) == (release, day)
    full, metrics = opened(night, read_manifest(night.store, evaluation).meta["model"]), opened(night, warm)
    before, after = (json.loads((folder / "metrics.json").read_text()) for folder in (full, metrics))
    assert after["steps"] < before["steps"]
    assert after["validation_ndcg_at_10"] > 0.8 * before["validation_ndcg_at_10"]
    assert train(night.s, night.source, day, "small", start_from=release) == warm
    evaluated = evaluate(night.s, night.source, warm, release, anchors=[release])
    assert evaluate(night.s, night.source, warm, release, anchors=[release]) == evaluated

    # the one that answers better goes with the other as an anchor, and not the other way round; both may answer alike
    s = night.s.model_copy(update={"gate_margin": 0.5})
    second = assemble(s, night.source, evaluated)
    model = read_manifest(night.store, evaluation).meta["model"]
    back = assemble(s, night.source, evaluate(s, night.source, model, second, anchors=[second]))
    carried = [json.loads((opened(night, one) / files.LINEAGE).read_text())["anchors"] for one in (second, back)]
    levels = [read_manifest(night.store, one).meta["metrics"]["ndcg_at_10_per_shopper"] for one in (second, back)]
    best = [] if levels[0] == levels[1] else [second] if levels[0] > levels[1] else [release]
    assert sorted(carried, key=len) == [[], best]


@pytest.mark.slow
def test_weights_are_carried_into_another_catalog(night: Night, evaluation: str) -> None:
    folder = opened(night, evaluation)
    recipe = recipes.get("small")
    ids = pq.read_table(folder / files.ITEMS)["item_id"].to_pylist()
    shuffled = pa.array(["new", *reversed(ids)])
    start = warm_start.read_weights(folder, shuffled, recipe, builders.TEXT)
    table = start[warm_start.ITEM_TABLE]
    same = warm_start.read_weights(folder, pa.array(ids), recipe, builders.TEXT)[warm_start.ITEM_TABLE]
    assert not table[:2].any()  # padding, and the item it does not know
    np.testing.assert_array_equal(table[2:], same[:0:-1])
    assert warm_start.read_weights(folder, shuffled, replace(recipe, dim=32), builders.TEXT) == {}


def read_day(night: Night, **changes: object) -> tuple[inputs.Inputs, recipes.Recipe]:
    recipe = replace(recipes.get("small"), **changes)
    which = inputs.partitions(night.lake, night.days[-1])
    return inputs.read_inputs(night.lake, night.days[-1], recipe, which), recipe


def test_nothing_from_the_held_out_days_is_trained_on(night: Night) -> None:
    read, recipe = read_day(night)
    train_part = read.train
    assert train_part.times.max() < read.cutoff
    assert len(train_part.items) == int((read.known.times < read.cutoff).sum())
    assert read.held_out == night.days[-3:]  # two fifths of eight days: one alone has too few shoppers for a verdict
    learned, questions = held_out.validation_split(train_part, recipe)
    assert len(learned.items) + len(questions) == len(train_part.items)
    asked, new, times = held_out.held_out_examples(read, recipe)
    assert (times >= read.cutoff).all()
    assert len(asked) == len(new)
    for e in range(len(asked)):
        assert asked.lengths[e] >= 1
        assert asked.history(e)[-1] != asked.targets[e]


@pytest.mark.slow
def test_a_release_of_another_catalog_can_be_champion(night: Night, evaluation: str, tmp_path: Path) -> None:
    """Its items stand in another order and some are missing: the same model must score the same."""
    evaluated = opened(night, evaluation)
    read, recipe = read_day(night)
    champion = tmp_path / "champion"
    shutil.copytree(evaluated, champion)
    items = pq.read_table(champion / files.ITEMS)
    pq.write_table(items.slice(0, 30), champion / files.ITEMS)
    np.save(champion / files.ITEM_VECTORS, np.load(champion / files.ITEM_VECTORS)[:30])
    sources = SourceData.load(champion / files.SOURCES, len(items))
    shutil.rmtree(champion / files.SOURCES)
    SourceData({}, sources.popularity[:30], sources.category[:30]).save(champion / files.SOURCES)
    report = measure(read, recipe, evaluated, champion)
    assert report["rankers"]["champion"]["ndcg_at_10"] < report["rankers"]["challenger"]["ndcg_at_10"]
    assert np.isfinite(report["rankers"]["champion"]["mrr"])


@pytest.mark.slow
def test_a_spoiled_model_is_refused_and_never_bundled(night: Night, evaluation: str) -> None:
    from artifacts.publish import publish

    spoiled = night.s.home / "spoiled"
    shutil.copytree(opened(night, evaluation), spoiled)
    report = json.loads((spoiled / files.EVALUATION).read_text())
    report["rankers"]["challenger"]["ndcg_at_10_per_shopper"] = None
    (spoiled / files.EVALUATION).write_text(json.dumps(report))
    digest = publish(night.store, spoiled, kind="evaluation", meta=read_manifest(night.store, evaluation).meta).digest
    decision = gate(night.s, night.source, digest)
    assert not decision.passed
    assert "not numbers" in " ".join(decision.reasons)
    with pytest.raises(GateRefused, match="not numbers"):
        assemble(night.s, night.source, digest)


def test_too_little_data_says_so(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="no clean events up to 2020-01-01"):
        train(night.s, night.source, "2020-01-01", "small")
    monkeypatch.setitem(
        recipes._RECIPES, "small", lambda: builders.recipe(min_train_interactions=10**6, min_evaluation_examples=10**6)
    )
    with pytest.raises(NotEnoughData, match="interactions with items of its catalog"):
        train(night.s, night.source, night.days[-1], "small")


def test_other_inputs_have_another_key(night: Night) -> None:
    recipe, which = recipes.get("small"), inputs.partitions(night.lake, night.days[-1])
    key = inputs.key_of("shop", night.days[-1], recipe, which)
    assert key == inputs.key_of("shop", night.days[-1], recipe, which)
    others = [
        inputs.key_of("shop", night.days[0], recipe, which),
        inputs.key_of("office", night.days[-1], recipe, which),
        inputs.key_of("shop", night.days[-1], replace(recipe, seed=1), which),
        inputs.key_of("shop", night.days[-1], recipe, inputs.partitions(night.lake, night.days[-1] + "x")),
        inputs.key_of("shop", night.days[-1], recipe, replace(which, catalog=("2026-01-01", "0" * 64))),
    ]
    assert len({key, *others[:3], others[4]}) == 5


@pytest.mark.parametrize("days", [1, 2, 3, 10, 40])
def test_the_cut_leaves_most_to_learn_from_and_something_to_ask(days: int) -> None:
    draw = np.random.default_rng(days)
    times = np.sort(draw.integers(0, days * DAY_US, size=500))
    recipe = recipes.get("default")
    cut = inputs.cut_off(times, np.arange(500), replace(recipe, holdout_shoppers=30))
    held = float((times >= cut).mean())
    assert 0 < held <= (0.6 if days == 2 else 0.45)
    if days > 1:
        assert cut % DAY_US == 0
    if days >= 15:
        assert len(np.unique(times[times >= cut] // DAY_US)) == recipe.holdout_days
    few = inputs.cut_off(times, np.zeros_like(times), recipe)  # one shopper: as many days as allowed
    assert few <= cut
    assert float((times >= few).mean()) <= (0.6 if days == 2 else 0.45)


def test_popular_lists_forget_what_sold_long_ago(night: Night) -> None:
    read, _ = read_day(night)
    lists = popular(read)
    ids = read.items["item_id"].to_pylist()
    assert set(lists["all"]) == set(ids)
    assert lists["home"] == lists["all"][:200]
    for name, ranked in lists.items():
        if name.startswith("home/"):
            mine = read.items.filter(pc.equal(read.items["category"], name))["item_id"].to_pylist()
            assert sorted(ranked) == sorted(mine)
    unavailable = read.items.set_column(
        read.items.column_names.index("available"), "available", pa.array([i != 4 for i in range(40)])
    )
    assert ids[4] not in popular(replace(read, items=unavailable))["all"]
