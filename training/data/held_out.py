"""Splits off the questions that a night asks: of the held-out days, for early stopping, and for the ranker.

A question sees what is strictly earlier than its answer, all of it: actions of a shopper at one instant are a set.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.errors import NotEnoughData
from training.data.datasets import DAY_US, Examples, Ints, Sequences, firsts_of_instants, sampled
from training.data.inputs import Inputs
from training.recipes import Recipe


def held_out_examples(inputs: Inputs, recipe: Recipe) -> tuple[Examples, npt.NDArray[np.bool_], Ints]:
    """Make questions of the held-out days: (examples, shopper is new [E], time [E]).

    The history is all a shopper did strictly before, held-out days included, as the engine would know it: actions at
    one instant are a set, none of which tells of another. Not asked: the repeat of the very last item, and first
    actions ever (the engine answers those with what is popular).
    """
    known = inputs.known
    place = np.arange(len(known.items))
    first = firsts_of_instants(known)
    starts = np.repeat(known.offsets[:-1], known.lengths)
    fresh_shopper = np.repeat(inputs.train_stops == known.offsets[:-1], known.lengths)
    asked = (known.times >= inputs.cutoff) & (first > starts) & ~repeats_of_the_last(known)
    asked &= inputs.available[known.items - 1]
    chosen = place[asked]
    chosen = chosen[sampled(len(chosen), recipe.evaluation_examples, recipe.seed)]
    return (
        Examples(known.items, starts[chosen], first[chosen], known.items[chosen]),
        fresh_shopper[chosen],
        known.times[chosen],
    )


def repeats_of_the_last(sequences: Sequences) -> npt.NDArray[np.bool_]:
    """Say of each action whether it is the shopper's very last item once more, bool [T]: a page loaded again.

    What comes from a set of several items is a choice among them, and asked: else to leave out the set would be skill.
    """
    items, first = sequences.items, firsts_of_instants(sequences)
    begins = np.unique(first)
    if not len(begins):
        return np.zeros(0, dtype=bool)
    least, most = np.minimum.reduceat(items, begins), np.maximum.reduceat(items, begins)
    before = np.maximum(np.searchsorted(begins, first) - 1, 0)  # the instant before each action's own
    only = (least[before] == most[before]) & (least[before] == items)
    repeated: npt.NDArray[np.bool_] = only & (first > np.repeat(sequences.offsets[:-1], sequences.lengths))
    return repeated


def validation_split(train: Sequences, recipe: Recipe) -> tuple[Sequences, Examples]:
    """Split off the questions that watch for overfitting, the last item of the shoppers seen last: (rest, questions).

    At most a tenth of the shoppers with three interactions or more, at two instants; of what they did at their last
    instant one action is asked for and none is trained on.
    """
    askable = _askable(train)
    if not len(askable):
        raise NotEnoughData(
            "no shopper has three interactions, at two moments, before the held-out days", remedy="ingest more days"
        )
    count = min(recipe.validation_examples, max(min(len(askable), 50), len(askable) // 10))
    last = train.offsets[1:] - 1
    return _without_last_instants(
        train, np.sort(askable[np.argsort(-train.times[last[askable]], kind="stable")[:count]])
    )


def _askable(train: Sequences) -> Ints:
    """Find the shoppers with three interactions or more, at two instants."""
    enough = np.flatnonzero(train.lengths >= 3)
    last = train.offsets[1:][enough] - 1
    return enough[firsts_of_instants(train)[last] > train.offsets[enough]]


def _without_last_instants(train: Sequences, chosen: Ints) -> tuple[Sequences, Examples]:
    """Take the last instant off the `chosen` sequences, and ask for its last action: (rest, questions)."""
    first, last = firsts_of_instants(train), train.offsets[1:] - 1
    asked = train.take(chosen)
    end = asked.offsets[1:] - 1
    questions = Examples(asked.items, asked.offsets[:-1], firsts_of_instants(asked)[end], asked.items[end])
    stops = train.offsets[1:].copy()
    stops[chosen] = first[last[chosen]]
    keep = np.arange(len(train.items)) < np.repeat(stops, train.lengths)
    offsets = np.concatenate([[0], np.cumsum(stops - train.offsets[:-1])]).astype(np.int64)
    return Sequences(train.items[keep], train.times[keep], offsets, train.keys), questions


def ranker_split(
    train: Sequences, available: npt.NDArray[np.bool_], recipe: Recipe
) -> tuple[Sequences, Examples, Ints] | None:
    """Split off what the ranker learns by: (what the sources learn from, questions, shopper of each question).

    The questions are of the last days of `train`, of a fifth of its interactions, at least of one day where there are
    three; the sources see nothing of those days. Where they ask too few, or leave too little, the last action of every
    shopper is asked instead. None where that is too little, too.
    """
    return _of_last_days(train, available, recipe) or _of_last_actions(train, available, recipe)


def _of_last_actions(
    train: Sequences, available: npt.NDArray[np.bool_], recipe: Recipe
) -> tuple[Sequences, Examples, Ints] | None:
    """Ask every shopper's last action, as `ranker_split`: without a day to spare, others' later actions are seen."""
    askable = _askable(train)
    chosen = askable[available[train.items[train.offsets[1:][askable] - 1] - 1]]
    chosen = chosen[sampled(len(chosen), recipe.ranker_questions, recipe.seed)]
    if len(chosen) < recipe.ranker_least:
        return None
    before, questions = _without_last_instants(train, chosen)
    return (before, questions, chosen) if len(before.items) >= recipe.min_train_interactions else None


def _of_last_days(
    train: Sequences, available: npt.NDArray[np.bool_], recipe: Recipe
) -> tuple[Sequences, Examples, Ints] | None:
    """Ask what shoppers did on the last days, as `ranker_split`."""
    days, counts = np.unique(train.times // DAY_US, return_counts=True)
    starts = np.repeat(train.offsets[:-1], train.lengths)
    place = np.arange(len(train.items))
    first = firsts_of_instants(train)
    askable = (first > starts) & ~repeats_of_the_last(train) & available[train.items - 1]
    held = 1 if len(days) >= 3 and counts[-1] <= 0.5 * counts.sum() else 0
    while held + 1 < len(days) and counts[len(days) - held - 1 :].sum() <= 0.2 * counts.sum():
        held += 1
        begin = int(days[len(days) - held]) * DAY_US
        if int((askable & (train.times >= begin)).sum()) >= recipe.ranker_questions:
            break
    if not held:
        return None
    begin = int(days[len(days) - held]) * DAY_US
    chosen = place[askable & (train.times >= begin)]
    chosen = chosen[sampled(len(chosen), recipe.ranker_questions, recipe.seed)]
    owner = np.searchsorted(train.offsets, chosen, side="right") - 1
    kept = train.times < begin
    if len(chosen) < recipe.ranker_least or int(kept.sum()) < recipe.min_train_interactions:
        return None
    lengths = np.bincount(np.repeat(np.arange(len(train)), train.lengths)[kept], minlength=len(train))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    before = Sequences(train.items[kept], train.times[kept], offsets, train.keys)
    return before, Examples(train.items, starts[chosen], first[chosen], train.items[chosen]), owner
