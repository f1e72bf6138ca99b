"""Keeps for every item a short list of others, with weights: what was bought after it, what reads like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]

#: Files of one set of lists.
OFFSETS, ITEMS, WEIGHTS = "offsets.npy", "items.npy", "weights.npy"


@dataclass(frozen=True, eq=False)
class ItemLists:
    """Lists of N items: row r is items[offsets[r]:offsets[r + 1]] with their weights, the heaviest first.

    offsets int64 [N + 1]; items int32 [M], 0-based; weights float32 [M], above 0.
    """

    offsets: Indexes
    items: NDArray[np.int32]
    weights: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, longest: int) -> ItemLists:
        """Keep the `longest` heaviest entries above 0 of each row of a square matrix; equal ones by item."""
        matrix = matrix.tocsr()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        kept = matrix.data > 0
        rows, items, weights = rows[kept], matrix.indices[kept], matrix.data[kept].astype(np.float32)
        order = np.lexsort((items, -weights, rows))
        rows, items, weights = rows[order], items[order], weights[order]
        starts = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
        near = np.arange(len(rows)) - starts[rows] < longest
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[near], minlength=matrix.shape[0]))])
        return cls(offsets.astype(np.int64), items[near].astype(np.int32), weights[near])

    def gather(self, rows: Indexes, strength: Floats) -> tuple[Indexes, Floats]:
        """Return the entries of the lists of `rows`, weighted by `strength`, one list after the other."""
        bounds = [(self.offsets[row], self.offsets[row + 1]) for row in rows.tolist()]
        if not bounds:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        items = np.concatenate([self.items[start:stop] for start, stop in bounds])
        lengths = [stop - start for start, stop in bounds]
        weights = np.concatenate([self.weights[start:stop] for start, stop in bounds])
        return items.astype(np.int64), weights * np.repeat(strength, lengths)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in ((OFFSETS, self.offsets), (ITEMS, self.items), (WEIGHTS, self.weights)):
            np.save(folder / name, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, size: int) -> ItemLists:
        """Load the lists of `size` items. Raises ValueError when the files do not fit together."""
        offsets, items, weights = (np.load(folder / name, allow_pickle=False) for name in (OFFSETS, ITEMS, WEIGHTS))
        fits = offsets.shape == (size + 1,) and items.shape == weights.shape == (int(offsets[-1]),)
        if not fits or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"{folder.name} has lists that do not fit {size} items")
        if len(items) and not (int(items.min()) >= 0 and int(items.max()) < size and np.isfinite(weights).all()):
            raise ValueError(f"{folder.name} names items that are not there, or weights that are not numbers")
        return cls(offsets.astype(np.int64), items.astype(np.int32), weights.astype(np.float32))
