"""Orders interactions into sequences, and packs short ones into full rows: batches with hardly any padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import INTERACTIONS

Ints = npt.NDArray[np.int64]


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


@dataclass(frozen=True)
class Segments:
    """Stretches to train on: position p of segment s predicts items[start + p + 1]. int64 [S] each."""

    starts: Ints
    lengths: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def repeated(self, times: int) -> Segments:
        """Repeat every stretch `times` times."""
        return Segments(np.tile(self.starts, times), np.tile(self.lengths, times))


def segments(offsets: Ints, max_length: int) -> Segments:
    """Cut sequences into stretches of at most `max_length` inputs that together predict every item once.

    Cut from the end, so that the newest stretch of a long history is a full one, as at serving.
    """
    starts, lengths = [], []
    for start, stop in pairwise(offsets.tolist()):
        inputs = stop - start - 1
        while inputs > 0:
            length = min(inputs, max_length)
            starts.append(start + inputs - length)
            lengths.append(length)
            inputs -= length
    return Segments(np.asarray(starts, dtype=np.int64), np.asarray(lengths, dtype=np.int64))


def pack(lengths: Ints, width: int) -> tuple[Ints, Ints, int]:
    """Put stretches into rows of `width`, each into the fullest row it fits: (row [S], column [S], rows).

    Keeps the given order of stretches otherwise, so a shuffled order gives shuffled rows.
    """
    open_rows: list[list[int]] = [[] for _ in range(width + 1)]  # by space left
    free = 0  # bit s is set while a row with s left is open
    row = np.empty(len(lengths), dtype=np.int64)
    column = np.empty(len(lengths), dtype=np.int64)
    rows = 0
    for i, length in enumerate(lengths.tolist()):
        fitting = free >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            chosen = open_rows[space].pop()
            if not open_rows[space]:
                free &= ~(1 << space)
        else:
            space, chosen = width, rows
            rows += 1
        row[i], column[i] = chosen, width - space
        left = space - length
        if left:
            open_rows[left].append(chosen)
            free |= 1 << left
    return row, column, rows


@dataclass(frozen=True)
class Batch:
    """Packed rows.

    items, positions, segments int64 [B, L] (segment 0 is padding); where int64 [T], the flat places that predict;
    targets int64 [T], 1-based item index.
    """

    items: Ints
    positions: Ints
    segments: Ints
    where: Ints
    targets: Ints


class PackedBatches:
    """All batches of one epoch, in an order that (seed, epoch) fixes; any one of them by its number."""

    def __init__(self, items: Ints, cut: Segments, *, width: int, batch_tokens: int, seed: int, epoch: int) -> None:
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(cut))
        self._items, self._width = items, width
        self._starts, self._lengths = cut.starts[order], cut.lengths[order]
        row, self._column, rows = pack(self._lengths, width)
        place = generator.permutation(rows)  # the first rows are the fullest: spread them
        self._row = place[row]
        self._by_row = np.argsort(self._row, kind="stable")
        self._first = np.searchsorted(self._row[self._by_row], np.arange(rows + 1))
        self._rows_per_batch = max(1, batch_tokens // width)
        self.rows = rows
        self.tokens = int(self._lengths.sum())

    def __len__(self) -> int:
        return -(-self.rows // self._rows_per_batch)

    @property
    def padding(self) -> float:
        """The share of places that hold nothing."""
        return 1 - self.tokens / max(1, self.rows * self._width)

    def batch(self, number: int, part: int = 0, parts: int = 1) -> Batch:
        """Pack batch `number`, or every `parts`-th row of it from `part` on: the share of one process."""
        first = number * self._rows_per_batch
        rows = np.arange(first, min(first + self._rows_per_batch, self.rows))
        mine = rows[part % len(rows) :: parts] if parts > 1 else rows
        chosen = np.concatenate([self._by_row[self._first[r] : self._first[r + 1]] for r in mine])
        lengths = self._lengths[chosen]
        total = int(lengths.sum())
        within = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        source = np.repeat(self._starts[chosen], lengths) + within
        local_row = np.searchsorted(mine, self._row[chosen])
        where = np.repeat(local_row * self._width + self._column[chosen], lengths) + within
        shape = (len(mine), self._width)
        items, positions, marks = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        items.reshape(-1)[where] = self._items[source]
        positions.reshape(-1)[where] = within
        marks.reshape(-1)[where] = np.repeat(np.arange(1, len(chosen) + 1), lengths)
        return Batch(items=items, positions=positions, segments=marks, where=where, targets=self._items[source + 1])

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(number) for number in range(len(self)))
