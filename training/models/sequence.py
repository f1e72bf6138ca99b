"""Predicts the next item by a causal Transformer over the recent ones; an item is an id embedding plus its text.

The SASRec family (Kang and McAuley, 2018): tied item embeddings, learned positions, pre-norm blocks. The query is made
of two directions, mixed by a gate: the last hidden state, which knows what follows what, and a mean of the history's
own vectors, weighed by the blocks, which lies where the items lie, as in CORE (Hou, Hu, Zhang and Zhao, 2022). Models
of earlier versions answer with the hidden state alone.
"""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: Dropout of the vectors that a query is the mean of.
OWN_DROPOUT = 0.2


#: The gate starts near the mean: a share of sigmoid(-1) = .27 for the hidden state, until it has learned something.
FIRST_GATE = -1.0


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """The shape of a sequence model; all that is needed beside the weights to build it again."""

    items: int
    dim: int
    layers: int
    heads: int
    feedforward: int
    max_length: int
    dropout: float
    cosine: bool
    text_dim: int  # 0: no text
    id_dropout: float
    own_vectors: bool = False  # a weighted mean of the history's own vectors is part of a query

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Block(nn.Module):
    """One pre-norm Transformer block."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.attention_out = nn.Linear(config.dim, config.dim)
        self.feedforward_norm = nn.LayerNorm(config.dim)
        self.up = nn.Linear(config.dim, config.feedforward * config.dim)
        self.down = nn.Linear(config.feedforward * config.dim, config.dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Transform x [B, L, D]; mask bool [B or 1, 1, L, L] is true where a position may look. Returns [B, L, D]."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        seen = self.attention_out(seen.transpose(1, 2).reshape(batch, length, dim))
        x = x + F.dropout(seen, self.dropout, self.training)
        hidden = F.gelu(self.up(self.feedforward_norm(x)))
        hidden = self.down(F.dropout(hidden, self.dropout, self.training))
        return x + F.dropout(hidden, self.dropout, self.training)


class SequenceModel(nn.Module):
    """Items in order -> one query vector per position; items -> vectors to score with it.

    Index 0 is padding, items are 1..N. `text` [N, E] float32 is data, not a parameter; `touched` bool [N]
    says which items have an id embedding worth anything: the others are known by their text alone.
    """

    text: Tensor
    touched: Tensor

    def __init__(self, config: SequenceConfig, touched: Tensor, text: Tensor | None) -> None:
        super().__init__()
        self.config = config
        self.ids = nn.Embedding(config.items + 1, config.dim)
        self.positions = nn.Embedding(config.max_length, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.dim)
        self.weigh = nn.Linear(config.dim, 2 * config.dim) if config.own_vectors else None
        self.gate = nn.Linear(config.dim, 1) if config.own_vectors else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(12.0)))
        self.text_projection = nn.Linear(config.text_dim, config.dim, bias=False) if config.text_dim else None
        padded = torch.cat([torch.zeros(1, config.text_dim), text]) if text is not None and config.text_dim else None
        self.register_buffer("text", padded, persistent=False)
        self.register_buffer("touched", torch.cat([torch.zeros(1), touched.float()])[:, None], persistent=False)
        self._initialize()

    def _initialize(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if self.text_projection is not None:
            # A unit text vector then arrives about as long as an id embedding.
            nn.init.normal_(self.text_projection.weight, std=0.02)
        if self.gate is not None:
            nn.init.constant_(self.gate.bias, FIRST_GATE)
        with torch.no_grad():
            self.ids.weight.mul_(self.touched)

    def embed(self, index: Tensor, keep_id: Tensor | None = None) -> Tensor:
        """Look up index int64 [...] -> [..., D]; keep_id [N + 1, 1] zeroes the ids of dropped items."""
        vectors: Tensor = self.ids(index)
        if self.text_projection is None:
            return vectors
        if keep_id is not None:
            vectors = vectors * keep_id[index]
        projected: Tensor = self.text_projection(self.text[index])
        return vectors + projected

    def dropped_ids(self) -> Tensor | None:
        """Draw the ids that this training step may use, [N + 1, 1] of 0 and 1; None without text."""
        if self.text_projection is None or not self.training or self.config.id_dropout == 0:
            return None
        return (torch.rand_like(self.touched) >= self.config.id_dropout).float()

    def encode(self, items: Tensor, positions: Tensor, mask: Tensor, keep_id: Tensor | None = None) -> Tensor:
        """Encode items, positions int64 [B, L] under a mask bool [B or 1, 1, L, L] -> hidden [B, L, D]."""
        own = self.embed(items, keep_id)
        x = own * math.sqrt(self.config.dim) + self.positions(positions)
        x = F.dropout(x, self.config.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask)
        hidden: Tensor = self.final_norm(x)
        if self.weigh is None:
            return hidden
        asks, tells = self.weigh(hidden)[:, None].chunk(2, -1)
        own = F.dropout(own, OWN_DROPOUT, self.training)
        mean = F.scaled_dot_product_attention(asks, tells, own[:, None], attn_mask=mask)[:, 0]
        return self.mix(mean, hidden)

    def mix(self, mean: Tensor, hidden: Tensor) -> Tensor:
        """Mix the two directions that a query is made of, [..., D] each; their lengths do not matter."""
        if self.gate is None:
            return hidden
        share = torch.sigmoid(self.gate(hidden))
        mixed: Tensor = (1 - share) * F.normalize(mean, dim=-1) + share * F.normalize(hidden, dim=-1)
        return mixed

    def query(self, hidden: Tensor) -> Tensor:
        """Make queries [..., D] of hidden [..., D], ready to be multiplied with item vectors."""
        if not self.config.cosine:
            return hidden
        return F.normalize(hidden, dim=-1) * self.log_scale.exp()

    def item_vectors(self, index: Tensor, keep_id: Tensor | None = None) -> Tensor:
        """Return the vectors that score the items at index int64 [C], [C, D]."""
        vectors = self.embed(index, keep_id)
        return F.normalize(vectors, dim=-1) if self.config.cosine else vectors

    def all_item_vectors(self) -> Tensor:
        """Return the vectors that score all items, [N, D]; row r is item r + 1."""
        return self.item_vectors(torch.arange(1, self.config.items + 1, device=self.ids.weight.device))


class LastQuery(nn.Module):
    """The exported program: items int64 [B, L] padded with 0 on the right, lengths int64 [B] -> query [B, D]."""

    table: Tensor

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        config = model.config
        self.model = model
        with torch.no_grad():  # the input side, text already projected into it: one table to look up
            table = model.embed(torch.arange(config.items + 1, device=model.ids.weight.device)) * math.sqrt(config.dim)
            table[0] = 0.0
        self.register_buffer("table", table)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        order = torch.arange(items.shape[1], device=items.device)
        positions = order.clamp(max=self.model.config.max_length - 1)
        own = self.table[items]
        x = own + self.model.positions(positions)[None]
        mask = (order[None, :] <= order[:, None])[None, None]  # padding is on the right, so causal is enough
        for block in self.model.blocks:
            x = block(x, mask)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, x.shape[2])
        if self.model.weigh is None:
            return self.model.query(self.model.final_norm(x.gather(1, last)[:, 0]))
        hidden = self.model.final_norm(x)
        asks, tells = self.model.weigh(hidden)[:, None].chunk(2, -1)
        there = (order[None, :] < lengths[:, None].clamp(min=1))[:, None, None]
        mean = F.scaled_dot_product_attention(asks.gather(2, last[:, None]), tells, own[:, None], attn_mask=there)[
            :, 0, 0
        ]
        return self.model.query(self.model.mix(mean, hidden.gather(1, last)[:, 0]))
