"""Answers the questions of a training after every epoch: how well it ranks, and whether it overfits."""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from contracts.errors import TrainingError
from retrieval.metrics import Values, headline
from training.data.datasets import Ints
from training.models.ranking import Encode, rank, scorer

if TYPE_CHECKING:
    from training.data.training_data import TrainingData
    from training.models.sequence import SequenceModel

#: Overfitting shows when the validation questions are answered worse than by the best epoch: by more than so many
#: standard errors of the paired difference, and by more than this share of the best figure.
OVERFIT_ERRORS, OVERFIT_SHARE = 2.5, 0.03


def overfits(now: Values, best: Values) -> bool:
    """Say whether the answers `now` are worse than the `best` so far, beyond chance and by an amount that matters."""
    if len(now) < 2:
        return False
    lost = best - now
    error = float(lost.std(ddof=1)) / math.sqrt(len(lost))
    return bool(lost.mean() > max(OVERFIT_ERRORS * error, OVERFIT_SHARE * best.mean()))


def encoder_of(model: SequenceModel) -> Encode:
    """Answer with `model` itself, where a release answers with the program made from it."""
    device = model.ids.weight.device

    @torch.inference_mode()
    def encode(items: Ints, lengths: Ints) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        order = torch.arange(items.shape[1], device=device)
        mask = (order[None, :] <= order[:, None])[None, None]
        hidden = model.encode(torch.from_numpy(items).to(device), order.expand(items.shape), mask)
        last = torch.from_numpy(np.maximum(lengths - 1, 0)).to(device)
        result: np.ndarray[tuple[int, int], np.dtype[np.float32]] = (
            model.query(hidden[torch.arange(len(items), device=device), last]).float().cpu().numpy()
        )
        return result

    return encode


def validation_ndcg(model: SequenceModel, data: TrainingData) -> Values:
    """Rank all items for each validation question and return its NDCG@10, float64 [Q]."""
    model.eval()
    with torch.inference_mode():
        vectors = model.all_item_vectors().float().cpu().numpy()
    if not np.isfinite(vectors).all():
        raise TrainingError("the weights are not numbers any more", remedy="lower the learning rate, or check the data")
    score = scorer(encoder_of(model), vectors, None, model.config.max_length)
    ranks = rank(score, data.validation, exclude_seen=data.exclude_seen, top=1).ranks
    model.train()
    return headline(ranks)
