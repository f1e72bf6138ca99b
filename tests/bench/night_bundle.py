"""Makes of a synthetic release one with sources and a ranker as large as a night's: full lists, a fitted shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from contracts import release as files
from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.sources import CONTEXT, SOURCES, SourceData
from training.ranker import program
from training.ranker.network import Ranker
from training.sources import content, neighbours

CATEGORIES = 60


def add_sources(bundle: Path, items: int, seed: int = 0) -> None:
    """Write lists of the greatest length, of random items so that they overlap least, and a random ranker."""
    draw = np.random.default_rng(seed)

    def lists(longest: int) -> ItemLists:
        rows = np.repeat(np.arange(items), longest)
        place = (rows, draw.integers(0, items, len(rows)))
        weights = draw.random(len(rows)) + 0.01
        return ItemLists.of(sparse.coo_matrix((weights, place), shape=(items, items)).tocsr(), longest)

    found = {
        "follows": lists(neighbours.LONGEST),
        "neighbours": lists(neighbours.LONGEST),
        "content": lists(content.LONGEST),
    }
    popularity = draw.dirichlet(np.ones(items)).astype(np.float32)
    SourceData(found, popularity, (np.arange(items) % CATEGORIES).astype(np.int32)).save(bundle / files.SOURCES)
    torch.manual_seed(seed)
    program.write(Ranker(len(SOURCES), len(CONTEXT)).eval(), {"ranks": "ranker", "best_source": "sequence"}, bundle)
