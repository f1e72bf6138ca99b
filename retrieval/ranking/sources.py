"""Names candidates for a question and says what each source thinks of every one of them: once, for both sides.

Training and serving call the same function, so a ranker meets the numbers that it learned from. Each source gives a
share: how much of its own weight lies on a candidate, so that sources of different kinds can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking.item_lists import Floats, Indexes, ItemLists
from retrieval.topk import top_k

#: Sources, by their column in `Named.shares`.
SOURCES = ("sequence", "follows", "neighbours", "content", "repeat", "affinity", "here", "popular")
#: Most candidates that one source names.
DEPTH = {
    "sequence": 100, "follows": 60, "neighbours": 60, "content": 40, "repeat": 30, "affinity": 30, "here": 20,
    "popular": 40,
}  # fmt: skip
#: Newest different items of a history that lists are read for, and how much less each older one counts.
RECENT, DECAY = 12, 0.8
#: Categories of a history that affinity names items of.
CATEGORIES = 3
#: Items of a category that are named on its own page.
CATEGORY_PAGE = 300
#: Candidates of the model among which its scores are made shares.
PEAK = 100
#: Sources that are lists of items.
LISTS = ("follows", "neighbours", "content")
_NOTHING, _NO_SCORES = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
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

    def most_popular(self, category: int, count: int) -> Indexes:
        """Return the `count` most popular items of a category; none of one that no item has."""
        if not 0 <= category < len(self.offsets) - 1:
            return _NOTHING
        start, stop = self.offsets[category], self.offsets[category + 1]
        return self.members[start : min(start + count, stop)]

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

    def keep(self, kept: NDArray[np.bool_]) -> Named:
        """Return the candidates where `kept`, bool [C], is true."""
        return self if kept.all() else Named(self.index[kept], self.shares[kept], self.context)


#: What is known of the question itself.
CONTEXT = ("one", "history", "repeats", "follows support", "sequence peak", "follows peak", "neighbours peak")


def name_candidates(
    data: SourceData, history: Indexes, scores: Floats | None, depth: int = 0, *, within: int | None = None
) -> Named:
    """Name candidates for a `history` (items, oldest first, may be empty) and give every source's share of them.

    scores float32 [N]: of the sequence model, -inf for an item that may not be shown; None without a model's answer.
    The model names `depth` items where that is more than DEPTH: shares stay the same. `within`: items of this category
    are named too, the popular ones first.
    """
    recent, strength = recent_items(history)
    last = history[-1:]
    mix, here = _mix(data, recent, strength), int(data.category[last[0]]) if len(last) else -1
    lists, named = _read_lists(data, last, recent, strength)
    named += [data.ranked[: DEPTH["popular"]], recent[: DEPTH["repeat"]], *_of_categories(data, mix, here)]
    if within is not None:
        named.append(data.most_popular(within, CATEGORY_PAGE))
    best, peak = _NOTHING, _NO_SCORES
    if scores is not None:
        best, peak = top_k(scores, max(DEPTH["sequence"], depth))
    mask = np.zeros(len(data), dtype=bool)
    mask[np.concatenate([*named, best])] = True
    index = np.flatnonzero(mask)

    shares = np.zeros((len(index), len(SOURCES)), dtype=np.float32)
    column = {name: shares[:, place] for place, name in enumerate(SOURCES)}
    if scores is not None and len(peak):
        whole = float(np.exp(peak[:PEAK] - peak[0]).sum())
        column["sequence"][:] = np.exp(np.minimum(scores[index] - peak[0], 0)) / whole
    for name, values in lists.items():
        column[name][:] = values[index] / max(float(values.sum()), 1e-12)
    if len(recent):
        column["repeat"][np.searchsorted(index, recent)] = strength / strength.sum()
    codes = data.category[index]
    if mix is not None:
        column["affinity"][:] = np.where(codes >= 0, mix[codes], 0) * data.within[index]
    if here >= 0:
        column["here"][:] = (codes == here) * data.within[index]
    column["popular"][:] = data.popularity[index]
    return Named(index, shares, _context(data, history, recent, column))


def _read_lists(
    data: SourceData, last: Indexes, recent: Indexes, strength: Floats
) -> tuple[dict[str, Floats], list[Indexes]]:
    """Add up the lists of a history: (weights float32 [N] by source, the items that each of them names)."""
    found: dict[str, Floats] = {}
    named: list[Indexes] = []
    one = np.ones(len(last), dtype=np.float32)
    for name, rows, weights in (
        ("follows", last, one),
        ("neighbours", recent, strength),
        ("content", recent, strength),
    ):
        lists = data.lists.get(name)
        items, values = lists.gather(rows, weights) if lists is not None else (_NOTHING, _NO_SCORES)
        if len(items):
            found[name] = np.bincount(items, weights=values, minlength=len(data)).astype(np.float32)
            unique = items if len(rows) == 1 else _unique(items, len(data))
            named.append(_best(unique, found[name], DEPTH[name]))
    return found, named


def _of_categories(data: SourceData, mix: Floats | None, here: int) -> list[Indexes]:
    """Name the popular items of a history's foremost categories, and of the one where it ended."""
    wanted: list[tuple[int, int]] = []
    if mix is not None:
        top = np.argsort(-mix, kind="stable")[:CATEGORIES]
        wanted += [(category, DEPTH["affinity"]) for category in top[mix[top] > 0].tolist()]
    if here >= 0:
        wanted.append((here, DEPTH["here"]))
    return [data.most_popular(category, depth) for category, depth in wanted]


def _context(data: SourceData, history: Indexes, recent: Indexes, column: dict[str, Floats]) -> Floats:
    """Describe the question itself, float32 [K], by CONTEXT."""
    values = [
        1.0,
        min(np.log1p(len(history)) / 4, 1.5),
        1 - len(recent) / max(1, min(len(history), RECENT)),
        np.log1p(_support(data, history[-1:])) / 8,
        *(float(column[name].max(initial=0)) for name in ("sequence", "follows", "neighbours")),
    ]
    return np.array(values, dtype=np.float32)


def recent_items(history: Indexes) -> tuple[Indexes, Floats]:
    """Return the newest different items of a history, newest first, and how much each counts."""
    seen = list(dict.fromkeys(history[::-1][: 4 * RECENT].tolist()))[:RECENT]
    return np.array(seen, dtype=np.int64), (DECAY ** np.arange(len(seen))).astype(np.float32)


def _unique(items: Indexes, size: int) -> Indexes:
    """Return each of `items`, all below `size`, once, where it stands last; faster than sorting them."""
    order = np.arange(len(items))
    place = np.empty(size, dtype=np.int64)
    place[items] = order
    once: Indexes = items[place[items] == order]
    return once


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
    shares: Floats = (mix / mix.sum()).astype(np.float32)
    return shares


def _support(data: SourceData, last: Indexes) -> float:
    lists = data.lists.get("follows")
    if lists is None or not len(last):
        return 0.0
    return float(lists.offsets[last[0] + 1] - lists.offsets[last[0]])
