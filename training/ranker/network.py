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


class AsProducts(nn.Module):
    """A fitted ranker for export: the same parts by three matrix products, in a fraction of the time.

    All rows are candidates of one question: the weights are computed from the first row of its context.
    """

    narrow: Tensor
    bias: Tensor
    wide: Tensor
    straight: Tensor
    taken_off: Tensor

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        with torch.no_grad():
            # forms stand beside one another, so each is a diagonal block of its own
            narrow = [_diagonal(ranker.first[:, form]) for form in range(FORMS)]
            straight = [torch.diag(ranker.straight[:, form]) for form in range(FORMS)]
            self.register_buffer("narrow", torch.cat(narrow))
            self.register_buffer("bias", ranker.bias.flatten())
            self.register_buffer("wide", _diagonal(ranker.second).T.contiguous())
            self.register_buffer("straight", torch.cat(straight))
            self.register_buffer("taken_off", -(torch.tanh(ranker.bias) * ranker.second).sum(-1))
        self.weight = ranker.weight

    def forward(self, shares: Tensor, context: Tensor) -> Tensor:
        forms = torch.cat([shares, shares.sqrt(), torch.log1p(shares * 1000) / 7], -1)  # [R, FORMS * S]
        bent = torch.tanh(torch.addmm(self.bias, forms, self.narrow)) @ self.wide
        parts: Tensor = (bent + torch.addmm(self.taken_off, forms, self.straight)) * F.softplus(
            self.weight(context[:1])
        )
        return parts


def _diagonal(rows: Tensor) -> Tensor:
    """Put each of `rows` [S, H] on a diagonal block of its own, [S, S * H]."""
    count, width = rows.shape
    blocks: Tensor = (torch.eye(count)[:, :, None] * rows[:, None]).reshape(count, count * width)
    return blocks


class OneSource(nn.Module):
    """The same program where one source alone ranks better than all together."""

    def __init__(self, sources: int, column: int) -> None:
        super().__init__()
        self.column = nn.Parameter(torch.zeros(sources), requires_grad=False)
        self.column.data[column] = 1.0

    def forward(self, shares: Tensor, context: Tensor) -> Tensor:
        parts: Tensor = torch.log1p(shares * 1000) * self.column + 0.0 * context.sum(-1, keepdim=True)
        return parts
