"""Names candidates for a question and says what each source thinks of every one of them: once, for both sides.

Training and serving call the same function, so a ranker meets the numbers that it learned from. Each source gives a
share: how much of its own weight lies on a candidate, so that sources of different kinds can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.item_lists import Floats, Indexes, ItemLists
from retrieval.topk import top_k

#: Sources, by their column in `Named.shares`.
SOURCES = ("sequence", "follows", "neighbours", "content", "repeat", "affinity", "here", "popular")
#: Most candidates that one source names.
DEPTH = {
    "sequence": 100, "follows": 60, "neighbours": 60, "content": 40, "repeat": 30, "affinity": 30, "here": 20, "popular": 40,
}  # fmt: skip
#: Newest different items of a history that lists are read for, and how much less each older one counts.
RECENT, DECAY = 12, 0.8
#: Categories of a history that affinity names items of.
CATEGORIES = 3
#: Candidates of the model among which its scores are made shares.
PEAK = 100
#: Sources that are lists of items.
LISTS = ("follows", "neighbours", "content")
_POPULARITY, _CATEGORY = "popularity.npy", "category.npy"


@dataclass(frozen=True, eq=False)
class SourceData:
    """What the sources know about N items, all of it learned from interactions before one moment.

    lists: follows (after an item, in order), neighbours (near an item, both ways), content (reads like it).
    popularity float32 [N], shares of recent interactions; category int32 [N], -1: none; within float32 [N], the
    item's share of its category's popularity; ranked, all items with any popularity, best first; offsets and members:
    the items of category c are members[offsets[c]:offsets[c + 1]], best first.
    """

    lists: dict[str, ItemLists]
    popularity: Floats
    category: NDArray[np.int32]
    within: Floats = field(init=False)
    ranked: Indexes = field(init=False)
    offsets: Indexes = field(init=False)
    members: Indexes = field(init=False)

    def __post_init__(self) -> None:
        order = np.lexsort((np.arange(len(self.popularity)), -self.popularity))
        known = order[self.category[order] >= 0]
        members = known[np.argsort(self.category[known], kind="stable")]
        size = int(self.category.max(initial=-1)) + 1
        whole = np.bincount(self.category[known], weights=self.popularity[known], minlength=size)
        within = np.zeros(len(self.popularity), dtype=np.float32)
        within[known] = self.popularity[known] / np.maximum(whole[self.category[known]], 1e-12)
        object.__setattr__(self, "within", within)
        object.__setattr__(self, "ranked", order[self.popularity[order] > 0])
        object.__setattr__(self, "members", members)
        object.__setattr__(
            self, "offsets", np.searchsorted(self.category[members], np.arange(size + 1)).astype(np.int64)
        )

    def __len__(self) -> int:
        return len(self.popularity)

    def save(self, folder: Path) -> None:
        """Write the files of a release's folder `sources`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / _POPULARITY, self.popularity, allow_pickle=False)
        np.save(folder / _CATEGORY, self.category, allow_pickle=False)
        for name, lists in self.lists.items():
            lists.save(folder / name)

    @classmethod
    def load(cls, folder: Path, size: int) -> SourceData:
        """Read what `save` wrote for `size` items. Raises ValueError when the files do not fit together."""
        popularity, category = (np.load(folder / name, allow_pickle=False) for name in (_POPULARITY, _CATEGORY))
        if popularity.shape != (size,) or category.shape != (size,) or not np.isfinite(popularity).all():
            raise ValueError(f"the popularity or categories in {folder.name} do not fit {size} items")
        lists = {name: ItemLists.load(folder / name, size) for name in LISTS if (folder / name).is_dir()}
        return cls(lists, popularity.astype(np.float32), category.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Named:
    """C candidates: index int64 [C], ascending; shares float32 [C, S], by SOURCES; context float32 [K], by CONTEXT."""

    index: Indexes
    shares: Floats
    context: Floats


#: What is known of the question itself.
CONTEXT = ("one", "history", "repeats", "follows support", "sequence peak", "follows peak", "neighbours peak")


def name_candidates(data: SourceData, history: Indexes, scores: Floats | None, depth: int = 0) -> Named:
    """Name candidates for a `history` (items, oldest first, may be empty) and give every source's share of them.

    scores float32 [N]: of the sequence model, -inf for an item that may not be shown; None without a model's answer.
    The model names `depth` items where that is more than DEPTH: shares stay the same.
    """
    size = len(data)
    recent, strength = recent_items(history)
    named = [data.ranked[: DEPTH["popular"]]]
    dense: dict[str, Floats] = {}
    last = history[-1:]
    for name, rows, weights in (
        ("follows", last, np.ones(len(last), dtype=np.float32)),
        ("neighbours", recent, strength),
        ("content", recent, strength),
    ):
        lists = data.lists.get(name)
        if lists is None:
            continue
        items, found = lists.gather(rows, weights)
        if not len(items):
            continue
        dense[name] = np.bincount(items, weights=found, minlength=size).astype(np.float32)
        unique = items if len(rows) == 1 else np.flatnonzero(dense[name])
        named.append(_best(unique, dense[name], DEPTH[name]))
    mix = _mix(data, recent, strength)
    if mix is not None:
        top = np.argsort(-mix, kind="stable")[:CATEGORIES]
        for category in top[mix[top] > 0].tolist():
            start = data.offsets[category]
            named.append(data.members[start : min(start + DEPTH["affinity"], data.offsets[category + 1])])
    here = int(data.category[last[0]]) if len(last) else -1
    if here >= 0:
        start = data.offsets[here]
        named.append(data.members[start : min(start + DEPTH["here"], data.offsets[here + 1])])
    named.append(recent[: DEPTH["repeat"]])
    top_scores: Floats = np.empty(0, dtype=np.float32)
    if scores is not None:
        best, top_scores = top_k(scores, max(DEPTH["sequence"], depth))
        named.append(best)
    mask = np.zeros(size, dtype=bool)
    mask[np.concatenate(named)] = True
    index = np.flatnonzero(mask)

    shares = np.zeros((len(index), len(SOURCES)), dtype=np.float32)
    column = {name: shares[:, place] for place, name in enumerate(SOURCES)}
    if len(top_scores):
        whole = float(np.exp(top_scores[:PEAK] - top_scores[0]).sum())
        column["sequence"][:] = np.exp(np.minimum(scores[index] - top_scores[0], 0)) / whole
    for name, values in dense.items():
        column[name][:] = values[index] / max(float(values.sum()), 1e-12)
    if len(recent):
        place = np.searchsorted(index, recent)
        column["repeat"][place] = strength / strength.sum()
    codes = data.category[index]
    if mix is not None:
        column["affinity"][:] = np.where(codes >= 0, mix[codes], 0) * data.within[index]
    if here >= 0:
        column["here"][:] = (codes == here) * data.within[index]
    column["popular"][:] = data.popularity[index]
    context = np.array(
        [
            1.0,
            min(np.log1p(len(history)) / 4, 1.5),
            1 - len(recent) / max(1, min(len(history), RECENT)),
            np.log1p(_support(data, last)) / 8,
            *(float(column[name].max(initial=0)) for name in ("sequence", "follows", "neighbours")),
        ],
        dtype=np.float32,
    )
    return Named(index, shares, context)


def recent_items(history: Indexes) -> tuple[Indexes, Floats]:
    """Return the newest different items of a history, newest first, and how much each counts."""
    seen = list(dict.fromkeys(history[::-1][: 4 * RECENT].tolist()))[:RECENT]
    return np.array(seen, dtype=np.int64), (DECAY ** np.arange(len(seen))).astype(np.float32)


def _best(items: Indexes, values: Floats, depth: int) -> Indexes:
    if len(items) <= depth:
        return items
    return items[np.argpartition(-values[items], depth)[:depth]]


def _mix(data: SourceData, recent: Indexes, strength: Floats) -> Floats | None:
    """Return how a history divides among categories, [categories]; None where none of its items has one."""
    codes = data.category[recent]
    known = codes >= 0
    if not known.any():
        return None
    mix = np.bincount(codes[known], weights=strength[known], minlength=len(data.offsets) - 1)
    return (mix / mix.sum()).astype(np.float32)


def _support(data: SourceData, last: Indexes) -> float:
    lists = data.lists.get("follows")
    if lists is None or not len(last):
        return 0.0
    return float(lists.offsets[last[0] + 1] - lists.offsets[last[0]])
