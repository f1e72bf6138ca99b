"""Scores named candidates by a release's ranker: a program from shares and context to one part per source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts import release as files
from contracts.errors import ReleaseRefused
from retrieval.onnx_session import open_session
from retrieval.ranking.sources import CONTEXT, SOURCES, Named


def is_readable(about: dict[str, Any]) -> bool:
    """Say whether a ranker, as RANKER_ABOUT describes it, reads what the sources of this version say."""
    return bool(about.get("sources") == list(SOURCES) and about.get("context") == list(CONTEXT))


class RankerProgram:
    """The ranker of one release."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / files.RANKER_ABOUT).read_text())
        if not is_readable(about):
            raise ReleaseRefused(
                f"its ranker reads {about.get('sources')} and {about.get('context')}, this version other ones",
                remedy="serve it by the version that made it, or train again",
            )
        self.ranks = str(about["ranks"])
        self._session = open_session(folder / files.RANKER)

    def parts(self, named: Named) -> NDArray[np.float32]:
        """Return each source's part of each candidate's score, float32 [C, S]; the score is their sum."""
        context = np.repeat(named.context[None, :], len(named.index), axis=0)
        (parts,) = self._session.run(["parts"], {"shares": named.shares, "context": context})
        return np.asarray(parts, dtype=np.float32)

    def scores(self, named: Named) -> NDArray[np.float32]:
        """Return each candidate's score, float32 [C]: the sum of its parts."""
        total: NDArray[np.float32] = self.parts(named).sum(axis=1)
        return total
