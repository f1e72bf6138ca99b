"""Fits the ranker to questions that no source has seen, and says whether it may rank: the best source is asked too."""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from retrieval import metrics
from retrieval.ranking.sources import CONTEXT, SOURCES, Named
from training.data.datasets import Ints
from training.ranker.network import OneSource, Ranker

BATCH = 128
LEARNING_RATE, WEIGHT_DECAY = 0.02, 1e-3
FOLDS = 2
#: The name of what is made of all sources, among the names of sources.
ALL = "ranker"


@dataclass(frozen=True, eq=False)
class Learned:
    """Questions as rows of candidates, padded to one width; only those whose answer is among the candidates teach.

    shares float32 [Q, W, S], context float32 [Q, K], there bool [Q, W], answer int64 [Q] (column; -1: not named),
    shopper int64 [Q].
    """

    shares: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    there: npt.NDArray[np.bool_]
    answer: Ints
    shopper: Ints

    @classmethod
    def of(cls, named: Sequence[Named], answers: Ints, shopper: Ints) -> Learned:
        """Pad `named`; `answers` are 0-based items."""
        width = max((len(one.index) for one in named), default=1)
        shares = np.zeros((len(named), width, len(SOURCES)), dtype=np.float32)
        there = np.zeros((len(named), width), dtype=bool)
        answer = np.full(len(named), -1, dtype=np.int64)
        for row, one in enumerate(named):
            shares[row, : len(one.index)] = one.shares
            there[row, : len(one.index)] = True
            place = int(np.searchsorted(one.index, answers[row]))
            if place < len(one.index) and one.index[place] == answers[row]:
                answer[row] = place
        context = np.stack([one.context for one in named])
        return cls(shares, context, there, answer, shopper)

    def take(self, which: npt.NDArray[np.bool_]) -> Learned:
        return Learned(
            self.shares[which], self.context[which], self.there[which], self.answer[which], self.shopper[which]
        )


def fit(learned: Learned, *, steps: int, seed: int) -> Ranker:
    """Fit by the softmax over each question's candidates, shoppers weighing alike."""
    known = learned.take(learned.answer >= 0)
    torch.manual_seed(seed)
    network = Ranker(len(SOURCES), len(CONTEXT))
    if not len(known.answer):
        return network.eval()
    counts = np.bincount(known.shopper)
    weight = torch.from_numpy((1.0 / counts[known.shopper]).astype(np.float32))
    weight /= weight.mean()
    shares, context, there, answer = (
        torch.from_numpy(array) for array in (known.shares, known.context, known.there, known.answer)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(answer), (min(BATCH, len(answer)),), generator=generator)
        scores = _scores(network, shares[batch], context[batch], there[batch])
        loss = (nn.functional.cross_entropy(scores, answer[batch], reduction="none") * weight[batch]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def _scores(network: nn.Module, shares: Tensor, context: Tensor, there: Tensor) -> Tensor:
    """Score the candidates of several questions, [Q, W], -inf where there is none."""
    flat = network(shares[there], context[:, None, :].expand(-1, there.shape[1], -1)[there]).sum(-1)
    scores: Tensor = torch.full(there.shape, -torch.inf).masked_scatter(there, flat)
    return scores


def figure(scores: npt.NDArray[np.float32], learned: Learned) -> float:
    """Return NDCG@10, shoppers weighing alike, of scores [Q, W]; an answer that nobody named counts 0."""
    own = scores[np.arange(len(scores)), np.maximum(learned.answer, 0)]
    ranks = (np.where(learned.there, scores, -np.inf) >= own[:, None]).sum(axis=1)
    values = np.where(learned.answer >= 0, metrics.ndcg(np.maximum(ranks, 1), 10), 0.0)
    _, member = np.unique(learned.shopper, return_inverse=True)
    return float((np.bincount(member, weights=values) / np.bincount(member)).mean())


def choose(learned: Learned, *, steps: int, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """Fit a ranker, and return it if it answers questions of other shoppers better than every source alone does.

    Else the program of the best source. The figures are those of each source, and of the ranker cross-fitted over
    shoppers, on the same questions.
    """
    figures = {
        name: figure(learned.shares[:, :, column], learned)
        for column, name in enumerate(SOURCES)
        if learned.shares[:, :, column].any()
    }
    scores = np.full(learned.there.shape, -np.inf, dtype=np.float32)
    for fold in range(FOLDS):
        asked = learned.shopper % FOLDS == fold
        if not asked.any() or asked.all():
            continue
        network, others = fit(learned.take(~asked), steps=steps, seed=seed), learned.take(asked)
        with torch.inference_mode():
            found = _scores(network, *(torch.from_numpy(a) for a in (others.shares, others.context, others.there)))
        scores[asked] = found.numpy()
    figures[ALL] = figure(scores, learned)
    best = max((name for name in figures if name != ALL), key=lambda name: figures[name])
    chosen = ALL if figures[ALL] >= figures[best] else best
    about = {
        "sources": list(SOURCES), "context": list(CONTEXT), "ranks": chosen, "best_source": best,
        "questions": len(learned.answer), "named": float((learned.answer >= 0).mean()), "figures": figures,
    }  # fmt: skip
    if chosen == ALL:
        return fit(learned, steps=steps, seed=seed), about
    return OneSource(len(SOURCES), SOURCES.index(best)).eval(), about
