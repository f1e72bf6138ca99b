"""Published protocols on any data in the contract: leave-one-out over shoppers, next click over sessions."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts import release as files
from contracts.errors import NotEnoughData
from contracts.settings import Settings
from retrieval import metrics
from training.data.datasets import Examples, Ints, Sequences, every_prefix, from_events, last_items, sampled
from training.data.texts import texts_of
from training.recipes import Recipe

#: texts [n] -> unit vectors float32 [n, E]
EncodeTexts = Callable[[list[str]], npt.NDArray[np.float32]]
Report = dict[str, Any]

KS = (5, 10, 20)
#: Share of the training sessions that early stopping may take away for its questions.
VALIDATION_SHARE = 0.03
TEST_SHARE = 0.1


def leave_one_out(
    s: Settings, events: pa.Table, catalog: pa.Table, recipe: Recipe, *, encode: EncodeTexts | None = None,
    say: Callable[[str], object] | None = None,
) -> Report:  # fmt: skip
    """Each shopper's last event is the test, the one before it validation; all items ranked but those already seen.

    Where the answer itself was seen before, nothing is left out of the ranking (see ranking.rank); the report
    counts these as `repeat_questions`. A shopper with fewer than three interactions only trains. When that leaves
    no two items in a row to learn from (nobody has a fourth), the model learns the step of the validation too,
    and early stopping is no guide. Raises NotEnoughData when nobody can be asked.
    """
    started = time.monotonic()
    vocabulary = item_ids(events, catalog)
    everybody = from_events(events, vocabulary)
    askable = everybody.lengths >= 3
    if not askable.any():
        raise NotEnoughData("no shopper has three interactions", remedy="bring more events; see docs/training.md")
    asked, others = everybody.take(np.flatnonzero(askable)), everybody.take(np.flatnonzero(~askable))
    learned = _concatenate(asked.head(2), others)
    if learned.lengths.max() < 2:
        learned = _concatenate(asked.head(1), others)
    return _measure(
        s, "leave-one-out", recipe, vocabulary, catalog, learned, last_items(asked, drop=1), last_items(asked),
        everybody, exclude_seen=True, started=started, encode=encode, say=say, groups=None,
    )  # fmt: skip


def sessions(
    s: Settings, events: pa.Table, catalog: pa.Table, recipe: Recipe, *, test_events: pa.Table | None = None,
    encode: EncodeTexts | None = None, say: Callable[[str], object] | None = None,
) -> Report:  # fmt: skip
    """Every prefix of a test session predicts its next item; repeats are allowed, nothing is excluded.

    Test sessions are `test_events`, or the last tenth of sessions in time. Some of the latest training sessions
    are questions for early stopping instead. Raises NotEnoughData when nobody can be asked, or nothing learned.
    """
    started = time.monotonic()
    everything = events if test_events is None else pa.concat_tables([events, test_events])
    vocabulary = item_ids(everything, catalog)
    train = by_start(from_events(events, vocabulary, by="session_id"))
    if test_events is None:
        cut = _askable_from(max(0, len(train) - max(1, int(len(train) * TEST_SHARE))), train.lengths)
        train, test = train.take(np.arange(cut)), train.take(np.arange(cut, len(train)))
    else:
        test = by_start(from_events(test_events, vocabulary, by="session_id"))
    recent = np.arange(_askable_from(int(len(train) * (1 - TEST_SHARE)), train.lengths), len(train))
    recent = recent[train.lengths[recent] >= 2]
    mean_questions = float(train.lengths[recent].mean()) - 1 if len(recent) else 1.0
    wanted = min(int(len(train) * VALIDATION_SHARE), int(recipe.validation_examples / max(0.1, mean_questions)))
    held = recent[sampled(len(recent), max(1, wanted), recipe.seed)]
    rest = np.setdiff1d(np.arange(len(train)), held)
    questions = every_prefix(test)
    if not len(questions) or not len(held) or train.lengths[rest].max(initial=0) < 2:
        raise NotEnoughData("there are too few sessions of two items", remedy="bring more events, or use leave-one-out")
    groups = np.repeat(np.arange(len(test)), np.maximum(test.lengths - 1, 0))
    return _measure(
        s, "sessions", recipe, vocabulary, catalog, train.take(rest), every_prefix(train.take(held)), questions,
        train.take(rest), exclude_seen=False, started=started, encode=encode, say=say, groups=groups,
    )  # fmt: skip


def item_ids(events: pa.Table, catalog: pa.Table) -> pa.Array:
    """The vocabulary: every item of the catalog, then those that only the events know."""
    known = catalog["item_id"].combine_chunks()
    seen = pc.unique(events["item_id"].combine_chunks().drop_null())
    unknown = seen.filter(pc.invert(pc.is_in(seen, value_set=known)))
    return pa.concat_arrays([known, unknown.sort()])


def by_start(sequences: Sequences) -> Sequences:
    """Sequences in the order of their first events."""
    firsts = sequences.times[sequences.offsets[:-1]]
    return sequences.take(np.argsort(firsts, kind="stable"))


def _askable_from(start: int, lengths: Ints) -> int:
    """`start`; where no session from there on has a second item to ask for, where the last tenth of those begins
    that have one."""
    askable = np.flatnonzero(lengths >= 2)
    if not len(askable) or askable[-1] >= start:
        return start
    return int(askable[-max(1, int(len(askable) * TEST_SHARE))])


def _concatenate(first: Sequences, second: Sequences) -> Sequences:
    return Sequences(
        items=np.concatenate([first.items, second.items]),
        times=np.concatenate([first.times, second.times]),
        offsets=np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        keys=pa.concat_arrays([first.keys, second.keys]),
    )


def _measure(
    s: Settings, protocol: str, recipe: Recipe, vocabulary: pa.Array, catalog: pa.Table, learned: Sequences,
    validation: Examples, test: Examples, counted: Sequences, *, exclude_seen: bool, started: float,
    encode: EncodeTexts | None, say: Callable[[str], object] | None, groups: Ints | None,
) -> Report:  # fmt: skip
    """Train the recipe, rank everything for every question, and say how it went."""
    from training.data.training_data import TrainingData
    from training.evaluation import baselines
    from training.fitting import launch
    from training.jobs import job
    from training.models import export
    from training.models.ranking import rank, scorer

    count = len(vocabulary)
    text = _text_vectors(catalog, count, encode) if recipe.text else None
    data = TrainingData(
        item_count=count, items=learned.items, offsets=learned.offsets,
        validation=validation.sample(recipe.validation_examples, recipe.seed), exclude_seen=exclude_seen, text=text,
    )  # fmt: skip
    prepared = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="caravan-protocol-") as name:
        folder = Path(name)
        result = launch.run(s, job.write(folder, recipe, data, key=protocol), say=say)
        trained = time.monotonic()
        training = json.loads((result / job.METRICS).read_text())
        curve = json.loads((result / job.CURVE).read_text())
        model = export.load_model(result, text)
        export.export(model, folder / "bundle")
        program = export.encoder(folder / "bundle" / files.SEQUENCE_PROGRAM)
        vectors = np.load(folder / "bundle" / files.ITEM_VECTORS, allow_pickle=False)
        ranking = rank(scorer(program, vectors, None, recipe.max_length), test, exclude_seen=exclude_seen)
    counts = baselines.popularity(learned.items, count)
    floor = {
        "popularity": rank(baselines.popularity_score(counts), test, exclude_seen=exclude_seen),
        "last_item_neighbours": rank(
            baselines.neighbours_score(baselines.neighbours(learned, count), counts), test, exclude_seen=exclude_seen
        ),
    }
    ended = time.monotonic()

    def summary(ranks: Ints, top: Ints) -> Report:
        values = metrics.ndcg(ranks, 10)
        return {
            **metrics.summarize(ranks, KS),
            **{f"coverage_at_{k}": metrics.coverage(top[:, :k] - 1, count) for k in KS},
            "ndcg_at_10_interval": list(metrics.bootstrap_interval(values, recipe.seed, groups=groups)),
        }

    return {
        "protocol": protocol,
        "recipe": recipe.to_dict(),
        "model": summary(ranking.ranks, ranking.top),
        "baselines": {name: summary(r.ranks, r.top) for name, r in floor.items()},
        "counts": {
            "items": count,
            "items_only_in_events": count - len(catalog),
            "items_trained": int((counts > 0).sum()),
            "sequences": len(counted),
            "train_interactions": len(learned.items),
            "validation_questions": len(data.validation),
            "test_questions": len(test),
            **({"repeat_questions": int(test.repeats().sum())} if exclude_seen else {}),
            "dropped_interactions": counted.dropped,
        },
        "training": training,
        "curve": curve,
        "text": text is not None,
        "seconds": {
            "prepare": prepared - started,
            "train": trained - prepared,
            "evaluate": ended - trained,
            "total": ended - started,
        },
    }


def _text_vectors(catalog: pa.Table, count: int, encode: EncodeTexts | None) -> npt.NDArray[np.float32] | None:
    """Text vectors [N, E] of the vocabulary; items without a catalog entry get zeros."""
    texts = texts_of(catalog) if encode is not None else None
    if encode is None or texts is None:
        return None
    known = encode(texts)
    return np.concatenate([known, np.zeros((count - len(known), known.shape[1]), dtype=np.float32)])
