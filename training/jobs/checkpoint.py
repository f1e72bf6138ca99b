"""Writes checkpoints that are whole whenever the run is killed: one safetensors file, replaced by an atomic rename.

Tensors are the model's, the best model's so far with its answers, and the optimizer's; scalars travel as JSON in the
same file's header, so that no two files can disagree. There is no random state to keep: every step draws from
(seed, step), and no pickle is ever written or read.
"""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from artifacts.files import atomic_write
from contracts.errors import TrainingError

#: Its name in the folder of a training.
FILE = "checkpoint.safetensors"


@dataclass
class Progress:
    """The state of a run. step counts optimizer steps in all; batch, those of this epoch."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0  # spent training, over all attempts
    best_metric: float = -1.0
    best_epoch: int = -1
    overfit_epochs: int = 0  # in a row
    loss_sum: float = 0.0  # of this epoch, over `loss_tokens`
    loss_tokens: int = 0
    finished: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)  # one entry per epoch


def write_file(path: Path, body: bytes, *, allowed: Callable[[], object] = lambda: None) -> None:
    """Replace `path` by `body`: on disk as a whole, or not at all. `allowed` is asked last, and may raise."""
    try:
        atomic_write(path, body, durable=True, allowed=allowed)
    except OSError as error:
        raise TrainingError(f"could not write {path}: {error}", remedy="free disk space, then retry") from error


def save(
    path: Path,
    progress: Progress,
    model: dict[str, Tensor],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    key: str,
    allowed: Callable[[], object] = lambda: None,
) -> None:
    """Write a checkpoint; `key` names the inputs it belongs to, `allowed` raises when another process took over."""
    tensors = {f"model/{name}": value for name, value in model.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_file(path, to_bytes(plain, metadata={"progress": json.dumps(asdict(progress)), "key": key}), allowed=allowed)


def load(path: Path, *, key: str) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """Read (progress, tensors by group: model, best, optimizer), or None where there is none for this key.

    A file that is not a whole checkpoint is an error: it can only come from a broken disk.
    """
    if not path.exists():
        return None
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            for name in file.keys():  # noqa: SIM118  (not a dict)
                group, _, rest = name.partition("/")
                groups[group][rest] = file.get_tensor(name)
        return Progress(**json.loads(metadata["progress"])), groups
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(f"the checkpoint {path} is damaged: {error}", remedy="delete it, then retry") from error


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put saved moments back, leaving learning rates and the like as the recipe says."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, kind = name.partition("/")
        state.setdefault(int(index), {})[kind] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
