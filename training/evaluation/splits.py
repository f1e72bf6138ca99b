"""Divides events as published protocols do: to learn from, to validate by, and to be asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import NotEnoughData
from training.data.datasets import Examples, Ints, Sequences, every_prefix, from_events, last_items, sampled
from training.recipes import Recipe

#: Share of the training sessions that early stopping may take away for its questions.
VALIDATION_SHARE = 0.03
TEST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class DataSplit:
    """Events of one vocabulary, divided by a protocol.

    sequences: all that the protocol counts, with the interactions it dropped; learned: without the answers of the
    validation, before: with them, so all but the tests; asked int64 names the sequence of each validation question;
    groups int64 [E] names the session of each test question where several belong to one, else None; exclude_seen:
    items seen before are not ranked.
    """

    protocol: str
    item_ids: pa.Array
    sequences: Sequences
    learned: Sequences
    before: Sequences
    validation: Examples
    asked: Ints
    test: Examples
    groups: Ints | None
    exclude_seen: bool


def leave_one_out(events: pa.Table, catalog: pa.Table) -> DataSplit:
    """Keep each shopper's last item for the test and the one before it for validation.

    A shopper with fewer than three interactions only trains. When that leaves no two items in a row to learn from (no
    shopper has a fourth), the model learns the step of the validation too, and early stopping is no guide. Raises
    NotEnoughData when no shopper can be asked.
    """
    ids = item_ids(events, catalog)
    shoppers = from_events(events, ids)
    askable = shoppers.lengths >= 3
    if not askable.any():
        raise NotEnoughData("no shopper has three interactions", remedy="bring more events; see docs/training.md")
    asked, others = shoppers.take(np.flatnonzero(askable)), shoppers.take(np.flatnonzero(~askable))
    learned = _concatenate(asked.head(2), others)
    before = _concatenate(asked.head(1), others)
    if learned.lengths.max() < 2:
        learned = before
    validation = last_items(asked, drop=1)
    return DataSplit(
        protocol="leave-one-out", item_ids=ids, sequences=shoppers, learned=learned, before=before,
        validation=validation, asked=np.arange(len(validation)), test=last_items(asked), groups=None,
        exclude_seen=True,
    )  # fmt: skip


def sessions(events: pa.Table, catalog: pa.Table, recipe: Recipe, *, test_events: pa.Table | None = None) -> DataSplit:
    """Ask every prefix of the test sessions: `test_events`, or the last tenth of sessions in time.

    Some of the latest training sessions are questions for early stopping instead. Raises NotEnoughData when there is
    nothing to ask, or nothing to learn.
    """
    ids = item_ids(events if test_events is None else pa.concat_tables([events, test_events]), catalog)
    train = by_start(from_events(events, ids, by="session_id"))
    if test_events is None:
        cut = _askable_from(max(0, len(train) - max(1, int(len(train) * TEST_SHARE))), train.lengths)
        train, test = train.take(np.arange(cut)), train.take(np.arange(cut, len(train)))
    else:
        test = by_start(from_events(test_events, ids, by="session_id"))
    held = _validation_sessions(train, recipe)
    learned = train.take(np.setdiff1d(np.arange(len(train)), held))
    watched, questions = train.take(held), every_prefix(test)
    if not len(questions) or not len(held) or learned.lengths.max(initial=0) < 2:
        raise NotEnoughData("there are too few sessions of two items", remedy="bring more events, or use leave-one-out")
    return DataSplit(
        protocol="sessions", item_ids=ids, sequences=learned, learned=learned, before=train,
        validation=every_prefix(watched), asked=_of_prefixes(watched), test=questions, groups=_of_prefixes(test),
        exclude_seen=False,
    )  # fmt: skip


def item_ids(events: pa.Table, catalog: pa.Table) -> pa.Array:
    """Return the vocabulary: every item of the catalog, then those that only the events know."""
    known = catalog["item_id"].combine_chunks()
    seen = pc.unique(events["item_id"].combine_chunks().drop_null())
    unknown = seen.filter(pc.invert(pc.is_in(seen, value_set=known)))
    return pa.concat_arrays([known, unknown.sort()])


def by_start(sequences: Sequences) -> Sequences:
    """Sort sequences by the time of their first event."""
    firsts = sequences.times[sequences.offsets[:-1]]
    return sequences.take(np.argsort(firsts, kind="stable"))


def _validation_sessions(train: Sequences, recipe: Recipe) -> Ints:
    """Choose sessions among the latest of `train`, by number, that ask about as many questions as the recipe wants."""
    recent = np.arange(_askable_from(int(len(train) * (1 - TEST_SHARE)), train.lengths), len(train))
    recent = recent[train.lengths[recent] >= 2]
    mean_questions = float(train.lengths[recent].mean()) - 1 if len(recent) else 1.0
    wanted = min(int(len(train) * VALIDATION_SHARE), int(recipe.validation_examples / max(0.1, mean_questions)))
    return recent[sampled(len(recent), max(1, wanted), recipe.seed)]


def _of_prefixes(sequences: Sequences) -> Ints:
    """Return the sequence of each question of datasets.every_prefix."""
    return np.repeat(np.arange(len(sequences)), np.maximum(sequences.lengths - 1, 0))


def _askable_from(start: int, lengths: Ints) -> int:
    """Return `start`, or an earlier place where no session from there on has a second item to ask for.

    The earlier place is where the last tenth begins of the sessions that have one.
    """
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
