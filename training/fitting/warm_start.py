"""Starts a training from the champion's weights, carried over into another catalog's vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts import release as files
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.models.sequence import SequenceModel

Weights = dict[str, npt.NDArray[np.float32]]
#: The table of item embeddings, float32 [N + 1, D]: the one weight whose rows follow the catalog.
ITEM_TABLE = "ids.weight"
#: Choices that decide the shape of every other weight.
SHAPE = ("dim", "layers", "heads", "feedforward", "max_length", "cosine", "own_vectors")


def read_weights(release: Path, item_ids: pa.Array, recipe: Recipe, text_dim: int) -> Weights:
    """Read the weights of the release directory for the items `item_ids`, in their order.

    Rows of items that the release does not know, or never saw chosen, are zero. Empty where its model has
    another shape than `recipe` asks for: such a training starts from nothing.
    """
    from safetensors.numpy import load_file

    config = json.loads((release / files.MODEL_CONFIG).read_text())
    wanted: dict[str, Any] = {name: getattr(recipe, name) for name in SHAPE} | {"text_dim": text_dim}
    if any(config.get(name) != value for name, value in wanted.items()):
        return {}
    theirs = pq.read_table(release / files.ITEMS, columns=["item_id"])["item_id"].combine_chunks()
    return carry(load_file(release / files.WEIGHTS), theirs, item_ids)


def carry(found: Weights, theirs: pa.Array, item_ids: pa.Array) -> Weights:
    """Carry weights from the vocabulary `theirs` into that of `item_ids`; rows of unknown items are zero."""
    row = np.asarray(pc.fill_null(pc.index_in(item_ids, value_set=theirs), -1), dtype=np.int64) + 1
    return {**found, ITEM_TABLE: found[ITEM_TABLE][np.concatenate([[0], row])]}  # row 0 is padding, and zero


def load(model: SequenceModel, start: Weights) -> None:
    """Put `start` into a fresh model; items it has no row for, and items never chosen, keep their own."""
    import torch

    state = model.state_dict()
    table = torch.from_numpy(start[ITEM_TABLE])
    known = (table.abs().sum(dim=1, keepdim=True) > 0) & (model.touched > 0)
    state |= {name: torch.from_numpy(value) for name, value in start.items()}
    state[ITEM_TABLE] = torch.where(known, table, model.ids.weight.detach())
    model.load_state_dict(state)
