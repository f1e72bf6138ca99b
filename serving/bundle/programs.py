"""Runs the exported programs of a release, with ONNX Runtime on one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ReleaseRefused
from contracts.release import LONGEST_HISTORY
from retrieval.onnx_session import open_session


class SequenceProgram:
    """The program from a shopper's history to the query vector, see contracts.release.SEQUENCE_PROGRAM."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        if set(shapes) != {"items", "lengths"} or [v.name for v in self._session.get_outputs()] != ["query"]:
            raise ReleaseRefused(
                f"{path.name} does not map items and lengths to query", remedy="export it as contracts.release says"
            )
        fixed = shapes["items"][1]
        self._padded = fixed if isinstance(fixed, int) else None
        self.longest = self._padded or LONGEST_HISTORY

    def query(self, history: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the query vector float32 [D] of `history`, item indexes int64 [L], oldest first, L >= 1.

        Only the newest items that the program can see are used. No padding is computed where the length is free.
        """
        recent = history[-self.longest :] + 1
        items = recent[None, :]
        if self._padded:
            items = np.zeros((1, self._padded), dtype=np.int64)
            items[0, : len(recent)] = recent
        lengths = np.array([len(recent)], dtype=np.int64)
        (query,) = self._session.run(["query"], {"items": items, "lengths": lengths})
        return np.asarray(query[0], dtype=np.float32)
