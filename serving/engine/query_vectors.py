"""Encodes query texts, and keeps their vectors for queries that come again."""

from __future__ import annotations

import logging
from collections import OrderedDict

from retrieval.tokenize import normalize
from serving.bundle.release import Floats, Release
from serving.pipeline.candidates import Fallback

log = logging.getLogger(__name__)

#: Query vectors kept at most.
KEPT_QUERY_VECTORS = 20_000


class QueryVectors:
    """Least recently used vectors by release and normalised query; used from the search thread alone."""

    def __init__(self, size: int = KEPT_QUERY_VECTORS) -> None:
        self._size = size
        self._release = ""
        self._vectors: OrderedDict[str, Floats] = OrderedDict()

    def encode(self, release: Release, text: str) -> tuple[Floats | None, Fallback | None]:
        """Return the unit vector of `text`, or why there is none: then the search is BM25 alone."""
        if release.encoder is None:
            return None, Fallback.NO_TEXT_ENCODER
        if release.digest != self._release:
            self._vectors.clear()
            self._release = release.digest
        key = " ".join(normalize(text).split())
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
            return vector, None
        try:
            vector = release.encoder.encode([text])[0]
        except Exception:  # BM25 still answers, no matter what the tokenizer or the program raises
            log.exception("the text encoder of release %s failed", release.digest[:12])
            return None, Fallback.QUERY_ENCODER_FAILED
        self._vectors[key] = vector
        if len(self._vectors) > self._size:
            self._vectors.popitem(last=False)
        return vector, None
