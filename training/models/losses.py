"""Computes softmax cross-entropy over many items in bounded memory: the whole catalog, or a shared sample of it."""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Elements of one chunk of logits; about 8 MB in float32, so it stays in a CPU's last cache.
CHUNK_ELEMENTS = 2_000_000


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the loss and, in the same pass, its gradients, so that no logits outlive their chunk."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, items: Tensor, targets: Tensor, bias: Tensor | None, rows: int) -> Tensor:
        count = queries.shape[0]
        query_gradient = torch.empty_like(queries)
        item_gradient = torch.zeros_like(items)
        total = torch.zeros((), dtype=torch.float32, device=queries.device)
        for start in range(0, count, rows):
            query, target = queries[start : start + rows], targets[start : start + rows, None]
            logits = (query @ items.T).float()
            own = logits.gather(1, target)
            if bias is not None:
                # The target is in every sample for certain, so only the others are corrected.
                logits.add_(bias).scatter_(1, target, own)
            top = logits.amax(dim=1, keepdim=True)
            mass = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
            total += (mass.log() + top - own).sum()
            gradient = logits.div_(mass)
            gradient.scatter_add_(1, target, torch.full_like(own, -1.0))
            gradient = gradient.to(queries.dtype)
            query_gradient[start : start + rows] = gradient @ items
            item_gradient += gradient.T @ query
        ctx.save_for_backward(query_gradient.div_(count), item_gradient.div_(count))
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query_gradient, item_gradient = ctx.saved_tensors
        return query_gradient * gradients[0], item_gradient * gradients[0], None, None, None


def cross_entropy(
    queries: Tensor, items: Tensor, targets: Tensor, *, bias: Tensor | None = None, rows: int | None = None
) -> Tensor:
    """Compute the mean softmax cross-entropy of `queries @ items.T`.

    queries [T, D]; items [C, D]; targets int64 [T], the column of each row's item;
    bias [C] is added to every logit except a row's own target: minus the log of the probability that a
    sample holds that item, 0 where the columns are the whole catalog (then this is the full softmax).
    """
    rows = rows or max(16, CHUNK_ELEMENTS // max(1, items.shape[0]))
    loss: Tensor = _ChunkedCrossEntropy.apply(queries, items, targets, bias, rows)  # type: ignore[no-untyped-call]
    return loss


def shared_negatives(
    targets: Tensor, item_count: int, frequency: Tensor, uniform: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw one sample of items for a whole batch: its own targets, and `uniform` draws from all items.

    targets int64 [T] in [0, item_count); frequency float64 [item_count], share of each item among targets.
    Returns (candidates int64 [C] sorted, column int64 [T] of each target, log_inclusion float32 [C]):
    the log of the probability that a batch of this size holds that candidate.
    """
    drawn = torch.randint(0, item_count, (uniform,), generator=generator).to(targets.device)
    candidates = torch.unique(torch.cat([targets, drawn]))
    column = torch.searchsorted(candidates, targets)
    miss_target = torch.log1p(-frequency[candidates].clamp(max=1 - 1e-9)) * targets.shape[0]
    miss_uniform = torch.log1p(torch.tensor(-1.0 / max(2, item_count), dtype=torch.float64)) * uniform
    inclusion = -torch.expm1(miss_target + miss_uniform)
    return candidates, column, inclusion.clamp(min=1e-9).log().float()
