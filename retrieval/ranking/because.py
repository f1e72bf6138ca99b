"""Says what carried an item into an answer: the source, and the action of the shopper's that it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking.item_lists import Floats, Indexes
from retrieval.ranking.sources import SOURCES, Named, SourceData, recent_items

#: (items [K], items [R]) -> float32 [K, R]
Likeness = Callable[[Indexes, Indexes], Floats]
#: A source is named only for an item that is among its own first ones.
FOREMOST = 50
#: How much more an action counts that the model holds for like the item; a likeness of 1 against one of 0.
SHARPNESS = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What carried one item: a place in SOURCES, and an item of the history, -1 where none did (popular items)."""

    source: int
    action: int


def find_causes(
    data: SourceData, named: Named, parts: Floats, chosen: Indexes, history: Indexes, likeness: Likeness
) -> list[Cause]:
    """Find the cause of each of the `chosen` items [K], all of them among `named`, whose `parts` [C, S] are given.

    history: items, oldest first; likeness: how alike the sequence model holds two sets of items for, -1 to 1.
    The source is the one with the largest part among those that have the item in their first FOREMOST. The action is
    the one that most of the score comes from, over all sources, each part divided as its source weighs the actions.
    """
    rows = np.searchsorted(named.index, chosen)
    own, shares = parts[rows], named.shares[rows]
    places = (named.shares[None] > shares[:, None]).sum(axis=1)  # [K, S]
    fit = (shares > 0) & (places < FOREMOST)
    best = np.where(fit, own, -np.inf)
    source = np.where(fit.any(axis=1), best.argmax(axis=1), own.argmax(axis=1))
    recent, strength = recent_items(history)
    if not len(recent):
        return [Cause(source=int(s), action=-1) for s in source.tolist()]
    share = _divide(data, chosen, recent, strength, likeness)
    carried = np.einsum("ks,skr->kr", np.maximum(own, 0), share)
    action = np.where(carried.max(axis=1) > 0, recent[carried.argmax(axis=1)], -1)
    return [Cause(source=int(s), action=int(a)) for s, a in zip(source.tolist(), action.tolist(), strict=True)]


def _divide(
    data: SourceData, chosen: Indexes, recent: Indexes, strength: Floats, likeness: Likeness
) -> NDArray[np.float64]:
    """Divide what each source says of each item among the recent actions, [S, K, R]: shares of 1, or all 0."""
    weights = np.zeros((len(SOURCES), len(chosen), len(recent)))
    alike = likeness(chosen, recent)
    weights[SOURCES.index("sequence")] = np.exp(SHARPNESS * (alike - 1)) * strength
    weights[SOURCES.index("follows"), :, 0] = weights[SOURCES.index("here"), :, 0] = 1.0
    for name in ("neighbours", "content"):
        lists = data.lists.get(name)
        if lists is not None:
            weights[SOURCES.index(name)] = (
                _from_lists(lists.offsets, lists.items, lists.weights, chosen, recent) * strength
            )
    weights[SOURCES.index("repeat")] = chosen[:, None] == recent[None]
    weights[SOURCES.index("affinity")] = (data.category[chosen][:, None] == data.category[recent][None]) * strength
    divided: NDArray[np.float64] = weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-12)
    return divided


def _from_lists(
    offsets: Indexes, items: NDArray[np.int32], values: Floats, chosen: Indexes, recent: Indexes
) -> NDArray[np.float64]:
    """Read the weight of each chosen item in the list of each recent one, [K, R]; 0 where it is not in it."""
    found = np.zeros((len(chosen), len(recent)))
    for place, row in enumerate(recent.tolist()):
        start, stop = offsets[row], offsets[row + 1]
        which, where = np.nonzero(chosen[:, None] == items[start:stop][None])
        found[which, place] = values[start:stop][where]
    return found
