"""Holds what one training run learns from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.data.datasets import Examples, Ints


@dataclass(frozen=True)
class TrainingData:
    """The data of one run.

    items and offsets are training sequences (as in datasets.Sequences); validation, questions that watch for
    overfitting; text float32 [N, E] or None; start, weights to go on from (see training.fitting.warm_start), empty for
    a training from nothing; firsts int64 [T], as datasets.firsts_of_instants returns them, or None where each item
    follows the one before it, whatever its time: so published protocols have it.
    """

    item_count: int
    items: Ints
    offsets: Ints
    validation: Examples
    exclude_seen: bool
    text: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None
    start: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    firsts: Ints | None = None
