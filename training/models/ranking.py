"""Ranks a whole catalog for many questions, in chunks: ranks of the right answers, and the top lists."""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from contracts.errors import TrainingError
from training.data.datasets import Examples, Ints

Floats = npt.NDArray[np.float32]
#: (items int64 [B, L] padded on the right, lengths int64 [B]) -> queries float32 [B, D]
Encode = Callable[[Ints, Ints], Floats]
#: (examples, their indices) -> scores float32 [B, N], column r is item r + 1; may be overwritten
Score = Callable[[Examples, Ints], torch.Tensor]

#: Scores computed at once, about 16 MB: more only moves memory.
CHUNK_ELEMENTS = 4_000_000
SMALLEST_CHUNK, LARGEST_CHUNK = 16, 512


@dataclass(frozen=True)
class Ranking:
    """ranks int64 [E], 1-based place of each right answer; top int64 [E, K], 1-based items, best first.

    Where fewer than K items may be shown, the rest of a row of `top` is 0.
    """

    ranks: Ints
    top: Ints


def scorer(encode: Encode, vectors: Floats, bias: Floats | None, max_length: int) -> Score:
    """Score by a program and its item vectors."""
    matrix = torch.from_numpy(np.ascontiguousarray(vectors)).T
    extra = torch.from_numpy(bias) if bias is not None else None

    def score(examples: Examples, index: Ints) -> torch.Tensor:
        queries = torch.from_numpy(encode(*examples.padded(index, max_length)))
        scores = queries @ matrix
        return scores if extra is None else scores.add_(extra)

    return score


def rank(
    score: Score, examples: Examples, *, exclude_seen: bool, top: int = 20, allowed: npt.NDArray[np.bool_] | None = None
) -> Ranking:
    """Rank all items for each example.

    exclude_seen takes the items of the history out of the ranking, but not where the answer is one of them: with
    only the answer left of what was seen, "seen before" alone would find it, so there all items are ranked.
    allowed bool [N] takes out all others. Ties go to the lower index. Raises TrainingError on scores that are
    not numbers.
    """
    ranks: list[Ints] = []
    tops: list[Ints] = []
    hidden = None if allowed is None else torch.from_numpy(~allowed)
    # Lengths alike share a batch, so that a program does little work on padding.
    order = np.argsort(np.minimum(examples.lengths, 1_000), kind="stable")
    start, rows = 0, SMALLEST_CHUNK
    while start < len(order):
        index = order[start : start + rows]
        start += len(index)
        scores = score(examples, index)
        rows = min(LARGEST_CHUNK, max(SMALLEST_CHUNK, CHUNK_ELEMENTS // scores.shape[1]))
        if not bool(torch.isfinite(scores.sum(dim=1)).all()) and bool(torch.isnan(scores).any()):
            raise TrainingError("the model gives scores that are not numbers", remedy="train again with other data")
        target = torch.from_numpy(examples.targets[index] - 1)[:, None]
        own = scores.gather(1, target)
        if hidden is not None:
            scores.masked_fill_(hidden, -torch.inf)
        if exclude_seen:
            row, seen = _seen(examples, index)
            repeat = np.bincount(row, weights=seen == examples.targets[index][row], minlength=len(index)) > 0
            taken_out = ~repeat[row]
            scores[torch.from_numpy(row[taken_out]), torch.from_numpy(seen[taken_out] - 1)] = -torch.inf
        scores.scatter_(1, target, own)
        # Every equal score counts against the answer, so that scoring all alike gains nothing; itself makes up the 1.
        # (Summing zeros and ones as floats is several times faster than summing booleans, and exact to 16 million.)
        ranks.append(torch.ge(scores, own, out=torch.empty_like(scores)).sum(dim=1).long().numpy())
        best = scores.topk(min(top, scores.shape[1]), dim=1)
        tops.append((best.indices + 1).masked_fill_(best.values == -torch.inf, 0).numpy())
    if not ranks:
        return Ranking(np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int64))
    back = np.argsort(order, kind="stable")
    return Ranking(np.concatenate(ranks)[back], np.concatenate(tops)[back])


def _seen(examples: Examples, index: Ints) -> tuple[Ints, Ints]:
    """List every item of the histories at `index`: (place in `index`, 1-based item)."""
    lengths = examples.lengths[index]
    row = np.repeat(np.arange(len(index)), lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = examples.items[np.repeat(examples.starts[index], lengths) + within]
    return row, items
