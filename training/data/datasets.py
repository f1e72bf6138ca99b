"""Orders interactions into sequences, and makes questions of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import INTERACTIONS

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Sequences:
    """Item sequences in one flat array, each oldest first.

    items int64 [T], 1-based item index; times int64 [T], microseconds; offsets int64 [S + 1]; keys [S], the
    shopper or session of each sequence; dropped, interactions whose item is not in the vocabulary.
    """

    items: Ints
    times: Ints
    offsets: Ints
    keys: pa.Array
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def take(self, index: Ints) -> Sequences:
        """Take the sequences at `index`, in that order."""
        items, times, lengths = [], [], []
        for i in index:
            start, stop = self.offsets[i], self.offsets[i + 1]
            items.append(self.items[start:stop])
            times.append(self.times[start:stop])
            lengths.append(stop - start)
        empty = np.zeros(0, dtype=np.int64)
        return Sequences(
            items=np.concatenate(items or [empty]),
            times=np.concatenate(times or [empty]),
            offsets=np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64),
            keys=self.keys.take(pa.array(index)),
        )

    def head(self, drop: int) -> Sequences:
        """Take the last `drop` items off every sequence; sequences that end up empty stay, empty."""
        lengths = np.maximum(self.lengths - drop, 0)
        within = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths)
        keep = within < np.repeat(lengths, self.lengths)
        return Sequences(
            items=self.items[keep],
            times=self.times[keep],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            keys=self.keys,
        )


def firsts_of_instants(sequences: Sequences) -> Ints:
    """Return for each action the place of the first one of its sequence at the same instant, int64 [T].

    What a shopper does at one instant is a set: none of it tells of another, and all of it is told by what is before.
    """
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    new = np.ones(len(sequences.items), dtype=bool)
    new[1:] = (owner[1:] != owner[:-1]) | (sequences.times[1:] != sequences.times[:-1])
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def from_events(events: pa.Table, item_ids: pa.Array, *, by: str = "user_id") -> Sequences:
    """Order the interactions in `events`: one sequence per shopper (by="user_id") or session (by="session_id").

    `item_ids` is the vocabulary in index order. Equal times keep the order of the table. A session belongs to one
    shopper, since some shops number each shopper's sessions from 1: its key is user_id, U+001F, session_id. A row
    without a session belongs to its shopper's one session.
    """
    events = events.filter(
        pc.and_(pc.is_in(events["kind"], value_set=pa.array(INTERACTIONS)), pc.is_valid(events["item_id"]))
    )
    index = pc.index_in(events["item_id"], value_set=item_ids)
    known = pc.is_valid(index)
    dropped = len(events) - pc.sum(known).as_py() if len(events) else 0
    events = events.filter(known)
    items = np.asarray(index.combine_chunks().drop_null(), dtype=np.int64) + 1
    key = events["user_id"]
    if by == "session_id":
        key = pc.binary_join_element_wise(key, pc.fill_null(events["session_id"], ""), "\x1f")
    encoded = key.combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    times = np.asarray(events["event_time"].combine_chunks().cast(pa.int64()), dtype=np.int64)
    order = np.lexsort((times, codes))
    counts = np.bincount(codes, minlength=len(encoded.dictionary)).astype(np.int64)
    return Sequences(
        items=items[order],
        times=times[order],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        keys=encoded.dictionary,
        dropped=int(dropped),
    )


@dataclass(frozen=True)
class Examples:
    """Questions with one right answer each: a history, and the item that came next.

    History e is items[starts[e]:stops[e]], oldest first (views into one flat array); targets int64 [E].
    """

    items: Ints
    starts: Ints
    stops: Ints
    targets: Ints

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Ints:
        return self.stops - self.starts

    def history(self, index: int) -> Ints:
        return self.items[self.starts[index] : self.stops[index]]

    def repeats(self) -> npt.NDArray[np.bool_]:
        """Say whether the answer is in the history, bool [E]."""
        found = (bool((self.history(e) == self.targets[e]).any()) for e in range(len(self)))
        return np.fromiter(found, dtype=bool, count=len(self))

    def take(self, index: Ints) -> Examples:
        return Examples(self.items, self.starts[index], self.stops[index], self.targets[index])

    def sample(self, limit: int, seed: int) -> Examples:
        """Take at most `limit` of them, chosen by the seed, in their order."""
        return self.take(sampled(len(self), limit, seed))

    def padded(self, index: Ints, max_length: int) -> tuple[Ints, Ints]:
        """Pad the newest `max_length` items of each history: (items [B, L] padded on the right, lengths [B])."""
        stops = self.stops[index]
        lengths = np.minimum(stops - self.starts[index], max_length)
        column = np.arange(max(1, int(lengths.max(initial=1))))
        real = column[None, :] < lengths[:, None]
        items = np.zeros(real.shape, dtype=np.int64)
        items[real] = self.items[((stops - lengths)[:, None] + column[None, :])[real]]
        return items, lengths


def sampled(count: int, limit: int, seed: int) -> Ints:
    """Draw sorted indices of at most `limit` of `count` things by the seed."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, count, limit]).choice(count, size=limit, replace=False))


def last_items(sequences: Sequences, *, drop: int = 0) -> Examples:
    """Ask for each sequence's last item (after dropping `drop`), with all before it as history."""
    starts, targets = sequences.offsets[:-1], sequences.offsets[1:] - drop - 1
    enough = targets > starts
    starts, targets = starts[enough], targets[enough]
    return Examples(sequences.items, starts, targets, sequences.items[targets])


def every_prefix(sequences: Sequences) -> Examples:
    """Ask for every position except the first, with all before it as history."""
    targets = np.arange(len(sequences.items))
    starts = np.repeat(sequences.offsets[:-1], sequences.lengths)
    later = targets > starts
    return Examples(sequences.items, starts[later], targets[later], sequences.items[targets[later]])
