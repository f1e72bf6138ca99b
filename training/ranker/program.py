"""Writes the ranker into a release: its program, and what it reads and was measured to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts import release as files
from retrieval.ranking.ranker import is_readable
from retrieval.ranking.sources import CONTEXT, SOURCES
from training.jobs import job
from training.models.program import program_of

if TYPE_CHECKING:
    from torch import nn


def write(network: nn.Module, about: dict[str, Any], out: Path) -> None:
    """Write the files `contracts.release.RANKER` and RANKER_ABOUT below `out`."""
    import torch

    from training.ranker.network import AsProducts, Ranker

    network = AsProducts(network).eval() if isinstance(network, Ranker) else network
    about = {"sources": list(SOURCES), "context": list(CONTEXT), **about}
    rows = torch.export.Dim("rows", min=1)
    program = program_of(
        network, (torch.rand(3, len(SOURCES)), torch.rand(3, len(CONTEXT))), dynamic_shapes=({0: rows}, {0: rows}),
        inputs=["shares", "context"], outputs=["parts"],
    )  # fmt: skip
    (out / files.RANKER).parent.mkdir(parents=True, exist_ok=True)
    (out / files.RANKER).write_bytes(program.SerializeToString(deterministic=True))
    (out / files.RANKER_ABOUT).write_bytes(job.to_json(about))


def fits(about: Path) -> bool:
    """Say whether the ranker described in a release's `about` reads what the sources of this version say."""
    return about.exists() and is_readable(json.loads(about.read_text()))
