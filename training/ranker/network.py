"""The ranker: every source's share of a candidate becomes a part of its score, weighted by what the question is like.

The score is the sum of its parts, one per source, so that an answer can say what carried an item. A part is a small
function of that source's share alone, times a weight above 0 that depends on the question alone.
"""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

HIDDEN = 8
#: Forms of one share that a part is made of.
FORMS = 3


class Ranker(nn.Module):
    """shares float32 [R, S], context float32 [R, K] -> parts float32 [R, S], whose sum is the score."""

    def __init__(self, sources: int, context: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(sources, FORMS, HIDDEN) * 0.5)
        self.bias = nn.Parameter(torch.zeros(sources, HIDDEN))
        self.second = nn.Parameter(torch.randn(sources, HIDDEN) * 0.3)
        self.straight = nn.Parameter(torch.full((sources, FORMS), 0.5))
        self.weight = nn.Linear(context, sources)
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.weight.bias, 0.54)  # softplus of it is 1

    def forward(self, shares: Tensor, context: Tensor) -> Tensor:
        forms = torch.stack([shares, shares.sqrt(), torch.log1p(shares * 1000) / 7], -1)  # [R, S, FORMS]
        hidden = torch.tanh((forms[..., None] * self.first).sum(-2) + self.bias)
        # a source that names an item not at all adds nothing: tanh(bias) is taken off
        bent = ((hidden - torch.tanh(self.bias)) * self.second).sum(-1)
        parts: Tensor = (bent + (forms * self.straight).sum(-1)) * F.softplus(self.weight(context))
        return parts


class OneSource(nn.Module):
    """The same program where one source alone ranks better than all together."""

    def __init__(self, sources: int, column: int) -> None:
        super().__init__()
        self.column = nn.Parameter(torch.zeros(sources), requires_grad=False)
        self.column.data[column] = 1.0

    def forward(self, shares: Tensor, context: Tensor) -> Tensor:
        parts: Tensor = torch.log1p(shares * 1000) * self.column + 0.0 * context.sum(-1, keepdim=True)
        return parts
