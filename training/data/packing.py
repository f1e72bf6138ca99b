"""Cuts sequences into stretches and packs them into full rows: batches with hardly any padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.data.datasets import Ints


@dataclass(frozen=True)
class Segments:
    """Stretches to train on: position p of segment s predicts items[start + p + 1]. int64 [S] each.

    Where instants are told, that item is predicted by the last position strictly earlier than it instead.
    """

    starts: Ints
    lengths: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def repeated(self, times: int) -> Segments:
        """Repeat every stretch `times` times."""
        return Segments(np.tile(self.starts, times), np.tile(self.lengths, times))


def segments(offsets: Ints, max_length: int, firsts: Ints | None = None) -> Segments:
    """Cut sequences into stretches of at most `max_length` inputs that together predict every item once.

    Cut from the end, so that the newest stretch of a long history is a full one, as at serving. `firsts` [T] says where
    each item's instant begins: the cuts lie between instants, where one is not longer than a stretch, and a stretch
    that has nothing to predict is left out.
    """
    starts, lengths = [], []
    for start, stop in pairwise(offsets.tolist()):
        last = stop - 1  # the newest item that is not predicted yet
        while last > start:
            begin = max(start, last - max_length)
            if firsts is not None and begin > start and firsts[begin + 1] <= begin:
                between = int(np.searchsorted(firsts[:stop], firsts[begin], side="right")) - 1
                begin = between if between < last else begin
            if firsts is None or firsts[last] > begin:
                starts.append(begin)
                lengths.append(last - begin)
            last = begin
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

    def __init__(
        self, items: Ints, cut: Segments, *, width: int, batch_tokens: int, seed: int, epoch: int,
        firsts: Ints | None = None,
    ) -> None:  # fmt: skip
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(cut))
        self._items, self._width, self._firsts = items, width, firsts
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
        targets = source + 1
        if self._firsts is not None:  # a later one of a set is told by what is before the set
            back = targets - self._firsts[targets]
            inside = within >= back
            where, targets = (where - back)[inside], targets[inside]
        return Batch(items=items, positions=positions, segments=marks, where=where, targets=self._items[targets])

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(number) for number in range(len(self)))
